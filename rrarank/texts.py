"""docid -> text: gathered once, from the first of several sources that has it, into a store that stays on disk.

Sources are asked in order, each only for what the ones before it lacked: inline texts, JSONL and TSV collections,
ir_datasets, a Lucene index. Gathering comes before scoring, so no reader is alive when workers start.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rrarank.data import Qrels
from rrarank.errors import MissingPrerequisite, MissingResource, RrarankError
from rrarank.files import read_lines
from rrarank.ranx_json import read_ranx_qrels
from rrarank.trec import field, json_object, read_qrels, read_topics

ID_FIELDS = ("id", "_id", "docid", "doc_id")
TEXT_FIELDS = ("text", "segment", "contents", "content", "body", "passage")  # rank_llm's order


class Source(Protocol):
    """Somewhere texts come from."""

    def stream(self, wanted: Set[str]) -> Iterator[tuple[str, str]]:
        """(docid, text) of those wanted documents that it has, in any order."""


class TextStore(Mapping[str, str]):
    """docid -> text in SQLite's private temporary database: a small cache in memory, the rest on disk, gone on exit."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.execute("CREATE TABLE texts (docid TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID")

    def add(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?)", pairs)

    def __getitem__(self, docid: str) -> str:
        row = self._db.execute("SELECT text FROM texts WHERE docid = ?", (docid,)).fetchone()
        if row is None:
            raise KeyError(docid)
        return str(row[0])

    def __iter__(self) -> Iterator[str]:
        return (row[0] for row in self._db.execute("SELECT docid FROM texts"))

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM texts").fetchone()[0])


def gather(sources: Sequence[Source], wanted: Set[str]) -> TextStore:
    """The texts of `wanted`, each from the first source that has it; what none has is absent from the store."""
    store = TextStore()
    for source in sources:
        missing = wanted - set(store)
        if missing:
            store.add(source.stream(missing))
    return store


@dataclass(frozen=True)
class InlineTexts:
    """Texts at hand, such as those of a requests file."""

    texts: Mapping[str, str]

    def stream(self, wanted: Set[str]) -> Iterator[tuple[str, str]]:
        return ((docid, self.texts[docid]) for docid in wanted if docid in self.texts)


@dataclass(frozen=True)
class Collection:
    """A collection file, read line by line: `.tsv` is `docid<TAB>text`, all else JSONL; `.gz` of either."""

    path: Path

    def stream(self, wanted: Set[str]) -> Iterator[tuple[str, str]]:
        left = set(wanted)
        for docid, text in self:
            if docid in left:
                left.remove(docid)
                yield docid, text
            if not left:
                return

    def __iter__(self) -> Iterator[tuple[str, str]]:
        parse = _tsv_row if self.path.name.removesuffix(".gz").endswith(".tsv") else _json_row
        for number, line in enumerate(read_lines(self.path), start=1):
            if line.strip():
                yield parse(line, f"{self.path}:{number}")


def _tsv_row(line: str, where: str) -> tuple[str, str]:
    docid, tab, text = line.rstrip("\r\n").partition("\t")
    if not tab:
        raise RrarankError(f"{where}: no tab; expected docid<TAB>text")
    return docid, text


def _json_row(line: str, where: str) -> tuple[str, str]:
    row = json_object(line, where)
    return field(row, ID_FIELDS, where), document_text(row, where)


def document_text(row: Mapping[str, object], where: str) -> str:
    """A JSON document's text; a title comes before it, as BEIR's loaders do."""
    text = field(row, TEXT_FIELDS, where)
    return f"{field(row, ('title',), where)} {text}".strip() if row.get("title") else text


@dataclass(frozen=True)
class IrDatasetsTexts:
    """The documents of an ir_datasets id, such as `msmarco-passage`."""

    dataset: str

    def stream(self, wanted: Set[str]) -> Iterator[tuple[str, str]]:
        store = ir_dataset(self.dataset, "docs").docs_store()
        try:
            for doc in store.get_many_iter(sorted(wanted)):
                yield str(doc.doc_id), doc.default_text()
        except (OSError, ImportError) as error:
            raise unreachable(self.dataset, error) from error


def ir_dataset_topics(dataset: str) -> dict[str, str]:
    """qid -> query text of an ir_datasets id."""
    try:
        return {str(query.query_id): query.default_text() for query in ir_dataset(dataset, "queries").queries_iter()}
    except (OSError, ImportError) as error:
        raise unreachable(dataset, error) from error


def ir_dataset_qrels(dataset: str) -> dict[str, dict[str, int]]:
    """qid -> docid -> grade of an ir_datasets id."""
    qrels: dict[str, dict[str, int]] = {}
    try:
        for judged in ir_dataset(dataset, "qrels").qrels_iter():
            qrels.setdefault(str(judged.query_id), {})[str(judged.doc_id)] = int(judged.relevance)
    except (OSError, ImportError) as error:
        raise unreachable(dataset, error) from error
    return qrels


def load_topics(place: str | Path) -> dict[str, str]:
    """qid -> query text of a file (Path) or an ir_datasets id (str)."""
    return read_topics(place) if isinstance(place, Path) else ir_dataset_topics(place)


def load_qrels(place: str | Path) -> Qrels:
    """The judgments of a file (Path; `.json` as ranx, else as TREC or BEIR have them) or an ir_datasets id (str)."""
    if not isinstance(place, Path):
        return ir_dataset_qrels(place)
    return read_ranx_qrels(place) if place.name.removesuffix(".gz").endswith(".json") else read_qrels(place)


def ir_dataset(name: str, needs: str):  # type: ignore[no-untyped-def]  # ir_datasets has no types
    """The ir_datasets data set of that id.

    Args:
        needs: what it must have: `docs`, `queries` or `qrels`.
    """
    import ir_datasets

    try:
        dataset = ir_datasets.load(name)
    except KeyError:
        raise RrarankError(f"no ir_datasets id {name!r}; see https://ir-datasets.com for the list") from None
    except (OSError, ImportError) as error:
        raise unreachable(name, error) from error
    if not getattr(dataset, f"has_{needs}")():
        raise RrarankError(f"the ir_datasets id {name!r} has no {needs}; give a data set that has")
    return dataset


def unreachable(dataset: str, error: Exception) -> RrarankError:
    if isinstance(error, ImportError):  # ir_datasets leaves some of its data sets' libraries to the user
        return MissingPrerequisite(f"ir_datasets {dataset!r}: {error}; install it")
    return MissingResource(
        f"ir_datasets {dataset!r}: its files are not on disk and could not be downloaded ({error}); "
        "fetch them on a connected machine, or give --topics and --collection"
    )
