"""A bounded queue before one scoring thread: requests that wait together are scored together."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from rrarank.data.trec import falling_docid, place_of
from rrarank.data.types import Hit, Run
from rrarank.engine.blocks import RerankConfig, rerank_run
from rrarank.engine.reranker import Pointwise, Reranker

BATCH_PAIRS = 256  # most pairs scored together, so that the next requests wait seconds on a CPU, not minutes


@dataclass(frozen=True)
class Asked:
    """One request: a query and its candidates.

    Args:
        scores: the first stage's, one a text; empty: the order of the texts is the first stage's order.
    """

    query: str
    texts: Sequence[str]
    scores: Sequence[float] = ()

    @property
    def characters(self) -> int:
        return len(self.query) + sum(map(len, self.texts))


@dataclass(frozen=True)
class Ranked:
    """The answer to a request.

    Args:
        order: (position in the request's texts, raw score), best first; equal scores keep the request's order.
        tokens: of all its pairs; 0 if the reranker does not score pairs.
        together: number of requests in its batch.
    """

    order: Sequence[tuple[int, float]]
    tokens: int
    together: int


class Full(Exception):
    """The queue is full; some of its requests should be done in `retry_s` seconds."""

    def __init__(self, waiting: int, retry_s: int) -> None:
        super().__init__(f"{waiting} requests are waiting; try again in {retry_s} s")
        self.retry_s = retry_s


class Worker:
    """Scores requests on one thread, in the order in which they came.

    Args:
        limit: most requests that wait, besides those being scored.
        report: called after each batch with its requests, pairs and seconds.
    """

    def __init__(
        self, reranker: Reranker, limit: int, report: Callable[[int, int, float], None] = lambda *_: None
    ) -> None:
        self._reranker, self._limit, self._report = reranker, limit, report
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._pace_s = 0.0  # recent seconds a request
        self._thread = threading.Thread(target=self._work, name="rrarank-scoring", daemon=True)
        self._thread.start()

    def submit(self, asked: Asked) -> Future[Ranked]:
        """The answer to come. Cancel it to drop a request that has not begun.

        Raises:
            Full: `limit` requests are waiting.
        """
        job = _Job(asked)
        with self._changed:
            if self._waiting() >= self._limit:
                raise Full(self._limit, min(60, max(1, math.ceil(self._limit * self._pace_s))))
            self._jobs.append(job)
            self._changed.notify()
        return job.answer

    @property
    def waiting(self) -> int:
        """Requests not begun."""
        with self._changed:
            return self._waiting()

    def close(self) -> None:
        """Answer what is waiting, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _waiting(self) -> int:
        self._jobs = deque(job for job in self._jobs if not job.answer.cancelled())
        return len(self._jobs)

    def _work(self) -> None:
        while jobs := self._take():
            begun = [job for job in jobs if job.answer.set_running_or_notify_cancel()]
            if begun:
                started = time.perf_counter()
                self._answer(begun)
                self._note(begun, time.perf_counter() - started)

    def _take(self) -> list[_Job]:
        """The next batch: the first waiting request and those behind it that fit; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closing)
            jobs: list[_Job] = []
            pairs = 0
            while self._jobs and (not jobs or pairs + len(self._jobs[0].asked.texts) <= BATCH_PAIRS):
                jobs.append(self._jobs.popleft())
                pairs += len(jobs[-1].asked.texts)
            return jobs

    def _answer(self, jobs: Sequence[_Job]) -> None:
        """Score a batch; if it fails, score each of its requests alone, so that only the faulty one fails."""
        try:
            answers = score_together(self._reranker, [job.asked for job in jobs])
        except BaseException as error:  # a client waits for it
            if len(jobs) == 1:
                return jobs[0].answer.set_exception(error)
            for job in jobs:
                self._answer([job])
            return
        for job, answer in zip(jobs, answers, strict=True):
            job.answer.set_result(answer)

    def _note(self, jobs: Sequence[_Job], seconds: float) -> None:
        each = seconds / len(jobs)
        self._pace_s = 0.8 * self._pace_s + 0.2 * each if self._pace_s else each
        self._report(len(jobs), sum(len(job.asked.texts) for job in jobs), seconds)


@dataclass(frozen=True)
class _Job:
    asked: Asked
    answer: Future[Ranked] = field(default_factory=Future)


def score_together(reranker: Reranker, requests: Sequence[Asked]) -> list[Ranked]:
    """Score requests as one block of the engine, one query a request.

    Raises:
        RrarankError: the reranker lost, invented or repeated documents, or its scores are not finite.
    """
    hits = {str(i): _hits(i, asked) for i, asked in enumerate(requests)}
    texts = {hit.docid: text for i, r in enumerate(requests) for hit, text in zip(hits[str(i)], r.texts, strict=True)}
    topics = {str(i): asked.query for i, asked in enumerate(requests)}
    most = max(len(asked.texts) for asked in requests) or 1
    config = RerankConfig(depth=most, hits=most, block_size=len(requests))
    run = rerank_run(Run(hits), reranker, topics=topics, texts=texts, config=config)
    orders = [[(place_of(hit.docid.partition(".")[2]), hit.score) for hit in run[qid]] for qid in hits]
    return [Ranked(o, _tokens(reranker, r), len(requests)) for o, r in zip(orders, requests, strict=True)]


def _hits(number: int, asked: Asked) -> list[Hit]:
    scores = asked.scores or [-float(place) for place in range(len(asked.texts))]
    return [Hit(f"{number}.{falling_docid(place)}", score) for place, score in enumerate(scores)]


def _tokens(reranker: Reranker, asked: Asked) -> int:
    if not isinstance(reranker, Pointwise):
        return 0
    return sum(len(ids["input_ids"]) for ids in reranker.encode(asked.query, asked.texts))
