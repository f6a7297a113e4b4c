"""The loop over blocks of queries.

The unit of work is a block of consecutive queries. Batches never cross a block, so a block's scores depend on nothing
outside it: resuming, sharding and re-running give equal bits on one machine.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, field
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar

from rrarank.data.trec import best_first
from rrarank.data.types import Candidate, Hit, Ranking, Run, blocks, ranking_of
from rrarank.engine.budget import Pace, best_within, is_measurable, measure_pace, say_room, within
from rrarank.engine.floor import Floor
from rrarank.engine.interpolation import Interpolation, interpolate
from rrarank.engine.passages import WHOLE, Passages, merge_passages, split_passages
from rrarank.engine.reranker import ONE_AT_A_TIME, Cascaded, Pointwise, Reranker, check_hits
from rrarank.engine.tail import with_tail
from rrarank.errors import RrarankError
from rrarank.storage.journal import Journal, note_key, work_key
from rrarank.storage.sidecar import versions

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RerankConfig:
    """How a run is re-ranked.

    Args:
        depth: candidates re-ranked per query; the others follow in first-stage order with lower scores.
        hits: documents kept per query.
        block_size: queries per block; 8 give some hundred pairs, enough to fill batches of similar length.
        passages: how long documents are split.
        budget_ms: most milliseconds per query; the first candidates that fit are re-ranked, each query on its own.
            Of a cascade, the first reranker orders all candidates, and the second re-ranks the best that fit, at
            least one. 0 for no limit.
        interpolation: how the first stage's scores count beside the reranker's; None: nobody said. Then `rerank_run`
            and the job `rerank` let them count over dense and learned-sparse first stages; elsewhere they do not.
        floor: which documents are left out; by default none.
    """

    depth: int = 100
    hits: int = 1000
    block_size: int = 8
    passages: Passages = field(default_factory=Passages)
    budget_ms: float = 0.0
    interpolation: Interpolation | None = None
    floor: Floor = field(default_factory=Floor)

    @property
    def joining(self) -> Interpolation:
        """How the scores are joined: the reranker alone, if nobody said."""
        return self.interpolation or Interpolation()


def rerank_checked(
    run: Run, reranker: Reranker, *, topics: Mapping[str, str], texts: Mapping[str, str], config: RerankConfig
) -> Run:
    """The run re-ranked, for what is checked: hits keep their order, and nothing needs to have a topic or a text."""
    with ONE_AT_A_TIME:
        return Run(dict(rerank_queries(run, reranker, topics=topics, texts=texts, config=config)), run.tag)


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
    counts: Counter[str] | None = None,
    scored: Callable[[str, Sequence[Hit]], None] | None = None,
    settled: Callable[[Interpolation], None] | None = None,
) -> Iterator[tuple[str, list[Hit]]]:
    """(qid, hits best first) in the order of the run, as blocks finish; finished blocks come from the journal.

    Args:
        pace: what `config.budget_ms` is measured by; by default the first queries are timed.
        remote: scores the blocks that the journal lacks; needs a journal, and no budget.
        counts: gets the number of texts that were too long, as `cut`; those of finished blocks are among them.
        scored: called for each query with its re-ranked documents and the reranker's own scores.
        settled: called with the interpolation that is used, once a rule has given its weight.

    Raises:
        RrarankError: the reranker is faulty, `remote` is given without a journal or with a budget, or a least relevance
            with a reranker that has no calibration, or a floor with one that does not score all.
    """
    config.floor.check(scores_all=reranker.scores_all)
    relevance = None if config.floor.relevance is None else reranker.needed_relevance()
    if remote is not None and (journal is None or config.budget_ms):
        raise RrarankError("a remote scorer needs a journal that keeps finished blocks, and no budget")
    if config.budget_ms and pace is None:
        pace = pace_of(run, reranker, topics=topics, texts=texts, config=config)
    begin: Callable[[Sequence[Ranking]], Scoring]
    begin = partial(_prepare_scoring, reranker=reranker, passages=config.passages)
    setting: list[object] = [reranker.fingerprint(), asdict(config.passages), versions()]
    if pace is not None:
        begin = _within_budget(_measurable(reranker), pace, config.budget_ms / 1000)
        setting += [config.budget_ms, astuple(pace)]
    finished = None if journal is None else FinishedBlocks(journal, setting, cut=pace is not None)

    def asked() -> Iterator[tuple[list[str], list[Ranking]]]:
        for qids in blocks(run, config.block_size):
            yield qids, [ranking_of(qid, run[qid][: config.depth], topics, texts) for qid in qids]

    def prepared() -> Iterator[tuple[list[str], Scoring]]:
        for qids, block in asked():
            yield qids, begin(block) if finished is None else finished.prepare(block, begin)

    if remote is not None and finished is not None:
        finished.fill([block for _, block in asked()], remote)

    def ranked() -> Iterator[tuple[str, list[Hit]]]:
        for qids, finish in ahead(prepared()):
            done = finish()
            if counts is not None:
                counts["cut"] += done.cut
            yield from zip(qids, done.hits, strict=True)  # the journal keeps the reranker's own scores

    how, found = config.joining, ranked()
    own = dict(found) if how.needs_agreement else {}
    how, found = how.settled(own, run), iter(own.items()) if own else found
    if settled is not None:
        settled(how)
    for qid, hits in found:
        if scored is not None:
            scored(qid, hits)
        joined = interpolate(hits, run[qid], how)
        if not config.floor:
            yield qid, with_tail(joined, run[qid])[: config.hits]
        else:
            kept = {h.docid for h in hits if config.floor.keeps(h.score, relevance(h.score) if relevance else None)}
            yield qid, [hit for hit in joined if hit.docid in kept][: config.hits]


def ahead(things: Iterator[T]) -> Iterator[T]:
    """The things, each made on another thread while the one before is in use; at most one waits."""
    with ThreadPoolExecutor(1, "rrarank-ahead") as thread:
        coming = thread.submit(next, things, None)
        while (thing := coming.result()) is not None:
            coming = thread.submit(next, things, None)
            yield thing


def pace_of(
    run: Run, reranker: Reranker, *, topics: Mapping[str, str], texts: Mapping[str, str], config: RerankConfig
) -> Pace:
    """The time that a query takes, measured on the first queries of the run that have candidates enough.

    Raises:
        RrarankError: the reranker neither scores each pair on its own nor is a cascade, or documents are split into
            passages.
    """
    if config.passages.words:
        raise RrarankError("budget_ms (--budget-ms) with passages (--passage-words): give one of the two")
    measured = _measurable(reranker)
    every = (ranking_of(qid, run[qid][: config.depth], topics, texts) for qid in run)
    first = list(islice(filter(is_measurable, every), config.block_size))
    pace = measure_pace(measured, first)
    if config.budget_ms:
        say_room(measured, pace, config.budget_ms, first)
    return pace


def _measurable(reranker: Reranker) -> Pointwise | Cascaded:
    if not isinstance(reranker, Pointwise | Cascaded):
        raise RrarankError(
            f"budget_ms (--budget-ms): {type(reranker).__name__} does not score each pair on its own; leave it out"
        )
    if isinstance(reranker, Pointwise) and not reranker.encodes_ahead:
        raise RrarankError(
            f"budget_ms (--budget-ms): the time of {reranker.name} with a cache depends on which documents are in it; "
            "leave out one of the two"
        )
    return reranker


@dataclass(frozen=True)
class ScoredBlock:
    """What scoring a block gives.

    Args:
        hits: of each query, best first.
        cut: number of its texts that were too long.
    """

    hits: list[list[Hit]]
    cut: int = 0


Scoring = Callable[[], ScoredBlock]
"""Scores a block that is prepared."""


class RemoteScorer(Protocol):
    """Scores blocks in other processes, each of `threads` CPU threads."""

    threads: int

    def __call__(self, blocks: Sequence[Sequence[Ranking]]) -> Iterator[tuple[int, ScoredBlock]]:
        """(place, what was found) of each block, as they finish."""


class FinishedBlocks:
    """The finished blocks of one job in its journal.

    Args:
        setting: everything that determines scores beside the block itself.
        cut: a budget may have left out the last candidates of a query.
    """

    def __init__(self, journal: Journal, setting: Sequence[object], *, cut: bool) -> None:
        self._journal, self._setting, self._cut = journal, setting, cut

    def prepare(self, block: Sequence[Ranking], begin: Callable[[Sequence[Ranking]], Scoring]) -> Scoring:
        """Read the block when it is asked for, or score and record it. Nothing here reads the file: another thread
        may write it meanwhile."""
        key = self._key(block)
        score = None if key in self._journal else begin(block)

        def read_or_score() -> ScoredBlock:
            if score is None and (recorded := self._recorded(key, block)):
                return ScoredBlock(recorded, self._cut_of(key))
            scored = (score or begin(block))()
            self._record(key, scored)
            return scored

        return read_or_score

    def fill(self, blocks: Sequence[Sequence[Ranking]], remote: RemoteScorer) -> None:
        """Have every block scored that is not finished."""
        keyed = [(self._key(block), block) for block in blocks]
        left = [(key, block) for key, block in keyed if not self._recorded(key, block)]
        for place, scored in remote([block for _, block in left]):
            self._record(left[place][0], scored)

    def _record(self, key: str, scored: ScoredBlock) -> None:
        if scored.cut:
            self._journal.add(note_key("cut", key), scored.cut)
        self._journal.add(key, scored.hits)

    def _cut_of(self, key: str) -> int:
        noted = note_key("cut", key)
        return int(self._journal[noted]) if noted in self._journal else 0

    def _key(self, block: Sequence[Ranking]) -> str:
        return work_key(self._setting, [[r.query.qid, r.query.text, [astuple(c) for c in r.candidates]] for r in block])

    def _recorded(self, key: str, block: Sequence[Ranking]) -> list[list[Hit]] | None:
        """The hits of a finished block, if they pass the check that fresh ones pass."""
        if key not in self._journal:
            return None
        try:
            found = [[Hit(docid, float(score)) for docid, score in hits] for hits in self._journal[key]]
            for ranking, hits in zip(block, found, strict=True):
                candidates = ranking.candidates[: len(hits)] if self._cut else ranking.candidates
                check_hits([c.docid for c in candidates], hits, f"{self._journal.path}, query {ranking.query.qid!r}")
        except (RrarankError, TypeError, ValueError) as error:
            _LOG.warning("a finished block is scored again, as its record is wrong (%s)", error)
            return None
        return [best_first(hits) for hits in found]


def _within_budget(
    reranker: Pointwise | Cascaded, pace: Pace, seconds: float
) -> Callable[[Sequence[Ranking]], Scoring]:
    """What prepares a block so that each of its queries keeps to the time."""
    if isinstance(reranker, Cascaded):
        return lambda block: lambda: _together([_score_cascade(one, reranker, pace, seconds) for one in block])
    return partial(_prepare_within, reranker=reranker, pace=pace, seconds=seconds)


def _score_cascade(ranking: Ranking, reranker: Cascaded, pace: Pace, seconds: float) -> ScoredBlock:
    """Order all candidates of a query by the first reranker, and the best that fit by the second."""
    first = score_block([ranking], reranker.first)
    text = {candidate.docid: candidate.text for candidate in ranking.candidates}
    ordered = Ranking(ranking.query, tuple(Candidate(docid, text[docid], score) for docid, score in first.hits[0]))
    second = score_block([best_within(ordered, reranker, pace, seconds)], reranker.second)
    return ScoredBlock([with_tail(second.hits[0], first.hits[0])], first.cut + second.cut)


def _prepare_within(block: Sequence[Ranking], reranker: Pointwise, pace: Pace, seconds: float) -> Scoring:
    """Cut each query to the candidates that fit, and score it on its own."""
    cut = [within(ranking, reranker, pace, seconds) for ranking in block]
    scorings = [_prepare_scoring([ranking], reranker, WHOLE) for ranking in cut]

    return lambda: _together([scoring() for scoring in scorings])


def _together(scored: Sequence[ScoredBlock]) -> ScoredBlock:
    return ScoredBlock([hits for one in scored for hits in one.hits], sum(one.cut for one in scored))


def score_block(block: Sequence[Ranking], reranker: Reranker, passages: Passages = WHOLE) -> ScoredBlock:
    """Score a block at once; other processes need nothing else of the engine.

    Raises:
        RrarankError: the reranker lost, invented or repeated documents, or gave scores that are not finite.
    """
    return _prepare_scoring(block, reranker, passages)()


def _prepare_scoring(block: Sequence[Ranking], reranker: Reranker, passages: Passages) -> Scoring:
    asked = [split_passages(ranking, passages) for ranking in block]
    before = reranker.cut
    finish = reranker.prepare_block(asked)
    cut = reranker.cut - before

    def score() -> ScoredBlock:
        begun = reranker.cut
        ranked = finish()
        # A reranker that encodes ahead has encoded this block, and may encode the next one meanwhile.
        later = 0 if reranker.encodes_ahead else reranker.cut - begun
        for before, after in zip(asked, ranked, strict=True):
            where = f"{type(reranker).__name__}, query {before.query.qid!r}"
            check_hits([c.docid for c in before.candidates], [Hit(c.docid, c.score) for c in after.candidates], where)
        return ScoredBlock([best_first(merge_passages(ranking, passages)) for ranking in ranked], cut + later)

    return score
