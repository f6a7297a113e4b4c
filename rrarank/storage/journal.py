"""An append-only record of finished work: what makes a long job resumable.

One line a piece of work: format, checksum, length, and JSON of a key and a value. The key is a hash of everything that
determines the value, so work whose inputs changed is done again. A line torn by a crash is dropped; a damaged one is
skipped, and the good ones after it are kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any

from rrarank.errors import RrarankError
from rrarank.storage.locks import lock

FORMAT = b"rrarank.journal/2"
_HEAD = re.compile(
    re.escape(FORMAT) + rb" ([0-9a-f]{16}) ([0-9]{1,12}) "
)  # checksum and length of the JSON that follows
_OTHER = re.compile(rb"rrarank\.journal/[0-9]+ ")
_FORMAT_1 = b'{"key": "'  # its lines were bare JSON
_NOTE = "note:"


class Journal:
    """key -> value on disk; only the places of the values are held in memory. One job at a time holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged: list[int] = []  # numbers of the lines that were skipped
        self._places: dict[str, int] = {}
        self._used: set[str] = set()
        with ExitStack() as stack:
            stack.enter_context(lock(path))
            try:
                self._file = stack.enter_context(open(path, "a+b"))
            except OSError as error:
                raise RrarankError(f"{path}: cannot be written ({error.strerror})") from error
            self._load()
            self._held = stack.pop_all()

    def _load(self) -> None:
        """Find the good records, and drop a last line that a crash tore."""
        self._file.seek(0)
        place = number = 0
        while line := self._file.readline():
            number += 1
            if record := _parse(line):
                key, length, _ = record
                self._places[key] = place
                place += length + 1  # its line end, even a damaged one
                self._file.seek(place)
            elif line.endswith(b"\n"):
                self.damaged.append(number)
                place += len(line)
            else:
                break
        if not self._places:
            self._check_format()
        if place > self._file.seek(0, os.SEEK_END):
            self._file.write(b"\n")  # torn between the record and its line end
        self._file.truncate(place)

    def _check_format(self) -> None:
        """Refuse a file in which no record is good, unless its first line was torn or damaged in one of ours."""
        self._file.seek(0)
        start = self._file.read(64)
        if _begins(start, FORMAT):
            return
        if _begins(start, _FORMAT_1):
            raise RrarankError(
                f"{self.path}: was begun by an earlier version of rrarank, and this version cannot go on from it; "
                "finish the job with that version, or remove the file to start anew"
            )
        if _OTHER.match(start):
            raise RrarankError(
                f"{self.path}: format {start.split()[0].decode()!r}, expected {FORMAT.decode()!r}; update rrarank"
            )
        raise RrarankError(f"{self.path}: exists and is not a journal; move it, or give another --output")

    def __len__(self) -> int:
        """How many pieces of work are finished; notes do not count."""
        return sum(not key.startswith(_NOTE) for key in self._places)

    @property
    def is_empty(self) -> bool:
        """Whether it holds neither work nor notes, good or damaged."""
        return not self._places and not self.damaged

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __getitem__(self, key: str) -> Any:
        self._used.add(key)
        self._file.seek(self._places[key])
        record = _parse(self._file.readline())
        if not record or record[0] != key:
            raise RrarankError(f"{self.path}: changed while it was in use; does another job write the same output?")
        return record[2]

    def add(self, key: str, value: Any) -> None:
        """Append and fsync: once this returns, the value survives a crash.

        Raises:
            RrarankError: the disk is full, or away; what was there before is kept.
        """
        place = self._file.seek(0, os.SEEK_END)
        content = json.dumps({"key": key, "value": value}, ensure_ascii=False).encode()
        try:
            self._file.write(b"%b %b %d %b\n" % (FORMAT, _checksum(content), len(content), content))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            todo = "make room on its disk; the same command goes on from what is there"
            raise RrarankError(f"{self.path}: cannot be written ({error.strerror}); {todo}") from error
        self._places[key] = place
        self._used.add(key)

    def close(self) -> None:
        with suppress(OSError):  # a full disk: what it does not hold by now was never promised
            self._held.close()

    def remove(self) -> None:
        """Delete the file: the job is done and its output is whole."""
        if not self._file.closed:  # another job may hold it by now
            self.path.unlink(missing_ok=True)
        self.close()

    def remove_used(self) -> int:
        """Delete the file unless it holds records of another job, which this one neither read nor wrote; return their
        number."""
        others = len(self._places) - len(self._used)
        self.close() if others else self.remove()
        return others

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _parse(line: bytes) -> tuple[str, int, Any] | None:
    """(key, length without the line end, value) of the record that a line begins with; None if it is damaged.

    More than one record stands in a line whose line end was damaged.
    """
    head = _HEAD.match(line)
    content = line[head.end() : head.end() + int(head[2])] if head else b""
    if not head or len(content) < int(head[2]) or _checksum(content) != head[1]:
        return None
    record = json.loads(content)
    return record["key"], head.end() + len(content), record["value"]


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8).hexdigest().encode()


def _begins(start: bytes, expected: bytes) -> bool:
    """Whether a file begins so, or ends before it could."""
    return start[: len(expected)] == expected[: len(start)]


def journal_path(output: str | Path) -> Path:
    return Path(f"{output}.journal")


def output_lock(output: str | Path) -> AbstractContextManager[None]:
    """The lock of a job that writes `output`, with or without a journal."""
    return lock(journal_path(output))


def is_begun(output: str | Path) -> bool:
    """Whether a job that makes `output` was stopped, or runs: its journal holds something."""
    path = journal_path(output)
    return path.is_file() and path.stat().st_size > 0


def work_key(*determinants: Any) -> str:
    """sha256 of everything that determines a piece of work, given as JSON values."""
    return hashlib.sha256(json.dumps(determinants, ensure_ascii=False).encode()).hexdigest()


def note_key(name: str, *determinants: Any) -> str:
    """The key of a note: a decision that a job keeps when it goes on, such as a measured pace."""
    return f"{_NOTE}{name}:{work_key(*determinants)}"
