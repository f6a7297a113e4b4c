"""Representations of documents on disk, so that a document is encoded once per model.

A folder per model and setting holds segments: safetensors files that are named by the sha256 of their content, appear
whole and never change. They are memory-mapped, and compared with their names when they are first used. A job that was
stopped goes on with what its finished blocks left, and several jobs can share the folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rrarank.errors import RrarankError
from rrarank.storage.files import atomic_write, atomic_write_bytes, sha256

if TYPE_CHECKING:
    import numpy as np

FORMAT = "rrarank.documents/1"
_DIGESTS, _ENDS = "sha256", "ends"  # (documents, 32) of their texts; (documents,) where each one's rows end

_DTYPES = {"F32": "float32", "I32": "int32", "I64": "int64"}
Entry = Mapping[str, "np.ndarray"]
"""Arrays of one document, all of the same length."""


class DocumentCache:
    """The representations that one model makes of texts.

    Args:
        folder: of all models; each has a folder of its own in it.
        identity: what determines a representation: the model's fingerprint, prompts, lengths, precision.

    Raises:
        RrarankError: a segment is broken, or the folder cannot be written to.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        about = json.dumps({"format": FORMAT, **identity}, sort_keys=True, indent=2)
        self.folder = Path(folder).expanduser() / hashlib.sha256(about.encode()).hexdigest()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RrarankError(
                f"cache={folder}: {error.strerror}; give a folder that you can write to, or leave cache out"
            ) from error
        if not (self.folder / "about.json").is_file():
            with atomic_write(self.folder / "about.json") as file:
                file.write(f"{about}\n")
        self._places: dict[bytes, tuple[_Segment, int, int]] = {}  # sha256 of a text -> segment, first row, end
        for path in sorted(self.folder.glob("*.safetensors")):
            self._open(path)

    def __len__(self) -> int:
        return len(self._places)

    def entries(self, texts: Sequence[str], encode: Callable[[Sequence[str]], Sequence[Entry]]) -> list[Entry]:
        """Each text's entry. Those that are not there are encoded together and kept."""
        digests = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        new = {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in self._places}
        made = dict(zip(new, encode(list(new.values())), strict=True)) if new else {}
        if made:
            self._add(made)
        return [made.get(digest) or self._read(digest) for digest in digests]

    def _read(self, digest: bytes) -> Entry:
        segment, start, end = self._places[digest]
        segment.verify()
        return {name: _slice(array, start, end) for name, array in segment.arrays.items()}

    def _add(self, made: Mapping[bytes, Entry]) -> None:
        import numpy as np
        from safetensors.numpy import save

        entries = list(made.values())
        arrays = {name: np.concatenate([entry[name] for entry in entries]) for name in entries[0]}
        lengths = [len(next(iter(entry.values()))) for entry in entries]
        arrays[_DIGESTS] = np.frombuffer(b"".join(made), dtype=np.uint8).reshape(len(made), 32)
        arrays[_ENDS] = np.cumsum(lengths, dtype=np.int64)
        content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        path = self.folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
        atomic_write_bytes(path, content)
        self._open(path)

    def _open(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            file: Any = safe_open(path, "np")  # safetensors is untyped
            names = (name for name in file.keys() if name not in (_DIGESTS, _ENDS))  # noqa: SIM118
            segment = _Segment(path, {name: file.get_slice(name) for name in names})
            rows = list(zip(file.get_tensor(_DIGESTS), _rows(file.get_tensor(_ENDS)), strict=True))
        except (SafetensorError, OSError, ValueError, TypeError) as error:  # the last two: other shapes
            raise _broken(path, error) from error
        for digest, (start, end) in rows:
            self._places[digest.tobytes()] = (segment, start, end)


@dataclass
class _Segment:
    path: Path
    arrays: Mapping[str, Any]  # safetensors' slices, whose file stays mapped for as long as they live
    is_verified: bool = False

    def verify(self) -> None:
        """Compare the content with its sha256 at the first call: a flipped bit would change scores unseen."""
        if not self.is_verified:
            if sha256(self.path) != self.path.stem:
                raise _broken(self.path, "its content is not what its name says")
            self.is_verified = True


def _broken(path: Path, why: object) -> RrarankError:
    return RrarankError(f"{path}: a broken segment ({why}); remove it, its documents are encoded again")


def _slice(array: Any, start: int, end: int) -> np.ndarray:  # a slice of safetensors', which takes no empty range
    import numpy as np

    if start == end:
        return np.empty((0, *array.get_shape()[1:]), _DTYPES[array.get_dtype()])
    return array[start:end]  # type: ignore[no-any-return]


def _rows(ends: np.ndarray) -> Iterator[tuple[int, int]]:
    start = 0
    for end in ends.tolist():
        yield start, end
        start = end
