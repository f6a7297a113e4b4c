"""A request on its way through a reranker: what is asked, what is tokenised and scored of it, and its answer."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from rrarank.data.trec import best_first, falling_docid, place_of
from rrarank.data.types import Hit, Run, blank_last
from rrarank.engine.batches import Ids
from rrarank.engine.blocks import RerankConfig, rerank_checked
from rrarank.engine.reranker import Pointwise, Reranker
from rrarank.errors import RrarankError
from rrarank.serve.keys import NOBODY, Key

ROUND_S = 0.1  # what a round should take
ROUND_PAIRS = 256  # most pairs of a round if the reranker does not score pairs one by one
ENCODED = 20_000  # characters tokenised in a round, which takes some 40 ms; a longer text is tokenised in part


Times: TypeAlias = Mapping[str, tuple[int, int]]
"""Part of a request's way -> its begin and end, in nanoseconds since 1970."""


@dataclass(frozen=True)
class Asked:
    """One request: a query and its candidates.

    Args:
        scores: the first stage's, one a text; empty: the order of the texts is the first stage's order.
        places: where the texts stand in the client's request; empty: it holds no others.
    """

    query: str
    texts: Sequence[str]
    scores: Sequence[float] = ()
    places: Sequence[int] = ()

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
        times: of `queue`, `tokenise` and `score`; the last two may be of several rounds, with others' rounds between.
    """

    order: Sequence[tuple[int, float]]
    tokens: int
    together: int
    times: Times = field(default_factory=dict)


class TooLarge(RrarankError):
    """The request asks for more than the server allows."""


class Job:
    """A request on its way; its texts are longest first, each text once.

    Args:
        number: counts the requests in the order in which they came.
        scorer: of the model that is asked.
        key: of the client.
    """

    def __init__(self, asked: Asked, number: int, scorer: Scorer, key: Key = NOBODY) -> None:
        self.asked, self.number, self.scorer, self.key = asked, number, scorer, key
        self.answer: Future[Ranked] = Future()
        self.times: dict[str, tuple[int, int]] = {}
        self.submitted = time.time_ns()
        self.texts = sorted(dict.fromkeys(asked.texts), key=len, reverse=True)
        self.pairs: list[Ids] = []  # of the first texts: those that are tokenised
        self.scores: list[float] = []  # of the first pairs: those that are scored
        self.left = sum(map(len, self.texts)) + len(self.texts) * len(asked.query)  # characters not scored yet

    @property
    def encoded(self) -> bool:
        return len(self.pairs) == len(self.texts)

    @property
    def rounds(self) -> float:
        """How many rounds of its model the rest should take: models of any speed compare by it."""
        return self.scorer.size(self) / self.scorer.room

    def add_scores(self, scores: Sequence[float]) -> None:
        begin, end = len(self.scores), len(self.scores) + len(scores)
        self.scores += scores
        self.left -= sum(len(text) + len(self.asked.query) for text in self.texts[begin:end])

    def spent(self, part: str, begin: int) -> None:
        """A part of its way has gone on since `begin`."""
        self.times[part] = (self.times.get(part, (begin,))[0], time.time_ns())

    def finish(self, ranked: Ranked) -> None:
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_result(replace(ranked, times=self.times))

    def fail(self, error: BaseException) -> None:
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_exception(error)


class Scorer(Protocol):
    """Scores the requests of a model, round by round.

    Args:
        room: what a round may hold, as `size` measures it.
    """

    @property
    def model(self) -> str: ...

    @property
    def room(self) -> int: ...

    def size(self, job: Job) -> int: ...

    def score(self, jobs: Sequence[Job]) -> int:
        """Score a round; the number of its pairs."""


class PairScorer:
    """Scores pairs one by one: a round holds the next pairs of its requests."""

    def __init__(self, model: str, reranker: Pointwise, max_tokens: int) -> None:
        self.model, self._reranker, self._max_tokens = model, reranker, max_tokens
        self._tokens_s = 400.0  # recent tokens a second; low at first, so that the first round is short

    @property
    def room(self) -> int:
        """Characters of a round, about four a token."""
        return int(4 * self._tokens_s * ROUND_S)

    def size(self, job: Job) -> int:
        return job.left

    def score(self, jobs: Sequence[Job]) -> int:
        for job in jobs:
            self._encode(job)
        ready = [job for job in jobs if job.encoded]
        parts = [self._next_pairs(job) for job in ready]
        pairs = [pair for part in parts for pair in part]
        started, begin = time.perf_counter(), time.time_ns()
        scores = iter(self._reranker.score_all(pairs) if pairs else [])
        if pairs:
            self._note_pace(pairs, time.perf_counter() - started)
        for job, part in zip(ready, parts, strict=True):
            job.add_scores([next(scores) for _ in part])
            job.spent("score", begin)
            if len(job.scores) == len(job.texts):
                job.finish(self._ranked(job, len(jobs)))
        return len(pairs)

    def _encode(self, job: Job) -> None:
        """Tokenise some of the texts; at the end check their tokens.

        Raises:
            TooLarge: they are more than allowed.
        """
        if job.encoded:
            return
        begin, end, room = time.time_ns(), len(job.pairs), ENCODED
        while end < len(job.texts) and room > 0:
            room -= len(job.texts[end])
            end += 1
        job.pairs += self._reranker.encode(job.asked.query, job.texts[len(job.pairs) : end])
        job.spent("tokenise", begin)
        if (tokens := _tokens(job.pairs)) > self._max_tokens:
            advice = "send fewer or shorter documents, or start the server with --max-tokens"
            raise TooLarge(f"{tokens:,} tokens or more, expected at most {self._max_tokens:,}; {advice}")

    def _next_pairs(self, job: Job) -> list[Ids]:
        """As many as a round may take, at least one."""
        begin = end = len(job.scores)
        room = self._tokens_s * ROUND_S
        while end < len(job.pairs) and (end == begin or room >= len(job.pairs[end]["input_ids"])):
            room -= len(job.pairs[end]["input_ids"])
            end += 1
        return job.pairs[begin:end]

    def _note_pace(self, pairs: Sequence[Ids], seconds: float) -> None:
        pace = _tokens(pairs) / max(seconds, 1e-6)
        self._tokens_s = min(1e6, max(20.0, (self._tokens_s + pace) / 2))

    def _ranked(self, job: Job, together: int) -> Ranked:
        if not all(map(math.isfinite, job.scores)):
            raise RrarankError(f"{type(self._reranker).__name__}: scores are not finite; the model is broken")
        scores = dict(zip(job.texts, job.scores, strict=True))
        tokens = dict(zip(job.texts, (len(pair["input_ids"]) for pair in job.pairs), strict=True))
        kept = blank_last(job.asked.texts, [scores[text] for text in job.asked.texts])
        hits = [Hit(falling_docid(place), score) for place, score in enumerate(kept)]
        order = [(place_of(hit.docid), hit.score) for hit in best_first(hits)]
        return Ranked(order, sum(tokens[text] for text in job.asked.texts), together)


class WholeScorer:
    """Has the reranker order each request's texts as a whole: list-wise rerankers, cascades."""

    room = ROUND_PAIRS

    def __init__(self, model: str, reranker: Reranker) -> None:
        self.model, self._reranker = model, reranker

    def size(self, job: Job) -> int:
        return len(job.asked.texts)

    def score(self, jobs: Sequence[Job]) -> int:
        begin = time.time_ns()
        answers = score_together(self._reranker, [job.asked for job in jobs])
        for job, ranked in zip(jobs, answers, strict=True):
            job.spent("score", begin)
            job.finish(ranked)
        return sum(len(job.asked.texts) for job in jobs)


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
    run = rerank_checked(Run(hits), reranker, topics=topics, texts=texts, config=config)
    orders = [[(place_of(hit.docid.partition(".")[2]), hit.score) for hit in run[qid]] for qid in hits]
    return [Ranked(order, 0, len(requests)) for order in orders]


def _hits(number: int, asked: Asked) -> list[Hit]:
    scores = asked.scores or [-float(place) for place in range(len(asked.texts))]
    return [Hit(f"{number}.{falling_docid(place)}", score) for place, score in enumerate(scores)]


def _tokens(pairs: Sequence[Ids]) -> int:
    return sum(len(pair["input_ids"]) for pair in pairs)
