"""docid -> text: gathered once, each text from the first source that has it, into a store on disk.

Sources are asked in order, each only for what the earlier ones lacked: inline texts, JSONL and TSV collections,
ir_datasets, a Lucene index. Texts are gathered before scoring, so no reader is open when workers start.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rrarank.data.documents import ID_FIELDS, document_text, field, json_object
from rrarank.data.ranx_json import read_ranx_qrels
from rrarank.data.trec import read_qrels, read_topics
from rrarank.data.types import Qrels
from rrarank.errors import RrarankError
from rrarank.sources.ir_datasets import ir_dataset_qrels, ir_dataset_topics
from rrarank.storage.files import read_lines


class Source(Protocol):
    """A source of texts."""

    def stream(self, wanted: Set[str]) -> Iterator[tuple[str, str]]:
        """(docid, text) of the wanted documents that this source has, in any order."""


class TextStore(Mapping[str, str]):
    """docid -> text in a temporary SQLite database: a small cache in memory, the rest on disk, deleted on exit."""

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
    """The texts of `wanted`, each from the first source that has it; documents without text are absent."""
    store = TextStore()
    for source in sources:
        missing = wanted - set(store)
        if missing:
            store.add(source.stream(missing))
    return store


@dataclass(frozen=True)
class InlineTexts:
    """Texts in memory, such as those of a requests file."""

    texts: Mapping[str, str]

    def stream(self, wanted: Set[str]) -> Iterator[tuple[str, str]]:
        return ((docid, self.texts[docid]) for docid in wanted if docid in self.texts)


@dataclass(frozen=True)
class Collection:
    """A collection file, read line by line: `.tsv` is `docid<TAB>text`, anything else JSONL; plain or `.gz`."""

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


def load_topics(place: str | Path) -> dict[str, str]:
    """qid -> query text of a file (Path) or an ir_datasets id (str)."""
    return read_topics(place) if isinstance(place, Path) else ir_dataset_topics(place)


def load_qrels(place: str | Path) -> Qrels:
    """The judgments of a file (Path; `.json` is ranx, anything else TREC or BEIR) or an ir_datasets id (str)."""
    if not isinstance(place, Path):
        return ir_dataset_qrels(place)
    return read_ranx_qrels(place) if place.name.removesuffix(".gz").endswith(".json") else read_qrels(place)
