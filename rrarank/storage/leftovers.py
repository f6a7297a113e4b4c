"""Temporary files and folders beside an output: held while they are written, removed once their writer was killed."""

from __future__ import annotations

import glob
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rrarank.errors import RrarankError, say, shown

_NAME = re.compile(r"\.(?P<target>.+)\.[a-z0-9_]{8}\.tmp")  # as tempfile makes it


@contextmanager
def temporary_file(target: Path) -> Iterator[Path]:
    """An empty file beside `target`; deleted when the block ends, unless it was moved."""

    def make() -> Path:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        os.close(handle)
        return Path(name)

    with _held(target, make) as path:
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`; deleted when the block ends. What it holds as `old` is put back as `target` if
    that is gone."""

    def make() -> Path:
        return Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))

    with _held(target, make) as path:
        try:
            yield path
        finally:
            restore(path, target)
            shutil.rmtree(path, ignore_errors=True)


def remove_leftovers(*targets: str | Path) -> None:
    """Remove what killed writers of these files or folders left beside them, and name it."""
    found = [
        (left, target)
        for target in (Path(target).resolve() for target in targets)
        for left in sorted(target.parent.glob(f".{glob.escape(target.name)}.????????.tmp"))
        if is_abandoned(left)
    ]
    if found:
        say(f"removing what a killed job left: {shown(left.name for left, _ in found)}")
    for left, target in found:
        restore(left, target)
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def is_abandoned(path: Path) -> bool:
    """Whether this is a temporary file or folder of ours that no process holds."""
    if not _NAME.fullmatch(path.name) or path.is_symlink():
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        return _lock(descriptor, wait=False)
    finally:
        os.close(descriptor)


def restore(work: Path, target: Path) -> None:
    """Put the old folder back that was moved to `work`, if no new one took its place."""
    if (work / "old").is_dir() and not target.exists():
        os.rename(work / "old", target)


@contextmanager
def _held(target: Path, make: Callable[[], Path]) -> Iterator[Path]:
    """Make a file or folder and hold it, so that no other job takes it for a leftover."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        while True:
            path = make()
            descriptor = os.open(path, os.O_RDONLY)
            _lock(descriptor, wait=True)
            if path.exists():
                break
            os.close(descriptor)  # another job took it for a leftover before it was held
    except OSError as error:
        raise RrarankError(f"{target}: cannot be written ({error.strerror})") from error
    try:
        yield path
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file or folder until it is closed; False if another process holds it or the system cannot tell."""
    if sys.platform == "win32":
        return False
    import fcntl

    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return True
    return False
