"""An append-only record of finished work: what makes a long job resumable.

One JSON line a piece of work, keyed by a hash of everything that determines its result; appended and fsynced. A line
torn by a crash is dropped. Work whose key is not found is simply done again, so a changed input can never be mixed up.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from rrarank.errors import RrarankError
from rrarank.storage.locks import lock

_START = b'{"key": "'
_NOTE = "note:"


class Journal:
    """key -> value on disk; only the places of the values are held in memory. One job at a time holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
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
        """Find the records; what follows the last whole one was torn by a crash, and is dropped."""
        place = 0
        self._file.seek(0)
        for line in self._file:
            if place == 0 and not line.startswith(_START[: len(line)]):
                raise RrarankError(f"{self.path}: in the way, and not a journal; move it, or give another --output")
            key = _key(line)
            if key is None:
                break
            self._places[key] = place
            place += len(line)
        self._file.truncate(place)

    def __len__(self) -> int:
        """Finished pieces of work; notes are none."""
        return sum(not key.startswith(_NOTE) for key in self._places)

    @property
    def is_empty(self) -> bool:
        """Without a note, too."""
        return not self._places

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __getitem__(self, key: str) -> Any:
        self._used.add(key)
        self._file.seek(self._places[key])
        record = json.loads(self._file.readline())
        if record["key"] != key:
            raise RrarankError(f"{self.path}: changed while it was in use; does another job write the same output?")
        return record["value"]

    def add(self, key: str, value: Any) -> None:
        """Append and fsync: once this returns, the value survives a crash.

        Raises:
            RrarankError: the disk is full, or away; what was there before is kept.
        """
        place = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(json.dumps({"key": key, "value": value}, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            todo = "make room on its disk; the same command goes on from what is there"
            raise RrarankError(f"{self.path}: cannot be written ({error.strerror}); {todo}") from error
        self._places[key] = place
        self._used.add(key)

    def close(self) -> None:
        with suppress(OSError):  # of a full disk: what is not on it by now was never promised
            self._held.close()

    def remove(self) -> None:
        """The job is done and its output is whole."""
        if not self._file.closed:  # else it may be another job's by now
            self.path.unlink(missing_ok=True)
        self.close()

    def remove_used(self) -> int:
        """The same, unless it holds records that this job did not read or write: another job's. Returns how many."""
        others = len(self._places) - len(self._used)
        self.close() if others else self.remove()
        return others

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _key(line: bytes) -> str | None:
    try:
        record = json.loads(line) if line.endswith(b"\n") else {}
    except ValueError:
        return None
    key = record.get("key") if isinstance(record, dict) else None
    return key if isinstance(key, str) else None


def journal_path(output: str | Path) -> Path:
    return Path(f"{output}.journal")


def is_begun(output: str | Path) -> bool:
    """Whether its journal holds something: a job was stopped, or runs."""
    path = journal_path(output)
    return path.is_file() and path.stat().st_size > 0


def work_key(*determinants: Any) -> str:
    """sha256 of all that determines a piece of work, given as JSON values."""
    return hashlib.sha256(json.dumps(determinants, ensure_ascii=False).encode()).hexdigest()


def note_key(name: str, *determinants: Any) -> str:
    """The key of what a job settled on the way and keeps when it goes on: a choice, a measured pace."""
    return f"{_NOTE}{name}:{work_key(*determinants)}"
