"""As many candidates as fit into a time per query: measure the pace once, then compute how many fit.

So a budget always cuts a query's candidates at the same place, once the pace is measured.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from rrarank.data.types import Ranking, blocks
from rrarank.errors import RrarankError

if TYPE_CHECKING:
    from rrarank.engine.reranker import Pointwise

HEADROOM = 1.15  # times vary by about a tenth; without it, half of the queries would exceed the budget
_FEW, _MANY, _ROUNDS = 4, 48, 5  # candidates of a short and of a long list; how often each is timed
_AT_ONCE = 16  # candidates tokenised at once, so that those far beyond the budget are not tokenised


@dataclass(frozen=True)
class Pace:
    """The seconds that a query takes: `start_s` plus `token_s` for each token of its pairs."""

    start_s: float
    token_s: float

    def seconds(self, tokens: int) -> float:
        return self.start_s + self.token_s * tokens


def measure_pace(reranker: Pointwise, queries: Sequence[Ranking]) -> Pace:
    """Time short and long lists, each query on its own, and draw a line through their medians.

    Args:
        queries: some of the queries to re-rank.

    Raises:
        RrarankError: the lists are too short to tell the time per query from the time per token.
    """
    ready = [ranking for ranking in queries if len(ranking.candidates) > _FEW]
    if not ready:
        raise RrarankError(
            f"budget_ms (--budget-ms): no query has more than {_FEW} candidates, too few to measure a pace on"
        )
    turns = [ready[number % len(ready)] for number in range(_ROUNDS)]
    _timed(reranker, ready[0], _MANY, 0)  # not counted: the first call allocates memory and fills caches
    short, long = (
        [median(column) for column in zip(*(_timed(reranker, r, size, n) for n, r in enumerate(turns, 1)), strict=True)]
        for size in (_FEW, _MANY)
    )
    token_s = max(long[1] - short[1], 1e-9) / (long[0] - short[0])
    return Pace(HEADROOM * max(short[1] - token_s * short[0], 0.0), HEADROOM * token_s)


def _timed(reranker: Pointwise, ranking: Ranking, size: int, turn: int) -> tuple[int, float]:
    """(tokens, seconds) to tokenise and score a query's first `size` candidates."""
    new = " " * turn  # trailing spaces defeat the tokenizer's cache without adding tokens
    texts = [candidate.text + new for candidate in ranking.candidates[:size]]
    started = time.perf_counter()
    pairs = reranker.encode(ranking.query.text, texts)
    reranker.score_all(pairs)
    return sum(len(pair["input_ids"]) for pair in pairs), time.perf_counter() - started


def within(ranking: Ranking, reranker: Pointwise, pace: Pace, seconds: float) -> Ranking:
    """The ranking cut to its first candidates that fit."""
    kept, tokens = 0, 0
    for some in blocks(ranking.candidates, _AT_ONCE):
        for pair in reranker.encode(ranking.query.text, [candidate.text for candidate in some]):
            tokens += len(pair["input_ids"])
            if pace.seconds(tokens) > seconds:
                return Ranking(ranking.query, ranking.candidates[:kept])
            kept += 1
    return ranking
