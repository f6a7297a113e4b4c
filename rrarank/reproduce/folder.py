"""The folder of a table: made by us, so that nothing in it belongs to someone else."""

from __future__ import annotations

import json
from pathlib import Path

from rrarank.errors import RrarankError
from rrarank.storage.files import atomic_write

MARK = "reproduce.json"  # says that the folder around it is a table's
FORMAT = "rrarank.table-folder/1"


def own_folder(output: str | Path, table: str | Path) -> Path:
    """`output`, if it is new, empty or a table's already; else a folder named after the table inside it.

    Raises:
        RrarankError: that folder holds something else too, or `output` is a file.
    """
    folder = Path(output)
    inside = folder / Path(table).name.removesuffix(".yaml")
    for place in (folder, inside):
        if place.exists() and not place.is_dir():
            raise RrarankError(f"{place}: is a file, expected a folder; give another --output")
        if is_free(place):
            return place
    raise RrarankError(
        f"{folder}: holds files that are not a table's, and so does {inside}; give a new folder as --output"
    )


def is_free(folder: Path) -> bool:
    """Whether a table may be written to the folder."""
    return not folder.exists() or _is_marked(folder) or not any(folder.iterdir())


def claim(folder: Path) -> None:
    """Mark the folder as a table's, before anything is written to it."""
    if not _is_marked(folder):
        with atomic_write(folder / MARK) as file:
            file.write(json.dumps({"format": FORMAT}) + "\n")


def _is_marked(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / MARK).read_text(encoding="utf-8"))["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
