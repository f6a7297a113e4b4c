"""From candidates to a better order: the contract of a reranker, and the one loop over blocks and batches.

The unit of work is a block of consecutive queries. Batches never cross a block, so a block's scores depend on nothing
outside it: resuming, sharding and re-running give equal bits on one machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

from rrarank.data.trec import best_first
from rrarank.data.types import Hit, Ranking, Run, blocks, ranking_of
from rrarank.engine.budget import Pace, measure_pace, within
from rrarank.engine.passages import WHOLE, Passages, merge_passages, split_passages
from rrarank.engine.reranker import Pointwise, Reranker
from rrarank.errors import RrarankError, shown
from rrarank.storage.journal import Journal, work_key
from rrarank.storage.sidecar import versions

if TYPE_CHECKING:
    pass

T = TypeVar("T")


# -- the contract -----------------------------------------------------------------------------------------------------


# -- batches ----------------------------------------------------------------------------------------------------------


# -- the loop over blocks ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RerankConfig:
    """How a run is re-ranked.

    Args:
        depth: candidates re-ranked per query; the others follow in first-stage order with lower scores.
        hits: documents kept per query.
        block_size: queries per block (8: some hundred pairs, enough to fill batches of like length).
        passages: how long documents are split, if they are.
        budget_ms: most milliseconds a query may take: as many candidates as fit are re-ranked, in first-stage order,
            each query by itself; 0: no limit.
    """

    depth: int = 100
    hits: int = 1000
    block_size: int = 8
    passages: Passages = field(default_factory=Passages)
    budget_ms: float = 0.0


def rerank_run(
    run: Run,
    reranker: Reranker,
    *,
    topics: Mapping[str, str],
    texts: Mapping[str, str],
    config: RerankConfig = RerankConfig(),
    tag: str = "rrarank",
) -> Run:
    """The run re-ranked: the Python way to `python -m rrarank.rerank`.

    Candidates without a text and queries without a topic keep their first-stage order, below what was scored.
    """
    return Run(dict(rerank_queries(run, reranker, topics=topics, texts=texts, config=config)), tag)


def rerank_queries(
    run: Run,
    reranker: Reranker,
    *,
    topics: Mapping[str, str],
    texts: Mapping[str, str],
    config: RerankConfig = RerankConfig(),
    journal: Journal | None = None,
    pace: Pace | None = None,
    remote: RemoteScorer | None = None,
) -> Iterator[tuple[str, list[Hit]]]:
    """(qid, hits best first) in the order of the run, as blocks finish; finished blocks come from the journal.

    Args:
        pace: what `config.budget_ms` is reckoned by; measured on the first queries if it is not given.
        remote: scores the blocks that the journal lacks; needs a journal, and no budget.
    """
    if config.budget_ms and pace is None:
        pace = pace_of(run, reranker, topics=topics, texts=texts, config=config)
    begin = partial(_prepare_scoring, reranker=reranker, passages=config.passages)
    setting: list[object] = [reranker.fingerprint(), asdict(config.passages), versions()]
    if pace is not None:
        begin = partial(_prepare_within, reranker=_pointwise(reranker), pace=pace, seconds=config.budget_ms / 1000)
        setting += [config.budget_ms, astuple(pace)]

    def asked() -> Iterator[tuple[list[str], list[Ranking]]]:
        for qids in blocks(run, config.block_size):
            yield qids, [ranking_of(qid, run[qid][: config.depth], topics, texts) for qid in qids]

    def prepared() -> Iterator[tuple[list[str], Scoring]]:
        for qids, block in asked():
            yield qids, _prepare(block, begin, journal, setting)

    if remote is not None and journal is not None:
        _fill(journal, [(_block_key(block, setting), block) for _, block in asked()], remote)

    for qids, finish in ahead(prepared()):
        for qid, hits in zip(qids, finish(), strict=True):
            yield qid, with_tail(hits, run[qid])[: config.hits]


def ahead(things: Iterator[T]) -> Iterator[T]:
    """The things, each made on another thread while the one before is in use; no more than one is waiting."""
    with ThreadPoolExecutor(1, "rrarank-ahead") as thread:
        coming = thread.submit(next, things, None)
        while (thing := coming.result()) is not None:
            coming = thread.submit(next, things, None)
            yield thing


def pace_of(
    run: Run, reranker: Reranker, *, topics: Mapping[str, str], texts: Mapping[str, str], config: RerankConfig
) -> Pace:
    """What a query takes, measured on the first of the run.

    Raises:
        RrarankError: the reranker does not score pairs by themselves, or documents are to be split into passages.
    """
    if config.passages.words:
        raise RrarankError("--budget-ms with --passage-words: give one of the two")
    first = [ranking_of(qid, run[qid][: config.depth], topics, texts) for qid in islice(run, config.block_size)]
    return measure_pace(_pointwise(reranker), first)


def _pointwise(reranker: Reranker) -> Pointwise:
    if not isinstance(reranker, Pointwise):
        raise RrarankError(f"--budget-ms: {type(reranker).__name__} does not score each pair by itself; leave it out")
    return reranker


Scoring = Callable[[], "list[list[Hit]]"]
"""Scores a block: one list of hits a query, best first."""


def _prepare(
    block: Sequence[Ranking],
    begin: Callable[[Sequence[Ranking]], Scoring],
    journal: Journal | None,
    setting: Sequence[object],
) -> Scoring:
    """What is left to do of a block: score it, unless the journal holds it already."""
    if journal is None:
        return begin(block)
    key = _block_key(block, setting)
    if key in journal:
        return lambda: _recorded(journal, key)
    score = begin(block)

    def score_and_record() -> list[list[Hit]]:
        hits = score()
        journal.add(key, hits)
        return hits

    return score_and_record


def _block_key(block: Sequence[Ranking], setting: Sequence[object]) -> str:
    return work_key(setting, [[r.query.qid, r.query.text, [astuple(c) for c in r.candidates]] for r in block])


class RemoteScorer(Protocol):
    """Scores blocks in other processes, each of `threads` CPU threads."""

    threads: int

    def __call__(self, blocks: Sequence[Sequence[Ranking]]) -> Iterator[tuple[int, list[list[Hit]]]]:
        """(place, hits best first a query) of each, as they are finished."""


def _fill(journal: Journal, keyed: Sequence[tuple[str, Sequence[Ranking]]], remote: RemoteScorer) -> None:
    """Have every block scored that the journal lacks."""
    left = [(key, block) for key, block in keyed if key not in journal]
    for place, hits in remote([block for _, block in left]):
        journal.add(left[place][0], hits)


def _recorded(journal: Journal, key: str) -> list[list[Hit]]:
    return [[Hit(docid, score) for docid, score in hits] for hits in journal[key]]


def _prepare_within(block: Sequence[Ranking], reranker: Pointwise, pace: Pace, seconds: float) -> Scoring:
    """Each query by itself, cut to what fits."""
    cut = [within(ranking, reranker, pace, seconds) for ranking in block]
    scorings = [_prepare_scoring([ranking], reranker, Passages()) for ranking in cut]
    return lambda: [hits for scoring in scorings for hits in scoring()]


def rank_block(block: Sequence[Ranking], reranker: Reranker, passages: Passages = WHOLE) -> list[list[Hit]]:
    """The hits of each query of a block, best first: all that another process needs of the engine.

    Raises:
        RrarankError: the reranker lost, invented or repeated documents, or gave scores that are not finite.
    """
    return _prepare_scoring(block, reranker, passages)()


def _prepare_scoring(block: Sequence[Ranking], reranker: Reranker, passages: Passages) -> Scoring:
    asked = [split_passages(ranking, passages) for ranking in block]
    finish = reranker.prepare_block(asked)

    def score() -> list[list[Hit]]:
        ranked = finish()
        for before, after in zip(asked, ranked, strict=True):
            _check(before, after, reranker)
        return [best_first(merge_passages(ranking, passages)) for ranking in ranked]

    return score


def _check(before: Ranking, after: Ranking, reranker: Reranker) -> None:
    """A reranker that loses, invents or repeats documents, or scores them NaN, must not reach a run."""
    asked, got = sorted(c.docid for c in before.candidates), sorted(c.docid for c in after.candidates)
    where = f"{type(reranker).__name__}, query {before.query.qid!r}"
    if asked != got:
        odd = set(asked) ^ set(got)
        raise RrarankError(f"{where}: returned {len(got)} documents, was given {len(asked)} ({shown(odd)} differ)")
    if bad := [c.docid for c in after.candidates if not math.isfinite(c.score)]:
        raise RrarankError(f"{where}: scores of {shown(bad)} are not finite; the model or its input is broken")


def with_tail(hits: Sequence[Hit], first_stage: Sequence[Hit]) -> list[Hit]:
    """Re-ranked hits, then the rest of the first stage in its order, each a whole score below the one before it."""
    ranked = {hit.docid for hit in hits}
    rest = [hit for hit in first_stage if hit.docid not in ranked]
    if not hits:
        return rest
    return [*hits, *(Hit(hit.docid, hits[-1].score - place) for place, hit in enumerate(rest, start=1))]
