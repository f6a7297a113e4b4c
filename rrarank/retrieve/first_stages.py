"""The two first stages: BM25 in a Lucene index, and a bi-encoder in a dense index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rrarank.data.types import Run
from rrarank.engine import registry
from rrarank.errors import RrarankError
from rrarank.extras import check_installed
from rrarank.sources.dense import DenseIndex, build_dense_index, check_same_model
from rrarank.sources.lucene import BM25, LuceneIndex, build_index, start_java

if TYPE_CHECKING:
    from rrarank.rerankers.bi_encoder import BiEncoder


Describe = Callable[[Path, int], None]
"""Writes the sidecar of an index: called with the finished folder and its number of documents, before it appears."""


class FirstStage(Protocol):
    """A way to index and search."""

    name: str
    holds_texts: bool

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of an index, for its sidecar."""

    @property
    def ranking(self) -> Mapping[str, Any]:
        """The settings of the search, for the sidecar of the run."""

    def prepare(self) -> None:
        """Load what may be missing, before the collection is read."""

    def build(self, documents: Iterable[tuple[str, str]], index: Path, describe: Describe) -> int:
        """Index; returns the number of empty documents, which are left out."""

    def adopt(self, index: Path, recorded: Mapping[str, Any]) -> None:
        """Take over the recorded settings of an index; refuse those that contradict the job."""

    def open(self, index: Path) -> None: ...
    def search(self, queries: Mapping[str, str], hits: int) -> Run: ...


class BM25Stage:
    name, holds_texts = "bm25", True

    def __init__(self, bm25: BM25, language: str, threads: int) -> None:
        self.bm25, self.asked, self.threads = bm25, language, threads
        self.settings = {"language": language or "en"}
        self.ranking = {"bm25": asdict(bm25)}

    def prepare(self) -> None:
        start_java()

    def build(self, documents: Iterable[tuple[str, str]], index: Path, describe: Describe) -> int:
        how: dict[str, Any] = {"language": self.settings["language"], "threads": self.threads}
        return build_index(documents, index, **how, describe=describe)[1]

    def adopt(self, index: Path, recorded: Mapping[str, Any]) -> None:
        language = str(recorded.get("language", self.settings["language"]))
        if self.asked not in ("", language):
            asked = f"asked with {self.asked}; give another --index"
            raise RrarankError(f"{index}: indexed with --language {language}, {asked}")
        self.settings = {"language": language}

    def open(self, index: Path) -> None:
        self.index = LuceneIndex(index)

    def search(self, queries: Mapping[str, str], hits: int) -> Run:
        language = self.settings["language"]
        return self.index.search(queries, hits=hits, bm25=self.bm25, language=language, threads=self.threads)


class DenseStage:
    """A bi-encoder.

    Args:
        given: model, device, batch_size and threads, as `load_reranker` takes them.
    """

    name, holds_texts = "dense", False

    def __init__(self, given: Mapping[str, Any]) -> None:
        check_installed("faiss")
        self.given = given
        self.ranking: dict[str, Any] = {}

    @cached_property
    def encoder(self) -> BiEncoder:
        return registry.load_reranker("bi-encoder", **self.given)  # type: ignore[return-value]

    @cached_property
    def settings(self) -> dict[str, Any]:
        return {"model": {"name": self.encoder.model_name, "sha256": self.encoder.model_fingerprint}}

    def prepare(self) -> None:
        self.encoder  # noqa: B018  # loads the model

    def build(self, documents: Iterable[tuple[str, str]], index: Path, describe: Describe) -> int:
        return build_dense_index(documents, index, self.encoder, describe=describe)[1]

    def adopt(self, index: Path, recorded: Mapping[str, Any]) -> None:
        check_same_model(index, self.encoder.model_name, self.encoder.model_fingerprint)

    def open(self, index: Path) -> None:
        self.index = DenseIndex(index, self.given["threads"] or 0)

    def search(self, queries: Mapping[str, str], hits: int) -> Run:
        return self.index.search(queries, self.encoder, hits=hits)
