"""First stage: topics and an index in, a run out: BM25 or dense. `python -m rrarank.retrieve`"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tqdm import tqdm

from rrarank.cli.flags import Parser, add_threads, positive
from rrarank.cli.verbs import Arguments, run_verb, say
from rrarank.data.beir import CORPUS, in_folder
from rrarank.data.trec import check_tag, write_run
from rrarank.data.types import Run
from rrarank.engine import registry
from rrarank.errors import MissingResource, RrarankError
from rrarank.sources.dense import DenseIndex, build_dense_index, check_same_model
from rrarank.sources.lucene import BM25, LuceneIndex, build_index, start_java
from rrarank.sources.names import TEXTS, TOPICS, file_or_id, known
from rrarank.sources.texts import Collection, load_topics
from rrarank.storage.files import find, is_file, stem
from rrarank.storage.sidecar import check_output, fingerprint, read_sidecar, write_sidecar

if TYPE_CHECKING:
    from rrarank.rerankers.bi_encoder import BiEncoder


def main(arguments: Arguments = None) -> int:
    return run_verb(_retrieve, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("retrieve", "Search a collection by BM25 or a bi-encoder; index it first where there is no index.")
    parser.add_argument("--index", required=True, help="folder of the index; made from --collection if absent")
    parser.add_argument("--collection", help="JSONL (id, contents) or TSV file, plain or .gz, to index")
    parser.add_argument(
        "--topics", required=True, help="file of qid<TAB>query, or JSONL, or a name such as dl19-passage"
    )
    parser.add_argument("--output", help="the run to write; - for stdout (default: <topics>.<bm25 or dense>.trec)")
    parser.add_argument("--hits", type=positive, default=1000, help="documents per query")
    parser.add_argument("--runtag", help="1-20 of A-Z a-z 0-9 _ . - (default: bm25 or dense)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    add_threads(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--bm25", action="store_true", help="rank by BM25 in a Lucene index (the default)")
    how.add_argument("--dense", action="store_true", help="rank by a bi-encoder's embeddings in a faiss index")
    bm25 = parser.add_argument_group("--bm25")
    bm25.add_argument("--k1", type=float, default=0.9, help="term saturation")
    bm25.add_argument("--b", type=float, default=0.4, help="length normalisation")
    bm25.add_argument("--rm3", action="store_true", help="expand queries by RM3 (10 terms, 10 documents, weight .5)")
    bm25.add_argument("--language", help="analyser, ISO code such as ko (default: the index's own, else en)")
    dense = parser.add_argument_group("--dense")
    dense.add_argument("--model", metavar="PATH_OR_ID", help="bi-encoder (default: the reranker bi-encoder's own)")
    dense.add_argument("--device", help="cpu, cuda, cuda:1, … (default: cuda if there is one)")
    dense.add_argument("--batch-size", type=positive, help="texts embedded at once (default: 32)")
    return parser


def _retrieve(flags: argparse.Namespace) -> None:
    stage: _FirstStage = _Dense(flags) if flags.dense else _BM25(flags)
    topics = file_or_id(flags.topics, TOPICS)
    output = flags.output or f"{stem(topics)}.{stage.name}.trec"
    collection = find(in_folder(flags.collection, CORPUS)) if flags.collection else None
    check_output(output, flags.overwrite, [topics, collection])
    tag = check_tag(flags.runtag or stage.name)
    queries = load_topics(topics)
    index = Path(flags.index)
    if not index.exists():
        _build(stage, index, collection)
    texts = _check_index(stage, index, collection)
    stage.open(index)

    started = time.perf_counter()
    run = stage.search(queries, flags.hits)
    seconds = time.perf_counter() - started
    write_run(output, run, tag)
    if is_file(output):
        write_sidecar(
            Path(output),
            inputs={"topics": topics, **texts},
            config={"hits": flags.hits, **stage.settings, **stage.ranking},
            timings={"search_s": round(seconds, 3)},
        )
        print(output)
    without = sum(not run[qid] for qid in run)
    notice = f", {without} without any hit" if without else ""
    say(f"{len(run):,} queries{notice}, {sum(map(len, run.values())):,} hits in {seconds:.1f} s")


# -- the two first stages ---------------------------------------------------------------------------------------------


class _FirstStage(Protocol):
    """A way to search."""

    name: str
    holds_texts: bool

    @property
    def settings(self) -> Mapping[str, Any]:
        """What an index is made with; recorded beside it."""

    @property
    def ranking(self) -> Mapping[str, Any]:
        """What else determines a run."""

    def prepare(self) -> None:
        """Whatever can fail before the collection is read."""

    def build(self, documents: Iterable[tuple[str, str]], index: Path) -> tuple[int, int]:
        """Index; the number of documents, and of those left out because empty."""

    def fit(self, index: Path, recorded: Mapping[str, Any]) -> None:
        """Take over the settings of an index, or refuse those that contradict the flags."""

    def open(self, index: Path) -> None: ...
    def search(self, queries: Mapping[str, str], hits: int) -> Run: ...


class _BM25:
    name, holds_texts = "bm25", True

    def __init__(self, flags: argparse.Namespace) -> None:
        if asked := [flag for flag in ("model", "device", "batch_size") if getattr(flags, flag)]:
            raise RrarankError(f"--{asked[0].replace('_', '-')}: BM25 has none; give --dense too")
        self.bm25 = BM25(k1=flags.k1, b=flags.b, rm3=flags.rm3)
        self.threads = flags.threads or 1
        self.asked = flags.language
        self.settings = {"language": flags.language or "en"}
        self.ranking = {"bm25": asdict(self.bm25)}

    def prepare(self) -> None:
        start_java()

    def build(self, documents: Iterable[tuple[str, str]], index: Path) -> tuple[int, int]:
        return build_index(documents, index, language=self.settings["language"], threads=self.threads)

    def fit(self, index: Path, recorded: Mapping[str, Any]) -> None:
        language = str(recorded.get("language", self.settings["language"]))
        if self.asked not in (None, language):
            raise RrarankError(f"{index}: indexed with --language {language}, asked with {self.asked}; {_ANOTHER}")
        self.settings = {"language": language}

    def open(self, index: Path) -> None:
        self.index = LuceneIndex(index)

    def search(self, queries: Mapping[str, str], hits: int) -> Run:
        language = self.settings["language"]
        return self.index.search(queries, hits=hits, bm25=self.bm25, language=language, threads=self.threads)


class _Dense:
    name, holds_texts = "dense", False

    def __init__(self, flags: argparse.Namespace) -> None:
        if flags.rm3 or flags.language:
            raise RrarankError(f"--{'rm3' if flags.rm3 else 'language'}: a dense index has none; leave --dense out")
        self.flags = flags
        self.ranking: dict[str, Any] = {}

    @cached_property
    def encoder(self) -> BiEncoder:
        given = {name: getattr(self.flags, name) for name in ("model", "device", "batch_size", "threads")}
        return registry.load_reranker("bi-encoder", **given)  # type: ignore[return-value]

    @cached_property
    def settings(self) -> dict[str, Any]:
        return {"model": {"name": self.encoder.model_name, "sha256": self.encoder.model_fingerprint}}

    def prepare(self) -> None:
        self.encoder  # noqa: B018  # loads the model

    def build(self, documents: Iterable[tuple[str, str]], index: Path) -> tuple[int, int]:
        return build_dense_index(documents, index, self.encoder)

    def fit(self, index: Path, recorded: Mapping[str, Any]) -> None:
        check_same_model(index, self.encoder.model_name, self.encoder.model_fingerprint)

    def open(self, index: Path) -> None:
        self.index = DenseIndex(index, self.flags.threads or 0)

    def search(self, queries: Mapping[str, str], hits: int) -> Run:
        return self.index.search(queries, self.encoder, hits=hits)


# -- the index --------------------------------------------------------------------------------------------------------

_ANOTHER = "give another --index"


def _build(stage: _FirstStage, index: Path, collection: Path | None) -> None:
    if collection is None:
        if str(index) in known(TEXTS):
            raise MissingResource(
                f"{index}: a prebuilt index of Pyserini's that is not on disk; download it with Pyserini and "
                "give its folder, or give --collection COLLECTION.jsonl and a folder to make one"
            )
        raise RrarankError(f"{index}: no such index; give --collection COLLECTION.jsonl to make it")
    check_output(index, True, [collection])
    say(f"indexing {collection} into {index}")
    documents = tqdm(Collection(collection), unit=" documents", disable=None)
    stage.prepare()
    count, empty = stage.build(documents, index)
    if empty:
        say(f"{empty:,} empty documents left out")
    write_sidecar(index, inputs={"collection": collection}, config={**stage.settings, "documents": count})


def _check_index(stage: _FirstStage, index: Path, collection: Path | None) -> dict[str, str | Path]:
    """The index must fit what the flags say. Returns where its texts are: in the collection, else in itself."""
    sidecar = read_sidecar(index)
    stage.fit(index, sidecar.content.get("config", {}) if sidecar else {})
    found: str | Path | None = collection
    if sidecar:
        if collection and fingerprint(collection) != sidecar.content["inputs"].get("collection", {}).get("sha256"):
            raise RrarankError(f"{index}: {sidecar.path} names another collection than {collection}; {_ANOTHER}")
        found = collection or sidecar.input("collection")
    if found:
        return {"collection": found}
    return {"index": index} if stage.holds_texts else {}


if __name__ == "__main__":
    sys.exit(main())
