"""The files that a model folder and its modules need: which one is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rrarank.storage.weights import lost_parts

PICKLES = ["pytorch_model*.bin"]  # only with allow_pickle
_WEIGHTS = "weights (*.safetensors)"
_NEEDED = {
    "config.json": ["config.json"],
    _WEIGHTS: ["model*.safetensors"],
    "tokenizer (tokenizer.json, vocab.txt, …)": ["tokenizer.json", "vocab.txt", "vocab.json", "*.model"],
}
_MODULES = {  # kind of module -> what its folder needs; others are not known well enough
    "Transformer": list(_NEEDED),
    "MLMTransformer": list(_NEEDED),
    "Dense": ["config.json", _WEIGHTS],
    "LayerNorm": ["config.json", _WEIGHTS],
    "Pooling": ["config.json"],
    "SpladePooling": ["config.json"],
}


def lacks(folder: Path, modules: Sequence[Mapping[str, Any]], allow_pickle: bool) -> str:
    """The first thing that a model folder needs and does not have. Modules may lie in folders of their own."""
    find = folder.rglob if (folder / "modules.json").is_file() else folder.glob
    pickled = {path.parent for path in find(PICKLES[0])}
    only_pickled = any(not any(part.glob("model*.safetensors")) for part in pickled) and not allow_pickle
    for what, patterns in _NEEDED.items():
        patterns = patterns + PICKLES if allow_pickle and what == _WEIGHTS else patterns
        if not any(path for pattern in patterns for path in find(pattern)) or (what == _WEIGHTS and only_pickled):
            hint = (
                "; pickled weights are not loaded without allow_pickle (--allow-pickle)"
                if only_pickled and what == _WEIGHTS
                else ""
            )
            return f"{what}{hint}"
    return _module_lacks(folder, modules, allow_pickle) or _lost_part(folder)


def _module_lacks(folder: Path, modules: Sequence[Mapping[str, Any]], allow_pickle: bool) -> str:
    """The first thing that a module needs and its own folder does not have."""
    for module in modules:
        place = str(module.get("path", ""))
        for what in _MODULES.get(str(module.get("type")).rpartition(".")[2], ()):
            patterns = _NEEDED[what] + (PICKLES if allow_pickle and what == _WEIGHTS else [])
            if not any(path for pattern in patterns for path in (folder / place).glob(pattern)):
                return f"{place}/{what}" if place else what
    return ""


def _lost_part(folder: Path) -> str:
    """The first part of the weights that an index names and its folder does not have."""
    if (folder / "model.safetensors").is_file():  # which would be read instead
        return ""
    return next(iter(lost_parts(folder / "model.safetensors.index.json")), "")
