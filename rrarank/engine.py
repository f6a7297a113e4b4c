"""From candidates to a better order: the contract of a reranker, and the one loop over blocks and batches.

The unit of work is a block of consecutive queries. Batches never cross a block, so a block's scores depend on nothing
outside it: resuming, sharding and re-running give equal bits on one machine.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from rrarank.budget import Pace, measure_pace, within
from rrarank.data import Candidate, Hit, Ranking, Run, blocks, ranking_of
from rrarank.errors import RrarankError, shown
from rrarank.journal import Journal, work_key
from rrarank.passages import WHOLE, Passages, merge_passages, split_passages
from rrarank.sidecar import versions
from rrarank.trec import best_first

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
Ids = Mapping[str, "Sequence[int] | np.ndarray"]
"""One tokenised (query, text): at least `input_ids`, each value (length,), no padding."""
Batch = Sequence[Ids]
Finish = Callable[[], "list[Ranking]"]
"""What is left to do of a block once it is prepared."""


# -- the contract -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RerankerConfig:
    """What every reranker can be told; a class may extend it with fields of its own.

    Args:
        model: folder or hub id; empty for the class's default.
        device: `cpu`, `cuda`, `cuda:1`, …; empty for the best one present.
        threads: CPU threads; 0 for the library's default.
        batch_size: most pairs scored at once; 0: as many as fit the reranker's own limit.
        max_length: most tokens of a pair; 0 for the model's own maximum.
        backend: what runs the model.
        precision: of the model's matrix products.
        allow_pickle: take weights that are there as a pickle only (`models.locate`).
    """

    model: str = ""
    device: str = ""
    threads: int = 0
    batch_size: int = 0
    max_length: int = 0
    backend: str = "torch"
    precision: str = "fp32"
    allow_pickle: bool = False


class Reranker(ABC):
    """Anything that can put a query's candidates into an order."""

    Config: ClassVar[type[RerankerConfig]] = RerankerConfig
    model_is_files: ClassVar[bool] = True  # a folder or hub id; else the name that an endpoint knows
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {"torch": ("fp32",)}  # back end -> what it offers

    def __init__(self, config: RerankerConfig | None = None) -> None:
        self.config = config or self.Config()
        self._refuse_backend()
        folder = Path(self.config.model).expanduser()
        is_folder = bool(self.config.model) and folder.is_dir()  # an empty path is the working folder
        self.model_name = folder.resolve().name if is_folder else self.config.model

    @abstractmethod
    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        """The same queries with the same candidates, best first, each with this reranker's score."""

    def prepare_block(self, queries: Sequence[Ranking]) -> Finish:
        """What can be done ahead, on another thread, while the block before is scored; the rest is done when called."""
        return partial(self.rerank_block, queries)

    def _refuse_backend(self) -> None:
        backend, precision, name = self.config.backend, self.config.precision, type(self).__name__
        if backend not in self.precisions:
            raise RrarankError(f"{name}: no back end {backend!r}; it runs on {', '.join(self.precisions)}")
        if precision not in self.precisions[backend]:
            offered = ", ".join(self.precisions[backend])
            raise RrarankError(f"{name}: no precision {precision!r} on {backend}; it offers {offered}")

    def fingerprint(self) -> str:
        """Names what determines the scores; a reranker with a model adds the sha256 of the model's files."""
        settings = {key: value for key, value in asdict(self.config).items() if key != "model"}
        return f"{type(self).__module__}.{type(self).__qualname__} {settings}"


class Explains(ABC):
    """A reranker that can also say why."""

    @abstractmethod
    def explain(self, query: str, texts: Sequence[str]) -> Iterator[str]:
        """Text by text, whether and why it is relevant."""

    @abstractmethod
    def prepare_to_explain(self) -> None:
        """Load what that takes.

        Raises:
            RrarankError: this model was not trained to.
        """


class Pointwise(Reranker):
    """A reranker that scores each (query, text) by itself. It encodes and scores; the engine makes the batches."""

    batch_tokens: int = 4096  # most tokens scored at once, padding included

    @abstractmethod
    def encode(self, query: str, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each (query, text), truncated; on the CPU, without the model."""

    @abstractmethod
    def score(self, batch: Batch) -> np.ndarray:
        """(len(batch),) float32 raw scores, higher is better; not changed by what else is in the batch."""

    def score_all(self, pairs: Batch) -> list[float]:
        """One score a pair, in the order given."""
        return score_in_batches(pairs, self.score, self.batch_tokens, self.config.batch_size)

    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        return self.prepare_block(queries)()

    def prepare_block(self, queries: Sequence[Ranking]) -> Finish:
        texts: dict[str, dict[str, None]] = {}  # query -> its texts, each once: equal pairs are scored once
        for ranking in queries:
            texts.setdefault(ranking.query.text, {}).update(dict.fromkeys(c.text for c in ranking.candidates))
        pairs = {
            (query, text): ids
            for query, found in texts.items()
            for text, ids in zip(found, self.encode(query, list(found)), strict=True)
        }
        return partial(self._finish, queries, pairs)

    def _finish(self, queries: Sequence[Ranking], pairs: Mapping[tuple[str, str], Ids]) -> list[Ranking]:
        scores = dict(zip(pairs, self.score_all(list(pairs.values())), strict=True))
        return [reorder(r, [scores[r.query.text, c.text] for c in r.candidates]) for r in queries]


def reorder(ranking: Ranking, scores: Sequence[float]) -> Ranking:
    """The ranking by new scores (one per candidate, in candidate order), ties by the one rule of `trec`."""
    text = {candidate.docid: candidate.text for candidate in ranking.candidates}
    hits = (Hit(candidate.docid, float(score)) for candidate, score in zip(ranking.candidates, scores, strict=True))
    return Ranking(ranking.query, tuple(Candidate(hit.docid, text[hit.docid], hit.score) for hit in best_first(hits)))


# -- batches ----------------------------------------------------------------------------------------------------------


def score_in_batches(
    pairs: Batch, score: Callable[[Batch], np.ndarray], batch_tokens: int, batch_size: int = 0
) -> list[float]:
    """Score pairs in batches of like length, longest first; a batch that does not fit the memory is halved.

    Longest first, so that a batch too large shows at once. Returns one score a pair, in the order given.

    Args:
        batch_tokens: most tokens of a batch, every pair counted at the length of the longest; one pair may have more.
        batch_size: most pairs of a batch; 0: no limit of its own.
    """
    scores = [0.0] * len(pairs)
    for places in _batches([len(pair["input_ids"]) for pair in pairs], batch_tokens, batch_size):
        for place, value in zip(places, _score_halving([pairs[i] for i in places], score), strict=True):
            scores[place] = value
    return scores


def _batches(lengths: Sequence[int], batch_tokens: int, batch_size: int) -> Iterator[list[int]]:
    """Places of the pairs of each batch."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batch and ((len(batch) + 1) * lengths[batch[0]] > batch_tokens or len(batch) == batch_size):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _score_halving(batch: Batch, score: Callable[[Batch], np.ndarray]) -> list[float]:
    try:
        return [float(value) for value in score(batch)]
    except (RuntimeError, MemoryError) as error:
        if len(batch) == 1 or not _is_out_of_memory(error):
            raise
    half = len(batch) // 2
    return _score_halving(batch[:half], score) + _score_halving(batch[half:], score)


def _is_out_of_memory(error: Exception) -> bool:
    """torch's CUDA allocator raises a class of its own, its CPU allocator a RuntimeError known only by its text."""
    texts = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in texts)


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
    elsewhere: Elsewhere | None = None,
) -> Iterator[tuple[str, list[Hit]]]:
    """(qid, hits best first) in the order of the run, as blocks finish; finished blocks come from the journal.

    Args:
        pace: what `config.budget_ms` is reckoned by; measured on the first queries if it is not given.
        elsewhere: scores the blocks that the journal lacks; needs a journal, and no budget.
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

    if elsewhere is not None and journal is not None:
        _fill(journal, [(_block_key(block, setting), block) for _, block in asked()], elsewhere)

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


class Elsewhere(Protocol):
    """Scores blocks in other processes, each of `threads` CPU threads."""

    threads: int

    def __call__(self, blocks: Sequence[Sequence[Ranking]]) -> Iterator[tuple[int, list[list[Hit]]]]:
        """(place, hits best first a query) of each, as they are finished."""


def _fill(journal: Journal, keyed: Sequence[tuple[str, Sequence[Ranking]]], elsewhere: Elsewhere) -> None:
    """Have every block scored that the journal lacks."""
    left = [(key, block) for key, block in keyed if key not in journal]
    for place, hits in elsewhere([block for _, block in left]):
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
