"""The log of queries and events: lines that are on disk before they are acknowledged, in files that are never reopened.

Each process writes files of its own, a new one each day and beyond a size. One thread writes what has come together,
and calls fsync once for all of it.
"""

from __future__ import annotations

import os
import queue
import secrets
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

from rrarank.data.ubi import Entry, LoggedQuery, line_of
from rrarank.data.ubi_files import EVENTS, QUERIES
from rrarank.errors import RrarankError

MODE = 0o600  # what users did is nobody else's
KEY, KEY_BYTES = ".query-key", 32


class EventLog:
    """
    Args:
        folder: is made if it is not there.
        most_bytes: of a file; the next line begins a new one.
        fsync: what is acknowledged survives the machine's crash, not only that of the process.

    Raises:
        RrarankError: the folder cannot be written, or its key is no key.
    """

    def __init__(self, folder: Path, most_bytes: int, fsync: bool = True) -> None:
        self._files = {name: _Lines(folder, name, most_bytes, fsync) for name in (QUERIES, EVENTS)}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._key = _key(folder)
        except OSError as error:
            raise RrarankError(f"--log {folder}: cannot be written ({error.strerror})") from None
        self._waiting: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="rrarank-log", daemon=True)
        self._thread.start()

    def add(self, entries: Sequence[Entry]) -> Future[None]:
        """Write the entries, all queries or all events. When it is done, they are on disk; an OSError says why not."""
        name = QUERIES if entries and isinstance(entries[0], LoggedQuery) else EVENTS
        write = _Write(name, "".join(f"{line_of(one)}\n" for one in entries).encode(), Future())
        self._waiting.put(write)
        return write.done

    def name_of(self, query: str) -> str:
        """The same for the same query in this log, and for those without the log's key no way back to the text."""
        plain = " ".join(query.lower().split()).encode("utf-8", "surrogatepass")
        return blake2b(plain, key=self._key, digest_size=8).hexdigest()

    def close(self) -> None:
        """Write what is waiting."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        for writes in self._together():
            for name, file in self._files.items():
                _write(file, [one for one in writes if one.name == name])
        for file in self._files.values():
            file.close()

    def _together(self) -> Iterator[list[_Write]]:
        """What has come since the last time, at least one; ends at None."""
        while (first := self._waiting.get()) is not None:
            writes = [first]
            with suppress(queue.Empty):
                while (more := self._waiting.get_nowait()) is not None:
                    writes.append(more)
                yield writes
                return
            yield writes


@dataclass(frozen=True)
class _Write:
    name: str
    content: bytes
    done: Future[None]


def _write(file: _Lines, writes: Sequence[_Write]) -> None:
    writes = [one for one in writes if one.done.set_running_or_notify_cancel()]
    if not writes:
        return
    try:
        file.add(b"".join(one.content for one in writes))
    except Exception as error:  # a client waits for it
        for one in writes:
            one.done.set_exception(error)
        return
    for one in writes:
        one.done.set_result(None)


class _Lines:
    """The files of one kind, one of which is open."""

    def __init__(self, folder: Path, name: str, most_bytes: int, fsync: bool) -> None:
        self._folder, self._name, self._most, self._fsync = folder, name, most_bytes, fsync
        self._file, self._size, self._day = -1, 0, ""

    def add(self, content: bytes) -> None:
        """Append whole lines, or none of them."""
        now = utc_now()
        if self._size >= self._most or self._day != f"{now:%Y%m%d}" or self._is_gone():
            self._open(now)
        try:
            _write_all(self._file, content)
            if self._fsync:
                os.fsync(self._file)
        except OSError:
            self._undo()
            raise
        self._size += len(content)

    def _is_gone(self) -> bool:
        """Whether no file is open, or somebody deleted it: what is written to it then would be lost."""
        return self._file < 0 or os.fstat(self._file).st_nlink == 0

    def _open(self, now: datetime) -> None:
        self.close()
        path = self._folder / f"{self._name}.{now:%Y%m%dT%H%M%S%f}.{os.getpid()}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, MODE)
        self._size, self._day = 0, f"{now:%Y%m%d}"
        if self._fsync:
            _sync_folder(self._folder)

    def _undo(self) -> None:
        """After a failed write the next line begins on a line of its own."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self.close()

    def close(self) -> None:
        if self._file >= 0:
            with suppress(OSError):
                os.close(self._file)
        self._file = -1


def utc_now() -> datetime:
    return datetime.now(UTC)


def _write_all(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]


def _sync_folder(folder: Path) -> None:
    """Else a crash could lose the name of a file whose lines are on disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _key(folder: Path) -> bytes:
    """The log's own secret, made by the first process that writes to it. It appears whole, and is the same for all."""
    path = folder / KEY
    if not path.exists():
        _make_key(path)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise RrarankError(
            f"{path}: {len(key):,} bytes, expected {KEY_BYTES}; delete it, and from then on queries have other names"
        )
    return key


def _make_key(path: Path) -> None:
    """Another process that makes one meanwhile comes first or second; both then read the first one's."""
    temporary = path.with_name(f"{KEY}.{secrets.token_hex(8)}.tmp")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    try:
        _write_all(file, secrets.token_bytes(KEY_BYTES))
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            temporary.replace(path)
    finally:
        os.close(file)
        temporary.unlink(missing_ok=True)
