"""The contract of a reranker: candidates in, the same candidates in a better order out."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rrarank.data.trec import best_first
from rrarank.data.types import Candidate, Hit, Ranking
from rrarank.engine.batches import Batch, Ids, score_in_batches
from rrarank.engine.ranked import Given, RankedDocuments, check_request, read_documents
from rrarank.errors import RrarankError

if TYPE_CHECKING:
    import numpy as np


_ONE_AT_A_TIME = threading.RLock()

Finish = Callable[[], "list[Ranking]"]
"""Score a prepared block: the same candidates with their scores, in any order; the engine sorts them."""


@dataclass(frozen=True)
class RerankerConfig:
    """Settings of every reranker; a class may extend it with fields of its own.

    Args:
        model: folder or hub id; empty for the class's default.
        device: `cpu`, `cuda`, `cuda:1`, …; empty for the best one present.
        threads: CPU threads; 0 for the library's default.
        batch_size: most pairs scored at once; 0 for as many as fit the reranker's own limit.
        max_length: most tokens of a pair; 0 for the model's own maximum.
        backend: what runs the model.
        precision: of the model's matrix products.
        allow_pickle: read weights that exist only as a pickle (`model_folders.locate`).
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

    name: ClassVar[str] = ""  # as registered; journals and sidecars use it, so moving the class changes nothing
    Config: ClassVar[type[RerankerConfig]] = RerankerConfig
    model_is_files: ClassVar[bool] = True  # a folder or hub id; False for a name that an endpoint knows
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {"torch": ("fp32",)}  # back end -> its precisions

    def __init__(self, config: RerankerConfig | None = None) -> None:
        self.config = config or self.Config()
        self._check_backend()
        folder = Path(self.config.model).expanduser()
        is_folder = bool(self.config.model) and folder.is_dir()  # an empty path is the working folder
        self.model_name = folder.resolve().name if is_folder else self.config.model

    @abstractmethod
    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        """The same queries with the same candidates, best first, each with this reranker's score."""

    def rank(self, query: str, documents: Any, *, top_k: int | None = None) -> RankedDocuments:
        """The documents, best first; see `rrarank.rank`."""
        check_request(query, top_k)
        return self.rank_given(query, read_documents(documents), top_k)

    def rank_given(self, query: str, given: Given, top_k: int | None) -> RankedDocuments:
        """The same for documents that are read already. One call at a time: tokenizers are not safe in threads."""
        if not given.texts:
            return RankedDocuments([])
        with _ONE_AT_A_TIME:
            [ranking] = self.rerank_block([given.ranking(query)])
        return given.ranked(ranking, top_k)

    def prepare_block(self, queries: Sequence[Ranking]) -> Finish:
        """Do what another thread can do while the block before is scored; return a function that does the rest."""
        return partial(self.rerank_block, queries)

    def _check_backend(self) -> None:
        backend, precision, name = self.config.backend, self.config.precision, type(self).__name__
        if backend not in self.precisions:
            raise RrarankError(f"{name}: no back end {backend!r}; it runs on {', '.join(self.precisions)}")
        if precision not in self.precisions[backend]:
            offered = ", ".join(self.precisions[backend])
            raise RrarankError(f"{name}: no precision {precision!r} on {backend}; it offers {offered}")

    @property
    def cut(self) -> int:
        """How many texts were too long and were cut so far; 0 for rerankers that do not count them."""
        return 0

    def fingerprint(self) -> str:
        """Everything that determines the scores; a reranker with a model adds the sha256 of the model's files."""
        settings = {key: value for key, value in asdict(self.config).items() if key != "model"}
        return f"{self.name or type(self).__qualname__} {settings}"


class Explains(ABC):
    """A reranker that can also give reasons."""

    @abstractmethod
    def explain(self, query: str, texts: Sequence[str]) -> Iterator[str]:
        """For each text, whether and why it is relevant."""

    @abstractmethod
    def prepare_to_explain(self) -> None:
        """Load what explaining needs.

        Raises:
            RrarankError: this model was not trained to.
        """


class AsksLLM:
    """A reranker that asks an LLM, whose answers may contain no ranking."""

    report: Callable[[str, Mapping[str, int]], None] | None = None  # called with qid and verdict -> answers


class Pointwise(Reranker):
    """A reranker that scores each (query, text) on its own. It encodes and scores; the engine makes the batches."""

    batch_tokens: int = 4096  # most tokens scored at once, padding included

    @abstractmethod
    def encode(self, query: str, texts: Sequence[str]) -> list[Ids]:
        """The token ids of each (query, text), truncated; runs on the CPU, without the model."""

    @abstractmethod
    def score(self, batch: Batch) -> np.ndarray:
        """(len(batch),) float32 raw scores, higher is better; a score does not depend on the rest of the batch."""

    def score_all(self, pairs: Batch) -> list[float]:
        """One score a pair, in the order given."""
        return score_in_batches(pairs, self.score, self.batch_tokens, self.config.batch_size)

    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        return [_best_first(ranking) for ranking in self.prepare_block(queries)()]

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
        return [_rescore(r, [scores[r.query.text, c.text] for c in r.candidates]) for r in queries]


def reorder(ranking: Ranking, scores: Sequence[float]) -> Ranking:
    """The ranking by new scores (one per candidate, in candidate order), ties by the one rule of `trec`."""
    return _best_first(_rescore(ranking, scores))


def _rescore(ranking: Ranking, scores: Sequence[float]) -> Ranking:
    scored = zip(ranking.candidates, scores, strict=True)
    return Ranking(ranking.query, tuple(Candidate(c.docid, c.text, float(score)) for c, score in scored))


def _best_first(ranking: Ranking) -> Ranking:
    text = {candidate.docid: candidate.text for candidate in ranking.candidates}
    hits = best_first(Hit(candidate.docid, candidate.score) for candidate in ranking.candidates)
    return Ranking(ranking.query, tuple(Candidate(hit.docid, text[hit.docid], hit.score) for hit in hits))
