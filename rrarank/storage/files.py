"""Files as users name them: bare names, packed files, pipes, stdin; written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TextIO

from rrarank.errors import RrarankError, say
from rrarank.storage.kinds import check_text, not_utf8
from rrarank.storage.leftovers import temporary_file
from rrarank.storage.packed import PACKED, faults, is_stream, open_unpacked, packing, unpacked

STDIO = "-"
MOST_BYTES = 2**26  # of a line: a small packed file can hold a line of any length
MOST_CHARACTERS = 2**29  # of content that is held whole
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The system's errors when there is no room for a file."""


def find(name: str | Path, folder: str = "") -> Path:
    """The file a user means: as given; a bare name also in `./<folder>/`, then in the package's own `<folder>`.

    Args:
        folder: `runs` or `qrels`; empty to look only for the path as given.
    """
    places = [Path(name)]
    if bare := bool(folder) and Path(name).name == str(name):
        places += [Path(folder, name), Path(str(resources.files(f"rrarank.{folder}")), name)]
    for place in places:
        if place.is_file() or is_stream(place):
            if bare and place is places[-1]:
                say(f"{name}: not in ./ or ./{folder}/; using the sample that ships with rrarank")
            return place
    if places[0].is_dir():
        raise RrarankError(f"{name}: is a folder, expected a file")
    looked = f" (looked in ./, ./{folder}/ and the package)" if bare else ""
    raise RrarankError(f"{name}: no such file{looked}")


def read_lines(path: str | Path) -> Iterator[str]:
    """The lines of a UTF-8 file, plain or packed, or of stdin for `-`; a byte order mark is dropped.

    Raises:
        RrarankError: the file is absent, not UTF-8, or its packed stream is broken.
    """
    number = 0
    try:
        with open_unpacked(_stdin() if str(path) == STDIO else path) as file:
            for number, line in enumerate(iter(partial(file.readline, MOST_BYTES + 1), b""), start=1):
                if len(line) > MOST_BYTES:
                    raise RrarankError(f"{path}:{number}: a line of over {MOST_BYTES:,} bytes; is the file broken?")
                if number == 1:
                    check_text(line, path)
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(error.object, error.start, number, path) from error
    except faults(path) as error:
        stream = f"the {PACKED.get(packing(path), 'packed')} stream"
        raise RrarankError(f"{path}: {stream} breaks off after line {number}; copy the file again") from error
    except OSError as error:
        raise RrarankError(f"{path}: cannot be read ({error.strerror or error})") from error


def _stdin() -> int:
    if sys.stdin is None:
        raise RrarankError("standard input is closed; give a file instead of -")
    return os.dup(sys.stdin.fileno())


def read_text(path: str | Path, most: int = MOST_CHARACTERS) -> str:
    """The whole content of a file, as `read_lines` reads it, of at most so many characters."""
    return join_lines(read_lines(path), path, most)


def join_lines(lines: Iterable[str], path: str | Path, most: int = MOST_CHARACTERS) -> str:
    """The lines as one string; more than `most` characters are refused, as a small packed file can hold any number."""
    kept, left = [], most
    for line in lines:
        kept.append(line)
        left -= len(line)
        if left < 0:
            raise RrarankError(f"{path}: more than {most:,} characters; split it, or give another file")
    return "".join(kept)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[TextIO]:
    """A text file that appears at `path` whole, on leaving the block, or not at all; `-` is stdout."""
    if str(path) == STDIO:
        if sys.stdout is None:
            raise RrarankError("standard output is closed; give --output FILE")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors=sys.stdout.errors)  # as in files
        yield sys.stdout
        sys.stdout.flush()
        return
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        if target.is_dir():
            raise RrarankError(f"{path}: is a folder, expected a file to write")
        with open(target, "w", encoding="utf-8") as device:  # /dev/null, a named pipe
            yield device
        return
    with temporary_file(target) as temporary:
        try:
            # A name that is not UTF-8, such as a system's in a table, is written as the file system has it.
            with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                yield file
                _sync(file, path)
            os.chmod(temporary, default_mode())
            os.replace(temporary, target)
        except OSError as error:
            if error.errno in FULL and not error.filename:
                error.filename = str(path)
            raise


def _sync(file: TextIO, path: str | Path) -> None:
    """Have the disk hold the file; an error names it."""
    try:
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(path)
        raise


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Write a binary file such as a picture, whole or not at all."""
    with atomic_write(path) as file:
        file.buffer.write(content)


def default_mode() -> int:
    """The usual permissions of a new file; those of temporary files are narrower."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def sha256(path: str | Path) -> str:
    """The sha256 of a file.

    Raises:
        RrarankError: it is a pipe or a device, which may have no end.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise RrarankError(f"{path}: is a pipe or a device, expected a file")
        return hashlib.file_digest(file, "sha256").hexdigest()


def in_background(digest: Callable[[Path], str], path: Path) -> Future[str]:
    """A digest of large files, computed beside the loading of what they hold."""
    worker = ThreadPoolExecutor(1)
    found = worker.submit(digest, path)
    worker.shutdown(wait=False)
    return found


_NONBLOCK = getattr(os, "O_NONBLOCK", 0)  # opening a pipe would wait for its writer


def stem(path: str | Path) -> str:
    """`runs/bm25.trec.gz` -> `bm25`: a run's name in tables."""
    name = unpacked(Path(path).name)
    for suffix in (".trec", ".txt", ".tsv", ".run", ".jsonl", ".json"):
        name = name.removesuffix(suffix)
    return "stdin" if name == STDIO else name or "run"


def output_stem(path: str | Path) -> str:
    """The `stem` of an input, for the name of an output.

    Raises:
        RrarankError: it is a pipe such as `<(zcat run.gz)`, whose name is only a number.
    """
    if Path(path).name.isdecimal() and is_stream(path):
        raise RrarankError(f"{path}: a pipe, after which no output can be named; give --output FILE")
    return stem(path)


def check_suffix(output: str | Path, known: Sequence[str], *, required: bool = False) -> None:
    """Refuse an output whose suffix names a format that is not written.

    Args:
        required: also refuse a file without a suffix; else that is no such name.
    """
    suffix = Path(output).suffix
    if required and not suffix and is_file(output):
        raise RrarankError(f"{output}: no suffix, which chooses the format (known: {' '.join(known)})")
    if suffix and suffix not in known:
        raise RrarankError(f"{output}: unknown suffix {suffix!r} (known: {' '.join(known)})")


def is_file(output: str | Path) -> bool:
    """Whether writing to `output` makes a file that stays, unlike stdout, /dev/null and a named pipe."""
    return str(output) != STDIO and (Path(output).is_file() or not Path(output).exists() or Path(output).is_dir())


def read_json(path: Path) -> Any:  # any JSON value
    """A file's content; None if there is no such file or it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
