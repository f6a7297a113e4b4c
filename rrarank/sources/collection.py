"""A collection: a file or a folder of files, each JSON lines, a JSON array, or TSV, plain or packed."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rrarank.data.beir import CORPUS, in_folder, is_beir
from rrarank.data.documents import ID_FIELDS, TEXT_FIELDS, document_text, field, json_object
from rrarank.errors import RrarankError, say, shown
from rrarank.storage.files import find, join_lines, read_lines
from rrarank.storage.packed import is_stream, unpacked

_TABLES = (".jsonl", ".json", ".tsv")
_HEADER = {"id", "docid", "doc_id", "text", "title", "url", "contents", "passage"}
Document = tuple[str, str | None]
"""docid and text; None where the collection says that there is none (a JSON null)."""


@dataclass(frozen=True)
class Collection:
    """The documents of a file or folder, read one by one.

    `.tsv` is `docid<TAB>text`, with a header DPR's `psgs.tsv`; anything else is JSON lines or a JSON array. In a folder
    each such file is read, or, if there is none, each `.txt` file as one document with its name as docid.
    """

    path: Path

    def stream(self, wanted: Set[str]) -> Iterator[tuple[str, str]]:
        """(docid, text) of the wanted documents that have a text; a docid with two texts is logged."""
        seen: dict[str, int] = {}
        twice: list[str] = []
        for docid, text in self._documents():
            if docid not in wanted or text is None:
                continue
            if docid not in seen:
                seen[docid] = hash(text)
                yield docid, text
            elif seen[docid] != hash(text):
                twice.append(docid)
        if twice:
            say(f"{self.path}: {len(twice):,} docids have two different texts ({shown(twice)}); the first one is used")

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((docid, text or "") for docid, text in self._documents())

    def _documents(self) -> Iterator[Document]:
        return chain.from_iterable(map(_documents, _files(self.path)))


def find_collection(name: str | Path) -> Path:
    """The file or folder of a collection; of a BEIR folder its `corpus.jsonl`.

    Raises:
        RrarankError: there is none of that name.
    """
    if Path(name).is_dir() and not is_beir(name):
        _files(Path(name))
        return Path(name)
    return find(in_folder(name, CORPUS))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("[!.]*") if file.is_file())
    for suffixes in (_TABLES, (".txt",)):
        if found := [file for file in files if unpacked(file.name).endswith(suffixes)]:
            return found
    raise RrarankError(f"{path}: a folder without documents; expected .jsonl, .json, .tsv or .txt files in it")


def _documents(path: Path) -> Iterator[Document]:
    name = unpacked(path.name)
    lines = read_lines(path)
    if name.endswith(".txt"):
        return iter([(Path(name).stem, join_lines(lines, path).strip())])
    first, lines = _first_line(lines)
    if name.endswith(".tsv") or (is_stream(path) and "\t" in first and not first.lstrip().startswith("{")):
        return _tsv_documents(lines, first, path)
    if _opens_array(first):
        return _array_documents(join_lines(lines, path), path)
    return _line_documents(lines, path)


def _first_line(lines: Iterator[str]) -> tuple[str, Iterator[str]]:
    """The first line with content, and all lines."""
    read = []
    for line in lines:
        read.append(line)
        if line.strip():
            return line, chain(read, lines)
    return "", iter(read)


# -- JSON -------------------------------------------------------------------------------------------------------------


def _opens_array(first: str) -> bool:
    """Whether a JSON array of objects begins here: `[`, then `{` or the end of the line."""
    return first.strip().startswith("[") and first.strip()[1:].strip()[:1] in ("", "{")


def _line_documents(lines: Iterable[str], path: Path) -> Iterator[Document]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield _document(json_object(line, where), where)


def _array_documents(text: str, path: Path) -> Iterator[Document]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise RrarankError(f"{path}:{error.lineno}: not JSON ({error.msg} at column {error.colno})") from error
    except RecursionError as error:
        raise RrarankError(f"{path}: JSON that is nested too deeply") from error
    for number, row in enumerate(rows, start=1):
        where = f"{path}: document {number}"
        yield _document(json_object(json.dumps(row), where), where)


def _document(row: Mapping[str, object], where: str) -> Document:
    docid = field(row, ID_FIELDS, where)
    texts = [row[name] for name in TEXT_FIELDS if name in row]
    return docid, None if texts and all(text is None for text in texts) else document_text(row, where)


# -- TSV --------------------------------------------------------------------------------------------------------------


def _tsv_documents(lines: Iterable[str], first: str, path: Path) -> Iterator[Document]:
    header = first.rstrip("\r\n").split("\t")
    if len(header) > 1 and set(header) <= _HEADER and {"text", "contents", "passage"} & set(header):
        return _csv_documents(lines, header, path)
    return (_tsv_row(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip())


def _tsv_row(line: str, where: str) -> Document:
    docid, tab, text = line.rstrip("\r\n").partition("\t")
    if not tab:
        raise RrarankError(f"{where}: no tab; expected docid<TAB>text")
    return docid, text


def _csv_documents(lines: Iterable[str], header: list[str], path: Path) -> Iterator[Document]:
    """With a header and quotes, as DPR's `psgs_w100.tsv`. A line is a document: a stray quote cannot join two."""
    csv.field_size_limit(sys.maxsize)
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        row = [_unquoted(cell) for cell in line.rstrip("\r\n").split("\t")]
        if row == header or not line.strip():
            continue
        if len(row) != len(header):  # a quoted cell may contain a tab
            row = next(csv.reader([line], delimiter="\t"), [])
        if len(row) != len(header):
            raise RrarankError(f"{where}: {len(row)} columns, expected {len(header)} ({' '.join(header)})")
        yield _document(dict(zip(header, row, strict=True)), where)


def _unquoted(cell: str) -> str:
    """Without the quotes around a cell in which inner quotes are doubled; any other cell as it is."""
    inner = cell[1:-1]
    is_quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_quoted else cell
