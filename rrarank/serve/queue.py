"""A bounded queue before one scoring thread, which works in short rounds: much smaller requests first.

A round takes about a tenth of a second, so a small request does not wait behind a large one, and a request whose
client has left costs no further round. All models share the queue and the thread; a round is of one model. The clients'
keys take turns, so that none waits for another's flood.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from itertools import count

from rrarank.engine.reranker import Pointwise, Reranker
from rrarank.serve.keys import NOBODY, Key
from rrarank.serve.scoring import ROUND_S, Asked, Job, PairScorer, Ranked, Scorer, WholeScorer

OLDEST_EVERY = 8  # of so many rounds one takes the oldest requests, so that large ones also end
MUCH_LARGER = 4  # a request that is so many times larger waits for smaller ones, and gives up its place in a full queue

Report = Callable[[str, int, int, float], None]


class Full(Exception):
    """The queue is full; some of its requests should be done in `retry_s` seconds."""

    def __init__(self, waiting: int, retry_s: int, what: str = "requests") -> None:
        super().__init__(f"{waiting:,} {what} are waiting; try again in {retry_s} s")
        self.retry_s = retry_s


class Worker:
    """Scores requests on one thread.

    Args:
        rerankers: by their models' names; the first is for requests that name none.
        limit: most requests that wait, besides those of the current round.
        max_tokens: most tokens of a request's pairs, where the reranker scores pairs one by one.
        report: called after each round with its model, requests, pairs and seconds.
        tell_waiting: called with the number of requests that wait, when it changes.
    """

    def __init__(
        self,
        rerankers: Mapping[str, Reranker],
        limit: int,
        max_tokens: int = 2**31,
        report: Report = lambda *_: None,
        tell_waiting: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._limit, self._report, self._tell_waiting = limit, report, tell_waiting
        self._scorers = {name: _scorer(name, reranker, max_tokens) for name, reranker in rerankers.items()}
        self._first = next(iter(rerankers))
        self._jobs: list[Job] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._closing = False
        self._served: dict[Key, int] = {}  # the last round of each key
        self._round = 0
        self._pace_s = 0.0  # recent seconds a request
        self._thread = threading.Thread(target=self._work, name="rrarank-scoring", daemon=True)
        self._thread.start()

    def submit(
        self, asked: Asked, model: str | None = None, key: Key = NOBODY, *, begun: bool = False
    ) -> Future[Ranked]:
        """The answer to come. Cancel it to drop the request, even one that has begun.

        Args:
            begun: it is the rest of a request that was accepted, so it is taken in any case.

        Raises:
            Full: `limit` requests are waiting, and this one may take the place of none; or those of the key are as
                many as it may have.
        """
        job = Job(asked, next(self._numbers), self._scorers[self._first if model is None else model], key)
        with self._changed:
            if not begun:
                self._check_room(job)
            self._jobs.append(job)
            self._tell()
            self._changed.notify()
        job.answer.add_done_callback(lambda _: self._tell())  # it may be cancelled at any time
        return job.answer

    def _tell(self) -> None:
        self._tell_waiting(self.waiting)

    @property
    def waiting(self) -> int:
        """Requests that wait for a round."""
        with self._changed:
            return self._count()

    def characters_s(self, model: str) -> float:
        """Characters scored a second, recently; 0 if the reranker does not score pairs one by one."""
        scorer = self._scorers[model]
        return scorer.room / ROUND_S if isinstance(scorer, PairScorer) else 0.0

    def close(self) -> None:
        """Answer what is waiting, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _count(self) -> int:
        self._jobs = [job for job in self._jobs if not job.answer.cancelled()]
        return len(self._jobs)

    def _check_room(self, job: Job) -> None:
        self._check_key(job)
        if self._count() >= self._limit:
            self._make_room(job)

    def _check_key(self, job: Job) -> None:
        key, own = job.key, [one for one in self._jobs if one.key == job.key and not one.answer.cancelled()]
        if key.queue is not None and len(own) >= key.queue:
            raise Full(len(own), self._retry_s(len(own)), "requests of this key")
        documents = sum(len(one.asked.texts) for one in own)
        if key.documents is not None and documents + len(job.asked.texts) > key.documents:
            raise Full(documents, self._retry_s(len(own)), "documents of this key")

    def _make_room(self, job: Job) -> None:
        full = Full(self._limit, self._retry_s(self._limit))
        leaving = self._to_leave(job)
        if leaving is None:
            raise full
        self._jobs.remove(leaving)
        leaving.fail(full)

    def _to_leave(self, job: Job) -> Job | None:
        """The latest of the key with the most requests, if the job's has fewer; else one that is much larger."""
        shares = Counter(one.key for one in self._jobs)
        [(greedy, most)] = shares.most_common(1)
        if most > shares[job.key] + 1:
            return max((one for one in self._jobs if one.key == greedy), key=lambda one: one.number)
        own = [one for one in self._jobs if one.key == job.key]
        largest = max(own, key=lambda one: one.left, default=None)
        return largest if largest and largest.left > MUCH_LARGER * job.left else None

    def _retry_s(self, waiting: int) -> int:
        return min(60, max(1, math.ceil(waiting * self._pace_s)))

    def _work(self) -> None:
        while jobs := self._take():
            started = time.perf_counter()
            pairs = self._score(jobs)
            seconds = time.perf_counter() - started
            left = [job for job in jobs if not job.answer.done()]
            if ended := len(jobs) - len(left):
                self._pace_s = 0.8 * self._pace_s + 0.2 * seconds / ended if self._pace_s else seconds / ended
            self._report(jobs[0].scorer.model, len(jobs), pairs, seconds)
            with self._changed:
                self._jobs += left
                self._tell()

    def _take(self) -> list[Job]:
        """The requests of the next round: as many of a model as fit, at least one; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._count() or self._closing)
            taken = _round_of(self._in_order())
            self._served |= {job.key: self._round for job in taken}
            self._jobs = [job for job in self._jobs if job not in taken]
            self._tell()
        for job in taken:
            if "queue" not in job.times:
                job.spent("queue", job.submitted)
        return taken

    def _in_order(self) -> list[Job]:
        """Those of the key that was served longest ago first; of a key's, much smaller ones first."""
        self._round += 1
        if self._round % OLDEST_EVERY == 0:
            return sorted(self._jobs, key=lambda job: job.number)
        return sorted(self._jobs, key=lambda job: (self._served.get(job.key, 0), _scale(job.rounds), job.number))

    def _score(self, jobs: Sequence[Job]) -> int:
        """Score a round and return its pairs; if it fails, score its requests one by one: only the faulty one fails."""
        try:
            return jobs[0].scorer.score(jobs)
        except BaseException as error:  # a client waits for it
            if len(jobs) > 1:
                return sum(self._score([job]) for job in jobs if not job.answer.done())
            jobs[0].fail(error)
            return 0


def _scale(rounds: float) -> int:
    """Jobs of about one size share a scale: the earlier one goes first."""
    return math.floor(math.log(max(rounds, 0.01), MUCH_LARGER))


def _scorer(name: str, reranker: Reranker, max_tokens: int) -> Scorer:
    if isinstance(reranker, Pointwise):
        return PairScorer(name, reranker, max_tokens)
    return WholeScorer(name, reranker)


def _round_of(jobs: Sequence[Job]) -> list[Job]:
    """The first and, of those after it, the next ones for the same model, while they fit."""
    taken, room = list(jobs[:1]), 1.0 - (jobs[0].rounds if jobs else 0.0)
    for job in jobs[1:]:
        if job.scorer is taken[0].scorer:
            if job.rounds > room:
                break
            taken.append(job)
            room -= job.rounds
    return taken
