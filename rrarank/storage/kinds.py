"""What a file is that is no UTF-8 text, by its first bytes, and the command that makes text of it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from rrarank.errors import RrarankError
from rrarank.storage.packed import PACKED, is_stream, packing, unpacked

_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_UNMARKED = {  # a file of ours begins with an ASCII character: an id, a bracket
    rb"[\t -~]\0\0\0": "UTF-32LE",
    rb"\0\0\0[\t -~]": "UTF-32BE",
    rb"[\t -~]\0": "UTF-16LE",
    rb"\0[\t -~]": "UTF-16BE",
}
_UNPACK = "unpack it and give a file of it"
_AS_LINES = 'write its texts as JSON lines, {"id": …, "contents": …}'
_OTHERS = (  # first bytes, what it is, what to do; {} is the file
    (b"PK\x03\x04", "a zip archive", f"{_UNPACK}: python -m zipfile -e {{}} ."),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a rar archive", _UNPACK),
    (b"\x04\x22\x4d\x18", "packed by lz4", "unpack it"),
    (b"\x1f\x9d", "packed by compress", "unpack it"),
    (b"\x5d\0\0", "packed by lzma", "unpack it"),
    (b"PAR1\x15", "a Parquet file", _AS_LINES),
    (b"ARROW1\0\0", "an Arrow file", _AS_LINES),
    (b"SQLite format 3\0", "an SQLite database", _AS_LINES),
    (b"\x89HDF", "an HDF5 file", _AS_LINES),
    (b"\x93NUMPY", "a NumPy array", _AS_LINES),
    (b"%PDF-", "a PDF", _AS_LINES),
    (b"\xd0\xcf\x11\xe0", "an old Microsoft Office file", _AS_LINES),
    (b"\x89PNG", "a picture", "give a text file"),
    (b"\xff\xd8\xff", "a picture", "give a text file"),
    (b"\x7fELF", "a program", "give a text file"),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_TAR = slice(257, 262)  # where a tar archive says `ustar`


def check_text(first: bytes, path: str | Path) -> None:
    """Refuse a file that is another encoding, an archive or a binary format.

    Args:
        first: its first line, without its packing.
    """
    given = shlex.quote(str(path))
    for start, what, todo in _OTHERS:
        if first.startswith(start):
            raise RrarankError(f"{path}: {what}, expected text; {todo.replace('{}', given)}")
    marked = next((name for mark, name in _MARKS.items() if first.startswith(mark)), "")
    if encoding := marked or next((name for form, name in _UNMARKED.items() if re.match(form, first)), ""):
        raise RrarankError(f"{path}: {encoding}, expected UTF-8; {iconv(path, encoding)}")
    if first[_TAR] == b"ustar":
        raise RrarankError(f"{path}: a tar archive, expected text; {_UNPACK}: python -m tarfile -e {given}")
    if _PICKLE.match(first):
        raise RrarankError(f"{path}: a pickle, expected text; {_AS_LINES}")


_CONTROLS = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")  # which no text holds, in any encoding of bytes


def not_utf8(line: bytes, place: int, number: int, path: str | Path) -> RrarankError:
    """The error of a line whose byte at `place` is not UTF-8; no encoding is guessed of what is no text."""
    seen = f"{path}:{number}: not UTF-8 (byte 0x{line[place]:02x})"
    if _CONTROLS.search(line):
        return RrarankError(f"{seen}, and not text of another encoding either; give a text file, unpacked")
    return RrarankError(f"{seen}; convert it from its encoding; if that is Latin-1, {iconv(path, 'LATIN1')}")


def iconv(path: str | Path, encoding: str) -> str:
    """The command that converts a file to UTF-8, to be typed as it is."""
    command = f"iconv -f {encoding} -t UTF-8"
    if str(path) == "-" or is_stream(path):
        return f"pipe it through: {command}"
    made = shlex.quote(str(Path(path).with_name(f"utf8-{Path(unpacked(path)).name}")))
    if suffix := packing(path):
        return f"type: {PACKED[suffix]} -dc {shlex.quote(str(path))} | {command} > {made}"
    return f"type: {command} {shlex.quote(str(path))} > {made}"
