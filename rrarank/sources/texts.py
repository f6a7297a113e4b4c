"""docid -> text: gathered once, each text from the first source that has it, into a store on disk.

Sources are asked in order, each only for what the earlier ones lacked: inline texts, JSONL and TSV collections,
ir_datasets, a Lucene index. Texts are gathered before scoring, so no reader is open when workers start.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rrarank.data.judges import Judgments, read_judgments
from rrarank.data.ranx_json import read_ranx_qrels
from rrarank.data.shapes import QrelsLike, as_qrels, is_path
from rrarank.data.topics import read_topics
from rrarank.data.trec import read_qrels
from rrarank.data.types import QrelsRead
from rrarank.errors import RrarankError
from rrarank.sources.ir_datasets import ir_dataset_qrels, ir_dataset_topics, is_id
from rrarank.sources.names import file_or_id
from rrarank.storage.packed import unpacked


class Source(Protocol):
    """A source of texts."""

    def stream(self, wanted: Set[str]) -> Iterator[tuple[str, str]]:
        """(docid, text) of the wanted documents that this source has, in any order."""


class TextStore(Mapping[str, str]):
    """docid -> text in a temporary SQLite database: a small cache in memory, the rest on disk, deleted on exit."""

    def __init__(self) -> None:
        with _stored():
            self._db = sqlite3.connect("", check_same_thread=False)
            self._db.execute("CREATE TABLE texts (docid TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID")

    def add(self, pairs: Iterable[tuple[str, str]]) -> None:
        with _stored():
            self._db.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?)", pairs)

    def __getitem__(self, docid: str) -> str:
        with _stored():
            row = self._db.execute("SELECT text FROM texts WHERE docid = ?", (docid,)).fetchone()
        if row is None:
            raise KeyError(docid)
        return str(row[0])

    def __iter__(self) -> Iterator[str]:
        with _stored():
            yield from (row[0] for row in self._db.execute("SELECT docid FROM texts"))

    def __len__(self) -> int:
        with _stored():
            return int(self._db.execute("SELECT count(*) FROM texts").fetchone()[0])


@contextmanager
def _stored() -> Iterator[None]:
    """Make an error of SQLite one line: its temporary folder is full or cannot be written."""
    try:
        yield
    except sqlite3.Error as error:
        raise RrarankError(
            f"temporary folder: texts cannot be kept there ({error}); make room in it, "
            "or set SQLITE_TMPDIR to a folder that has room"
        ) from error


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


def load_topics(place: str | Path, topic_field: str = "") -> dict[str, str]:
    """qid -> query text of a file (Path) or an ir_datasets id (str); an empty query is kept.

    Args:
        topic_field: one of `topics.FIELDS`; empty: as `read_topics` takes it.
    """
    if isinstance(place, Path):
        return read_topics(place, topic_field)
    return ir_dataset_topics(place, topic_field)


def any_qrels(given: QrelsLike) -> QrelsRead:
    """Judgments of any shape, or from a file or an id: by a bare name as `evaluate --qrels` finds it.

    Raises:
        RrarankError: as `data.shapes.as_qrels`, or there is no such file or id.
    """
    if isinstance(given, QrelsRead):
        return given
    return load_qrels(place_or_id(given, "qrels")) if is_path(given) else as_qrels(given)


def place_or_id(name: str | Path, folder: str = "") -> Path | str:
    """As `names.file_or_id`, and any id of ir_datasets.

    Raises:
        RrarankError: none of these.
    """
    try:
        return file_or_id(name, folder)
    except RrarankError:
        if not Path(name).exists() and is_id(str(name)):
            return str(name)
        raise


def load_qrels(place: str | Path) -> QrelsRead:
    """The judgments of a file (Path; `.json` is ranx, anything else TREC or BEIR) or an ir_datasets id (str)."""
    if not isinstance(place, Path):
        return ir_dataset_qrels(place)
    return read_ranx_qrels(place) if unpacked(place.name).endswith(".json") else read_qrels(place)


def load_judgments(place: str | Path) -> Judgments:
    """The same by who judged: only TREC qrels can mark an LLM's judgments."""
    is_trec = isinstance(place, Path) and not unpacked(place.name).endswith(".json")
    return read_judgments(place) if is_trec else Judgments(load_qrels(place), {})
