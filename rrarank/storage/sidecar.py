"""The sidecar `<output>.json`: what made an output and from what, checked by sha256.

It is written last, so its presence means that the output is whole. Its paths are relative to it; it names no host or
user.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from rrarank.errors import RrarankError
from rrarank.storage.files import atomic_write, is_file, read_text, sha256
from rrarank.storage.journal import is_begun, work_key
from rrarank.storage.packed import PACKED, is_stream, packing

FORMAT = "rrarank.sidecar/1"
MOST_CHARACTERS = 2**26
DENSE_MANIFEST = "dense.json"  # in the folder of a dense index: names its files by their sha256
_NO_INDEX = f"no segments file, no {DENSE_MANIFEST}"
_FILES = ("run", "collection", "requests")  # inputs that are never an id
_VERSIONS = ("rrarank", "pyserini", "torch", "transformers", "sentence-transformers", "ir_datasets", "numpy")


@dataclass(frozen=True)
class Sidecar:
    path: Path
    content: Mapping[str, Any]

    def input(self, name: str) -> str | Path | None:
        """An input: a path that still holds the same bytes, or the id of a data set; None if there is none any more.

        Raises:
            RrarankError: the file has changed since, or is none that a sidecar of ours would name.
        """
        entry = self.content["inputs"].get(name)
        if entry is None:
            return None
        if "id" in entry:
            if name in _FILES:
                raise RrarankError(f"{self.path}: its {name} is an id, expected a file; give {_flags(name)} yourself")
            return RecordedId(entry["id"])
        path = Path(os.path.normpath(self.path.parent.resolve() / entry["path"]))
        if not path.exists():
            return None
        if Path(entry["path"]).is_absolute() or not (path.is_file() or path.is_dir()) or _is_of_the_system(path):
            raise RrarankError(
                f"{self.path} names {entry['path']!r}, which is no data file; give {_flags(name)} yourself"
            )
        if not self.path.is_absolute():
            path = Path(os.path.relpath(path))  # as the user would type it
        if fingerprint(path) != entry["sha256"]:
            named = f"{path} is not the file that {self.path} names (sha256 differs)"
            raise RrarankError(f"{named}; give {_flags(name)} yourself")
        return path

    def recorded(self, name: str) -> str:
        entry = self.content["inputs"].get(name) or {}
        return str(entry.get("id") or entry.get("path") or "")


class RecordedId(str):
    """The id of a data set as a sidecar names it: no user typed it, so nothing is downloaded for it."""

    __slots__ = ()


def _flags(name: str) -> str:
    return "--topics and --collection" if name == "requests" else f"--{name}"


def _is_of_the_system(path: Path) -> bool:
    """Whether it is a pseudo-file such as /proc/kcore, which looks like a file and may have no end."""
    return path.resolve().parts[1:2] in (("proc",), ("sys",))


def sidecar_path(output: str | Path) -> Path:
    return Path(f"{output}.json")


def read_sidecar(output: Path) -> Sidecar | None:
    """The sidecar of `output`, if it has one.

    Raises:
        RrarankError: it is not a sidecar of rrarank, or the output has changed since.
    """
    path = sidecar_path(output)
    if not path.is_file():
        return None
    try:
        content = json.loads(read_text(path, MOST_CHARACTERS))
        known, recorded = content["format"] == FORMAT, content["output"]["sha256"]
        named = [
            [entry["id"]] if "id" in entry else [entry["path"], entry["sha256"]] for entry in content["inputs"].values()
        ]
        whole = all(isinstance(part, str) for parts in named for part in parts)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise RrarankError(f"{path}: not a sidecar of rrarank; move it away, then give --topics and texts")
    if not known:
        raise RrarankError(f"{path}: format {content['format']!r}, this version reads {FORMAT!r}; update rrarank")
    if recorded != fingerprint(output):
        raise RrarankError(f"{output} is not what {path} describes (sha256 differs); remake it, or remove the sidecar")
    return Sidecar(path, content)


def check_output(output: str | Path, overwrite: bool, inputs: Iterable[object], *, packed: bool = False) -> None:
    """Refuse an output that exists (unless `overwrite`), that is one of its own inputs or another file's sidecar, or
    whose sidecar would replace a file that is not a sidecar.

    Args:
        packed: whether a name that ends in `.gz` is allowed, because the output will be gzipped.
    """
    suffix = packing(output)
    if suffix and not (packed and suffix == ".gz"):
        todo = f"leave {suffix} out, and {PACKED[suffix]} the file afterwards"
        raise RrarankError(f"{output}: outputs are not packed; {todo}")
    if not is_file(output):
        return
    path, beside = Path(output), sidecar_path(output)
    if path.is_dir():
        raise RrarankError(f"{output}: is a folder, expected a file to write")
    if path.suffix == ".json" and _is_described(path.with_suffix("")):
        raise RrarankError(f"{output}: is the place of the sidecar of {path.with_suffix('')}; give another --output")
    if path.is_file() and not overwrite:
        raise RrarankError(f"{output}: exists already; give --overwrite to replace it, or another --output")
    used = {thing.resolve() for thing in inputs if isinstance(thing, Path)}
    if taken := used & {path.resolve(), beside.resolve()}:
        raise RrarankError(f"{output}: would replace the input {taken.pop()}; give another --output")
    if beside.exists() and not _is_ours(beside):
        raise RrarankError(f"{beside}: exists and is not a sidecar; {output} needs this name; give another --output")


def is_unfinished(output: str | Path) -> bool:
    """Whether a job was stopped before it wrote the sidecar of its output."""
    return is_begun(output) and not sidecar_path(output).is_file()


def _is_described(path: Path) -> bool:
    """Whether a sidecar of it would make sense: it is a file or an index."""
    return path.is_file() or bool(_naming(path))


def _is_ours(path: Path) -> bool:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["format"]).startswith("rrarank.sidecar/")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def write_sidecar(output: Path, made: Path | None = None, /, *, inputs: Mapping[str, str | Path], **facts: Any) -> None:
    """Write the sidecar of `output`: its inputs (a Path is hashed, a str is an id), versions, and the given facts.

    Args:
        made: where the output lies while it is not yet at its place.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "output": {"path": output.name, "sha256": fingerprint(made or output)},
        "inputs": {name: _entry(thing, output.parent) for name, thing in inputs.items() if not _is_gone(thing)},
        **facts,
        "versions": {"python": platform.python_version(), **versions()},
    }
    with atomic_write(sidecar_path(output)) as file:
        file.write(_as_json(content) + "\n")


def _as_json(content: Mapping[str, Any]) -> str:
    """JSON as UTF-8 can hold it: a file name that is not UTF-8 is escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return json.dumps(content, indent=2) if re.search("[\ud800-\udfff]", text) else text


def _is_gone(thing: str | Path) -> bool:
    """A pipe leaves nothing that could be read again."""
    return isinstance(thing, Path) and is_stream(thing)


def _entry(thing: str | Path, folder: Path) -> dict[str, str]:
    if isinstance(thing, str):
        return {"id": thing}
    relative = Path(os.path.relpath(thing.resolve(), folder.resolve())).as_posix()
    return {"path": relative, "sha256": fingerprint(thing)}


def fingerprint(path: Path) -> str:
    """sha256 of a file; of an index the file that names all others: a Lucene index's `segments_N` (by random ids), a
    dense index's manifest (by their sha256); of another folder the names and contents of its files."""
    if not path.exists():
        raise RrarankError(f"{path}: no such file or folder")
    if is_stream(path):
        return f"pipe {path}"  # reading it would empty it
    if not path.is_dir():
        return sha256(path)
    if naming := _naming(path):
        return sha256(naming[-1])
    files = sorted(file for file in path.rglob("[!.]*") if file.is_file())
    if not files:
        raise RrarankError(f"{path}: a folder, but no index ({_NO_INDEX}), and without files")
    return work_key("files", [[file.relative_to(path).as_posix(), sha256(file)] for file in files])


def check_index(path: Path) -> None:
    """Refuse what does not exist, and a folder that is no index."""
    if not path.exists():
        raise RrarankError(f"{path}: no such file or folder")
    if path.is_dir() and not _naming(path):
        raise RrarankError(f"{path}: a folder, but no index ({_NO_INDEX})")


def _naming(path: Path) -> list[Path]:
    """The files that name all others of an index; none for another folder."""
    return sorted([*path.glob("segments_*"), *path.glob(DENSE_MANIFEST)])


@cache
def versions() -> Mapping[str, str]:
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
