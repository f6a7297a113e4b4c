"""As many candidates as fit into a time per query: measure the pace once, then compute how many fit.

So a budget always cuts a query's candidates at the same place, once the pace is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median

from rrarank.data.types import Query, Ranking, blocks
from rrarank.engine.reranker import Cascaded, Pointwise, Reranker
from rrarank.errors import RrarankError, say, warn

HEADROOM = 1.15  # times vary by about a tenth; without it, half of the queries would exceed the budget
_FEW, _MANY, _ROUNDS = 4, 48, 5  # candidates of a short and of a long list; how often each is timed
_AT_ONCE = 16  # candidates tokenised at once, so that those far beyond the budget are not tokenised
_READ = 2_000  # characters of a text that count: about 512 tokens, where most models cut


@dataclass(frozen=True)
class Pace:
    """The seconds that a query takes.

    Args:
        start_s: of each query.
        token_s: of each token of its pairs; of a cascade, the second reranker's.
        character_s: of each character of all its candidates, which the first reranker of a cascade reads.
    """

    start_s: float
    token_s: float
    character_s: float = 0.0

    def seconds(self, tokens: float, characters: float = 0) -> float:
        return self.start_s + self.token_s * tokens + self.character_s * characters


def measure_pace(reranker: Pointwise | Cascaded, queries: Sequence[Ranking]) -> Pace:
    """Time short and long lists, each query on its own, and draw a line through their medians.

    Args:
        queries: some of the queries to re-rank that are measurable.

    Raises:
        RrarankError: there are none.
    """
    if not queries:
        raise RrarankError(
            f"budget_ms (--budget-ms): no query has more than {_FEW} candidates, too few to measure a pace on"
        )
    if not isinstance(reranker, Cascaded):
        return Pace(*_line(partial(_timed, reranker), queries))
    first_s, character_s = _line(partial(_timed_first, reranker.first), queries)
    second_s, token_s = _line(partial(_timed, reranker.second), queries)
    return Pace(first_s + second_s, token_s, character_s)


def is_measurable(ranking: Ranking) -> bool:
    """Whether it has candidates enough to tell the time per query from the time per token."""
    return len(ranking.candidates) > _FEW


Timed = Callable[[Ranking, int, int], tuple[int, float]]
"""(amount read, seconds) of a query's first so many candidates, in the turn of that number."""


def _line(timed: Timed, queries: Sequence[Ranking]) -> tuple[float, float]:
    """The seconds to start and for each unit read, with headroom."""
    turns = [queries[number % len(queries)] for number in range(_ROUNDS)]
    timed(queries[0], _MANY, 0)  # not counted: the first call allocates memory and fills caches
    short, long = (
        [median(column) for column in zip(*(timed(r, size, n) for n, r in enumerate(turns, 1)), strict=True)]
        for size in (_FEW, _MANY)
    )
    each_s = max(long[1] - short[1], 1e-9) / max(long[0] - short[0], 1)
    return HEADROOM * max(short[1] - each_s * short[0], 0.0), HEADROOM * each_s


def _timed_first(reranker: Reranker, ranking: Ranking, size: int, turn: int) -> tuple[int, float]:
    """(characters, seconds) for the first reranker of a cascade to order a query's first `size` candidates."""
    new = Query(ranking.query.qid, f"{ranking.query.text} {size} {turn}")  # queries may be remembered
    asked = Ranking(new, ranking.candidates[:size])
    started = time.perf_counter()
    reranker.rerank_block([asked])
    return characters(asked), time.perf_counter() - started


def _timed(reranker: Pointwise, ranking: Ranking, size: int, turn: int) -> tuple[int, float]:
    """(tokens, seconds) to tokenise and score a query's first `size` candidates."""
    new = " " * turn  # trailing spaces defeat the tokenizer's cache without adding tokens
    texts = [candidate.text + new for candidate in ranking.candidates[:size]]
    started = time.perf_counter()
    pairs = reranker.encode(ranking.query.text, texts)
    reranker.score_all(pairs)
    return sum(len(pair["input_ids"]) for pair in pairs), time.perf_counter() - started


def say_room(reranker: Pointwise | Cascaded, pace: Pace, budget_ms: float, queries: Sequence[Ranking]) -> None:
    """Say how much fits, on average over these queries."""
    is_cascade = isinstance(reranker, Cascaded)
    before_s = pace.seconds(0, fmean(map(characters, queries)) if is_cascade else 0)
    tokens = max(0.0, budget_ms / 1000 - before_s) / pace.token_s
    if is_cascade and not tokens:
        warn(
            f"budget_ms (--budget-ms) {budget_ms:g}: a query takes about {1000 * before_s:.0f} ms before the second "
            "reranker scores its one candidate; give more time, or a lower depth (--depth)"
        )
        return
    what = f"its first pairs, up to {tokens:,.0f} tokens" if tokens else "nothing, a query alone takes longer"
    if is_cascade:
        what = f"the first reranker on all candidates, the second on the best, about {tokens:,.0f} tokens"
    say(f"within {budget_ms:g} ms a query: {what}, at the pace measured")


def best_within(ordered: Ranking, cascade: Cascaded, pace: Pace, seconds: float) -> Ranking:
    """The best candidates that a cascade's second reranker can score in the time that its first one leaves; at least
    one, so that the scores are always the second's.

    Args:
        ordered: all candidates, in the order of the first.
    """
    left = seconds - pace.character_s * characters(ordered)
    best = Ranking(ordered.query, ordered.candidates[: cascade.most or None])
    return within(best, cascade.second, pace, left, least=1)


def characters(ranking: Ranking) -> int:
    """How much of the candidates' texts is read, about."""
    return sum(min(len(candidate.text), _READ) for candidate in ranking.candidates)


def within(ranking: Ranking, reranker: Pointwise, pace: Pace, seconds: float, least: int = 0) -> Ranking:
    """The ranking cut to its first candidates that fit, and to no fewer than `least`."""
    kept, tokens = 0, 0
    for some in blocks(ranking.candidates, _AT_ONCE):
        for pair in reranker.encode(ranking.query.text, [candidate.text for candidate in some]):
            tokens += len(pair["input_ids"])
            if kept >= least and pace.seconds(tokens) > seconds:
                return Ranking(ranking.query, ranking.candidates[:kept])
            kept += 1
    return ranking
