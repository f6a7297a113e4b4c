"""The folder whose files an agent may name: no path leads out of it, by `..`, as an absolute path, or by a link."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from rrarank.errors import RrarankError
from rrarank.storage.packed import faults, is_packed, open_unpacked
from rrarank.storage.sidecar import sidecar_path

MOST_BYTES = 2**28  # of a file, packed or not


@dataclass(frozen=True)
class Folder:
    """A folder on disk, its links resolved."""

    root: Path

    @classmethod
    def of(cls, path: str | Path) -> Folder:
        if not Path(path).is_dir():
            raise RrarankError(f"--folder {path}: no such folder; give the one whose files the tools may read")
        return cls(Path(path).resolve())

    def file(self, name: str) -> Path:
        """A regular file of the folder.

        Raises:
            RrarankError: there is none of that name, it lies elsewhere, or it is too large.
        """
        path = self._inside(name)
        if not os.path.isfile(path):  # Path.is_file raises for a name that is too long
            raise RrarankError(f"{name}: no such file in the folder")
        if path.stat().st_size > MOST_BYTES:
            raise RrarankError(f"{name}: {path.stat().st_size:,} bytes, expected at most {MOST_BYTES:,}")
        if is_packed(path) and _unpacks_beyond(path, MOST_BYTES):
            raise RrarankError(f"{name}: over {MOST_BYTES:,} bytes when unpacked; give a smaller file")
        return path

    def index(self, name: str) -> Path:
        """An index in the folder: none of its files lies elsewhere, nor does its sidecar.

        Raises:
            RrarankError: there is none of that name, or a part of it lies elsewhere.
        """
        path = self._inside(name)
        if not os.path.isdir(path):
            raise RrarankError(f"{name}: no such index in the folder")
        if path == self.root:
            raise RrarankError(f"{name}: the whole folder, expected an index in it")
        for part in (sidecar_path(path), *path.rglob("*")):
            self._check_inside(Path(os.path.realpath(part)), name)
        return path

    def without_root(self, message: str) -> str:
        """A message that does not say where the folder lies."""
        return re.sub(rf"{re.escape(str(self.root))}/?", "", message)

    def _inside(self, name: str) -> Path:
        try:
            path = os.path.realpath(self.root / name)  # Path.resolve raises for a loop of links
        except ValueError as error:
            raise RrarankError(f"{name!r}: a NUL character, which no file name has") from error
        return self._check_inside(Path(path), name)

    def _check_inside(self, path: Path, name: str) -> Path:
        if not path.is_relative_to(self.root):
            raise RrarankError(f"{name}: lies outside the folder that the tools may read")
        return path


def _unpacks_beyond(path: Path, most: int) -> bool:
    """A broken stream does not: its reader says where it breaks off."""
    size = 0
    broken: tuple[type[Exception], ...] = (OSError, *faults(path))
    try:
        with open_unpacked(path) as file:
            while size <= most and (chunk := file.read(2**20)):
                size += len(chunk)
    except broken:
        return False
    return size > most
