"""Folders that appear whole or not at all: written beside, then put in place by a rename."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rrarank.errors import RrarankError
from rrarank.storage.leftovers import remove_leftovers, restore, temporary_folder
from rrarank.storage.locks import lock

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EPERM)  # no such call, or the file system or sandbox lacks it


@contextmanager
def replace_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """An empty folder to fill. It becomes `folder` when the block ends; if the block fails, `folder` stays as it was.

    The lock beside `folder` is held meanwhile, so two jobs cannot write it at once. A job that was killed while it
    exchanged the folders is undone first. Check what `folder` holds inside the block, where nobody else writes it.

    Args:
        overwrite: replace a folder that exists.

    Raises:
        RrarankError: `folder` is a file, exists and may not be replaced, was made by someone else while the block ran,
            cannot be written, or another job is writing it.
    """
    target = folder.resolve()
    with lock(target):
        remove_leftovers(target)
        before = _identity(target)
        if before and not target.is_dir():
            raise RrarankError(f"{folder}: is a file, expected a folder to write")
        if before and not overwrite:
            raise RrarankError(f"{folder}: exists already; give --overwrite to replace it, or another name")
        with temporary_folder(target) as work:
            new = work / "new"
            new.mkdir()
            yield new
            _sync(new, folder)
            if _identity(target) != before:
                raise RrarankError(f"{folder}: was made by someone else meanwhile and is kept; give another name")
            _put_in_place(new, target, work / "old")


def _put_in_place(new: Path, target: Path, old: Path) -> None:
    """Exchange the two at once where the system can; else move the old one to `old` first."""
    if not target.exists():
        os.rename(new, target)
    elif not _exchange(new, target):
        try:
            os.rename(target, old)
            os.rename(new, target)
        except BaseException:
            restore(old.parent, target)
            raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False if this system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells one folder from another of the same name."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _sync(new: Path, folder: Path) -> None:
    """Have the disk hold every file before the folder appears."""
    for path in [*new.rglob("*"), new]:
        if path.is_symlink():
            continue
        try:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise RrarankError(f"{folder / path.relative_to(new)}: cannot be written ({error.strerror})") from error
