"""BEIR folders: `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`, found and written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from rrarank.data.run_files import write_qrels
from rrarank.data.types import Qrels
from rrarank.errors import RrarankError, shown
from rrarank.storage.files import atomic_write
from rrarank.storage.folders import replace_folder
from rrarank.storage.packed import PACKED, unpacked

CORPUS = "corpus.jsonl"
QUERIES = "queries.jsonl"
QRELS = "qrels"


def is_beir(name: str | Path) -> bool:
    """Whether `name` is a folder with at least one of BEIR's parts."""
    parts = [f"{part}{suffix}" for part in (CORPUS, QUERIES) for suffix in ("", *PACKED)]
    return bool(str(name)) and any(Path(name, part).exists() for part in (*parts, QRELS))


def in_folder(name: str | Path, part: str) -> str | Path:
    """The file of `part` (`CORPUS`, `QUERIES`, `QRELS`) where `name` is a BEIR folder; any other name as it is."""
    if not is_beir(name):
        return name
    return _judgments(Path(name)) if part == QRELS else _part(Path(name), part)


def _part(folder: Path, part: str) -> Path:
    for file in (folder / f"{part}{suffix}" for suffix in ("", *PACKED)):
        if file.is_file():
            return file
    raise RrarankError(f"{folder}: no {part} in it, plain or packed, as a BEIR folder has")


def _judgments(folder: Path) -> Path:
    """The test split's file, or else the only file there."""
    found = sorted(path for path in (folder / QRELS).glob("[!.]*") if path.is_file())
    chosen = [path for path in found if unpacked(path.name) == "test.tsv"] or found
    if not chosen:
        raise RrarankError(f"{folder}: no judgments in it, expected qrels/test.tsv as a BEIR folder has")
    if len(chosen) > 1:
        names = shown(str(path.relative_to(folder)) for path in chosen)
        raise RrarankError(f"{folder}: several files of judgments ({names}); give one of them")
    return chosen[0]


def write_beir(
    folder: Path, collection: Iterable[tuple[str, str]], topics: Mapping[str, str], qrels: Qrels, split: str = "test"
) -> None:
    """Write a BEIR folder, whole or not at all; an existing folder is never replaced.

    Args:
        collection: (docid, text) pairs.

    Raises:
        RrarankError: the folder exists, a docid occurs twice, or a judged query has no topic (BEIR fails on that).
    """
    if folder.exists():
        raise RrarankError(f"{folder}: exists already, and a folder is never replaced; give another name")
    if unknown := [qid for qid in qrels if qid not in topics]:
        raise RrarankError(f"{folder}: {len(unknown):,} judged queries have no topic ({shown(unknown)})")
    with replace_folder(folder) as whole:
        with atomic_write(whole / CORPUS) as file:
            file.writelines(_row(docid, title="", text=text) for docid, text in _each_once(collection))
        with atomic_write(whole / QUERIES) as file:
            file.writelines(_row(qid, text=text) for qid, text in topics.items())
        write_qrels(whole / QRELS / f"{split}.tsv", qrels)


def _each_once(collection: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    seen: set[str] = set()
    for docid, text in collection:
        if docid in seen:
            raise RrarankError(f"docid {docid!r} occurs twice in the collection; keep one")
        seen.add(docid)
        yield docid, text


def _row(name: str, **texts: str) -> str:
    return json.dumps({"_id": name, **texts}, ensure_ascii=False) + "\n"
