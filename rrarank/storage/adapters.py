"""LoRA adapters: how to make a model of one."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from rrarank.storage.files import read_json


def merging(folder: Path, model: str) -> str:
    """How to make a model of a LoRA adapter."""
    settings = read_json(folder / "adapter_config.json") or {}
    kind = {"SEQ_CLS": "ForSequenceClassification", "CAUSAL_LM": "ForCausalLM"}.get(str(settings.get("task_type")), "")
    labels = f", num_labels={_adapter_labels(folder)}" if kind == "ForSequenceClassification" else ""
    base = str(settings.get("base_model_name_or_path"))
    words = model if any(folder.glob("tokenizer*.json")) else base
    merged = f"{model}-merged"
    code = (
        f"from peft import AutoPeftModel{kind} as M; from transformers import AutoTokenizer as T; "
        f"M.from_pretrained({json.dumps(model)}{labels}).merge_and_unload().save_pretrained({json.dumps(merged)}); "
        f"T.from_pretrained({json.dumps(words)}).save_pretrained({json.dumps(merged)})"
    )
    return (
        f"a LoRA adapter of {base}, not a whole model; with peft installed, type: python -c {shlex.quote(code)}, "
        f"and give model (--model) {shlex.quote(merged)}"
    )


def _adapter_labels(folder: Path) -> int:
    """The labels of an adapter's own head; 1 if it has none."""
    from safetensors import safe_open

    path = folder / "adapter_model.safetensors"
    if not path.is_file():
        return 1
    with safe_open(path, "np") as weights:
        sizes = {key: weights.get_slice(key).get_shape() for key in weights.keys()}  # noqa: SIM118
    heads = [size[0] for key, size in sizes.items() if re.search(r"(score|classifier|out_proj)\.weight$", key)]
    return int(heads[-1]) if heads else 1
