"""What a table says about a model besides its scores: its number of parameters and its teacher."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rrarank.storage.model_folders import EXPORTED


def count_parameters(folder: Path) -> int | None:
    """The number of weights in a model folder, from the headers of its safetensors files; None without such files."""
    files = [path for path in folder.rglob("*.safetensors") if path.relative_to(folder).parts[0] not in EXPORTED]
    return sum(math.prod(shape) for path in files for shape in _shapes(path)) if files else None


def _shapes(path: Path) -> Iterator[list[int]]:
    """The shape of every tensor."""
    from safetensors import safe_open

    with safe_open(path, "np") as weights:
        yield from [weights.get_slice(key).get_shape() for key in weights.keys()]  # noqa: SIM118


def teacher_of(folder: Path) -> str:
    """The teachers in the recipe that `rrarank.train` writes to config.json, in order; empty without a recipe.

    The teachers of the model that training started from come first.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return ", then ".join(dict.fromkeys(_teachers(config.get("rrarank", {}).get("recipe", {}))))


def _teachers(recipe: Mapping[str, Any]) -> Iterator[str]:  # Any: JSON values
    if not recipe:
        return
    base = recipe.get("base")
    yield from _teachers(base.get("recipe", {}) if isinstance(base, dict) else {})
    for stage in recipe.get("stages", ()):
        for labelled in stage.get("sets", ()):
            yield from map(_short, labelled.get("teachers", ()))


def _short(teacher: str) -> str:
    """`runs: a, b, c` -> `3 runs`; a teacher alone keeps its name."""
    kind, _, names = teacher.partition(": ")
    count = names.count(", ") + 1
    return f"{count} {kind}" if count > 1 else teacher
