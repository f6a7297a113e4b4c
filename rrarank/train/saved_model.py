"""A student as others load it: a plain sequence classifier with one label, in half precision, with its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from rrarank.errors import RrarankError, shown
from rrarank.storage.files import default_mode
from rrarank.storage.folders import replace_folder
from rrarank.storage.model_folders import FORMAT, LANGUAGE_HEAD, quiet

IDENTITY = "torch.nn.modules.linear.Identity"  # without it CrossEncoder applies a sigmoid


def save_model(
    base: Any,  # transformers is untyped
    tokenizer: Any,
    folder: Path,
    *,
    facts: Mapping[str, object] | None = None,
    files: Mapping[str, str] | None = None,
    head: Any = None,
    overwrite: bool = False,
) -> None:
    """Write a `…ForSequenceClassification` folder, whole or not at all. The model in memory does not change.

    Args:
        base: a classifier with one label. Weights are saved as float16 with `dtype` float32, so that CPUs compute
            in float32.
        facts: recipe, data, maximum lengths: JSON values, kept under `rrarank` in config.json.
        files: name -> text, written beside the model: its card, its log.
        head: of a language model, saved beside the classifier.
        overwrite: replace a model.

    Raises:
        RrarankError: as `check_output_folder` does.
    """
    check_output_folder(folder, overwrite)
    with replace_folder(folder, overwrite=overwrite) as made:
        check_output_folder(folder, overwrite)
        half = deepcopy(base).to(torch.float16)
        if odd := [name for name, value in half.named_parameters() if not value.isfinite().all()]:
            raise RrarankError(f"{folder}: weights are not finite in float16 ({shown(odd, 2)}); lower learning_rate")
        with quiet():
            half.save_pretrained(made)
            tokenizer.save_pretrained(made)
        _bare(made / "tokenizer.json")
        _complete(made / "config.json", facts or {})
        for name, text in (files or {}).items():
            (made / name).write_text(text, encoding="utf-8")
        if head is not None:
            save_file(
                {name: value.half().contiguous() for name, value in head.state_dict().items()}, made / LANGUAGE_HEAD
            )
        for path in made.iterdir():
            path.chmod(default_mode())


def check_output_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that exists, unless it is a saved model that may be replaced."""
    if not folder.exists():
        return
    try:
        is_model = "rrarank" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        is_model = False
    if not is_model:
        raise RrarankError(f"{folder}: is not a model of rrarank; give another --output")
    if not overwrite:
        raise RrarankError(f"{folder}: exists already; give --overwrite to replace it, or another --output")


def _complete(path: Path, facts: Mapping[str, object]) -> None:
    """Add to config.json what plain loaders need to give our scores, and the recipe."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    config |= {"dtype": "float32", "sentence_transformers": {"activation_fn": IDENTITY}}
    config |= {"rrarank": {"format": FORMAT, **facts}}
    config.pop("_name_or_path", None)  # a path of the machine that trained it
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _bare(path: Path) -> None:
    """Remove padding and truncation from the tokenizer file; callers set both."""
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8")) | {"padding": None, "truncation": None}
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
