"""The contract of a reranker: candidates in, the same candidates in a better order out."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from rrarank.data.calibration import RelevanceMap, find_map
from rrarank.data.documents import check_text
from rrarank.data.trec import best_first
from rrarank.data.types import Candidate, Hit, Ranking
from rrarank.engine.batches import Batch, Ids, score_in_batches
from rrarank.engine.progress import progress_bar
from rrarank.engine.ranked import RankedDocuments, RankedLists, ranked_documents
from rrarank.engine.requests import Request, check_top_k, read_request, read_requests
from rrarank.errors import RrarankError, shown
from rrarank.storage.model_folders import calibration_of

if TYPE_CHECKING:
    import numpy as np


ONE_AT_A_TIME = threading.RLock()
"""Held while a model works: tokenizers are not safe in threads."""
PAIRS = 800  # scored together in `rank_many`: as many as in a block of 8 queries of 100 candidates

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
        calibration: file of `rrarank.calibrate`; empty for the one in the model's folder. It changes no score.
        instruction: what to judge by, where the model's prompt has a place for it; empty for the model's own.
        query_prompt, document_prompt: text before each query, and before each document; empty for the model's own.
    """

    model: str = ""
    device: str = ""
    threads: int = 0
    batch_size: int = 0
    max_length: int = 0
    backend: str = "torch"
    precision: str = "fp32"
    allow_pickle: bool = False
    calibration: str = ""
    instruction: str = ""
    query_prompt: str = ""
    document_prompt: str = ""


_UNNAMED = ("model", "calibration", "cache")  # left out of a fingerprint: they change no score by themselves
_LATER = ("instruction", "query_prompt", "document_prompt", "format", "cutoff_layers")  # so too while not given


class Reranker(ABC):
    """Anything that can put a query's candidates into an order."""

    name: ClassVar[str] = ""  # as registered; journals and sidecars use it, so moving the class changes nothing
    Config: ClassVar[type[RerankerConfig]] = RerankerConfig
    model_is_files: ClassVar[bool] = True  # a folder or hub id; False for a name that an endpoint knows
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {"torch": ("fp32",)}  # back end -> its precisions
    scores_all: ClassVar[bool] = True  # False: it gives some documents a score only to place them
    encodes_ahead: bool = False  # `prepare_block` encodes the texts, and what it returns only scores
    prompts: ClassVar[Sequence[str]] = ()  # which of instruction, query_prompt and document_prompt it has a place for

    def __new__(cls, *args: object, **settings: object) -> Self:
        if cls is Reranker:  # `Reranker(name)` is how another library loads one
            how = "load one with load_reranker(name), or call rank(…, model=name)"
            raise RrarankError(f"Reranker is the class that rerankers extend: {how}")
        return super().__new__(cls)

    def __init__(self, config: RerankerConfig | None = None) -> None:
        self.config = config or self.Config()
        self._check_backend()
        self._check_prompts()
        folder = Path(self.config.model).expanduser()
        is_folder = bool(self.config.model) and folder.is_dir()  # an empty path is the working folder
        self.model_name = folder.resolve().name if is_folder else self.config.model

    @abstractmethod
    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        """The same queries with the same candidates, best first, each with this reranker's score."""

    def rank(self, query: str, documents: Any, *, top_k: int | None = None) -> RankedDocuments:
        """The documents, best first; see `rrarank.rank`."""
        check_top_k(top_k)
        return self.rank_requests([read_request(query, documents)], top_k)[0]

    def rank_many(
        self, queries: Any, documents: Any = None, *, top_k: int | None = None, progress: bool | None = None
    ) -> RankedLists:
        """The documents of each query, best first; see `rrarank.rank_many`."""
        check_top_k(top_k)
        return self.rank_requests(read_requests(queries, documents), top_k, progress)

    async def arank(self, query: str, documents: Any, *, top_k: int | None = None) -> RankedDocuments:
        """`rank` in another thread, to be awaited."""
        import asyncio  # takes a tenth of the start

        return await asyncio.to_thread(self.rank, query, documents, top_k=top_k)

    async def arank_many(
        self, queries: Any, documents: Any = None, *, top_k: int | None = None, progress: bool | None = None
    ) -> RankedLists:
        """`rank_many` in another thread, to be awaited."""
        import asyncio

        return await asyncio.to_thread(self.rank_many, queries, documents, top_k=top_k, progress=progress)

    def rank_requests(
        self, requests: Sequence[Request], top_k: int | None, progress: bool | None = False
    ) -> RankedLists:
        """The same for what is read already. Queries are scored together; other threads wait for a group of them."""
        found: list[RankedDocuments] = []
        with progress_bar(sum(len(one.given.texts) for one in requests), " pairs", progress) as advance:
            for group in _groups(requests):
                found += self._rank_group(group, top_k)
                advance(sum(len(one.given.texts) for one in group))
        return RankedLists({one.qid: one.query for one in requests}, found)

    def _rank_group(self, group: Sequence[Request], top_k: int | None) -> list[RankedDocuments]:
        asked = [one.ranking(str(place)) for place, one in enumerate(group)]
        with ONE_AT_A_TIME:
            ranked = self.rerank_block(asked)
        for before, after in zip(asked, ranked, strict=True):
            hits = [Hit(candidate.docid, candidate.score) for candidate in after.candidates]
            check_hits([candidate.docid for candidate in before.candidates], hits, type(self).__name__)
        return [
            ranked_documents(one.given, ranking, top_k, self.relevance)
            for one, ranking in zip(group, ranked, strict=True)
        ]

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

    def _check_prompts(self) -> None:
        for setting in ("instruction", "query_prompt", "document_prompt"):
            named, text = f"{setting} (--{setting.replace('_', '-')})", getattr(self.config, setting)
            check_text(text, named)
            if text and setting not in self.prompts:
                raise RrarankError(f"{self.name or type(self).__name__}: has no place for {named}; leave it out")

    @property
    def cut(self) -> int:
        """How many texts were too long and were cut so far; 0 for rerankers that do not count them."""
        return 0

    @cached_property
    def relevance(self) -> RelevanceMap | None:
        """From a score to the probability that the document is relevant; None if the model has no calibration.

        Raises:
            RrarankError: the calibration is of a newer format, or of other weights.
        """
        given = self.config.calibration
        path = Path(given) if given else calibration_of(self.config.model) if self.model_is_files else None
        return find_map(path, self.fingerprint()) if path else None

    def needed_relevance(self) -> RelevanceMap:
        """`relevance`, where something was asked for that needs it.

        Raises:
            RrarankError: the model has no calibration.
        """
        if self.relevance is None:
            raise RrarankError(
                f"{self.model_name or self.name}: no calibration, so its scores say nothing of the probability of "
                "relevance; make one with rrarank calibrate, or ask for a score instead"
            )
        return self.relevance

    def fingerprint(self) -> str:
        """Everything that determines the scores; a reranker with a model adds the sha256 of the model's files."""
        given = {key: value for key, value in asdict(self.config).items() if value or key not in _LATER}
        settings = {key: value for key, value in given.items() if key not in _UNNAMED}
        return f"{self.name or type(self).__qualname__} {settings}"


class Cascaded(Reranker):
    """Two rerankers in a row: `first` orders all candidates, then `second` re-ranks the best of them.

    Attributes:
        most: documents per query that `second` scores at most where a budget chooses how many; 0: no limit.
    """

    scores_all: ClassVar[bool] = False
    first: Reranker
    second: Pointwise
    most: int = 0

    @cached_property
    def relevance(self) -> RelevanceMap | None:
        """None: what only the first has scored stands below the rest, which says nothing of its relevance."""
        return None

    def needed_relevance(self) -> RelevanceMap:
        raise RrarankError(
            f"{self.name or type(self).__name__}: the second reranker scores only the best documents, so nothing is "
            "known of the others' relevance; use the second reranker alone, with a lower depth (--depth)"
        )


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


@dataclass
class HeardOf:
    """What an LLM answered about a query.

    Args:
        verdicts: verdict -> answers.
        prompt_tokens, answer_tokens: as the endpoint counted them.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    questions: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0


class AsksLLM(ABC):
    """A reranker that asks an LLM, whose answers may contain no ranking."""

    report: Callable[[str, HeardOf], None] | None = None  # called with qid and its answers

    @abstractmethod
    def forecast(self, queries: Sequence[Ranking]) -> object:
        """How many questions and tokens these queries would take, as a text says."""


class Pointwise(Reranker):
    """A reranker that scores each (query, text) on its own. It encodes and scores; the engine makes the batches."""

    encodes_ahead = True
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


def _groups(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Consecutive requests of about `PAIRS` documents together."""
    group: list[Request] = []
    pairs = 0
    for one in requests:
        group.append(one)
        pairs += len(one.given.texts)
        if pairs >= PAIRS:
            yield group
            group, pairs = [], 0
    if group:
        yield group


def check_hits(asked: Sequence[str], hits: Sequence[Hit], where: str) -> None:
    """Refuse hits that lose, invent or repeat documents, or whose scores are not finite: they must not reach a run."""
    got = [hit.docid for hit in hits]
    if sorted(asked) != sorted(got):
        odd = set(asked) ^ set(got)
        raise RrarankError(f"{where}: returned {len(got)} documents, was given {len(asked)} ({shown(odd)} differ)")
    if bad := [hit.docid for hit in hits if not math.isfinite(hit.score)]:
        raise RrarankError(f"{where}: scores of {shown(bad)} are not finite; the model or its input is broken")
