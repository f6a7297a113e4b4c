"""Packed files are read as what they hold: gzip, bzip2, xz and zstd, known by suffix or by their first bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from types import ModuleType
from typing import IO, cast

PACKED = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
"""Suffix -> the program that packs and unpacks."""
_FIRST_BYTES = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\x00": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}


def packing(path: str | Path) -> str:
    """The suffix that says how the file is packed; empty if none does."""
    suffix = Path(path).suffix
    return suffix if suffix in PACKED else ""


def unpacked(path: str | Path) -> str:
    """The path without the suffix of its packing: `topics.tsv.gz` -> `topics.tsv`."""
    return str(path).removesuffix(packing(path))


def is_stream(path: str | Path) -> bool:
    """Whether the path can be read only once: a pipe such as `<(zstdcat run.zst)` or `/dev/stdin`, a terminal."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


@contextmanager
def open_unpacked(path: str | Path | int) -> Iterator[IO[bytes]]:
    """The bytes of a file (a path, or the descriptor of an open file) without their packing."""
    with open(path, "rb") as file:
        suffix = _packing_of(file, path)
        if not suffix:
            yield file
            return
        with cast(IO[bytes], _library(suffix).open(file, "rb")) as content:
            yield content


def is_packed(path: str | Path) -> bool:
    with open(path, "rb") as file:
        return bool(_packing_of(file, path))


def _packing_of(file: BufferedReader, path: str | Path | int) -> str:
    suffix = packing(path) if not isinstance(path, int) else ""
    head = file.peek(6)
    return suffix or next((name for first, name in _FIRST_BYTES.items() if head.startswith(first)), "")


def faults(path: str | Path) -> tuple[type[Exception], ...]:
    """The errors of a stream that is broken or breaks off."""
    known: tuple[type[Exception], ...] = (EOFError, zlib.error, lzma.LZMAError)
    return (*known, _library(".zst").ZstdError) if ".zst" in (packing(path), "") else known


def _library(suffix: str) -> ModuleType:
    if suffix != ".zst":
        return {".gz": gzip, ".bz2": bz2, ".xz": lzma}[suffix]
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
