"""Check that a model's safetensors files are whole, by their headers, without loading them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rrarank.errors import RrarankError
from rrarank.storage.files import read_json

MOST_HEADER = 100_000_000  # bytes, the limit of the format


def verify_weights(folder: Path) -> int:
    """The number of tensors in a folder's safetensors files; 0 if its weights are pickles.

    Raises:
        RrarankError: a file is torn, or a part that an index names is missing.
    """
    for index in folder.rglob("*.safetensors.index.json"):
        if lost := lost_parts(index):
            raise RrarankError(f"{folder}: {index.name} names {lost[0]!r}, which is not there; fetch it again")
    return sum(_tensors(path) for path in folder.rglob("*.safetensors"))


def lost_parts(index: Path) -> list[str]:
    """The parts of the weights that an index names and its folder does not have."""
    found = read_json(index)
    named = found.get("weight_map") if isinstance(found, dict) else None
    parts = {str(part) for part in named.values()} if isinstance(named, dict) else set[str]()
    return sorted(part for part in parts if not (index.parent / part).is_file())


def _tensors(path: Path) -> int:
    """The tensors of a file, whose length its header says (the safetensors format)."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        header = _parsed(file.read(length)) if length <= min(size, MOST_HEADER) else None
    if header is None:
        raise RrarankError(f"{path}: not a whole safetensors file; remove it and fetch it again")
    tensors = [one for name, one in header.items() if name != "__metadata__"]
    ends = 8 + length + max((one["data_offsets"][1] for one in tensors), default=0)
    if size != ends:
        raise RrarankError(f"{path}: {size:,} bytes, its header says {ends:,}; remove it and fetch it again")
    return len(tensors)


def _parsed(text: bytes) -> Mapping[str, Any] | None:
    try:
        header = json.loads(text)
    except ValueError:
        return None
    return header if isinstance(header, dict) else None
