"""Which reranker a model folder is for, by what its own files say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrarank.errors import RrarankError
from rrarank.storage.files import read_json
from rrarank.storage.model_folders import read_modules

LATE_INTERACTION = ("MultiVectorEncoder", "ColBERT", "HF_ColBERT")  # sentence-transformers', PyLate's, Stanford's name
_USES = {  # kind, or the end of an architecture's name -> what to do with it
    "CrossEncoder": "use a cross-encoder with --reranker cross-encoder",
    "SparseEncoder": "use a SPLADE model with --reranker sparse-encoder",
    **dict.fromkeys(LATE_INTERACTION, "use a ColBERT model with --reranker late-interaction"),
    "ForSequenceClassification": "use a cross-encoder with --reranker cross-encoder",
    "ForCausalLM": "use a language model with --reranker gpt",
    "LMHeadModel": "use a language model with --reranker gpt",
    "T5ForConditionalGeneration": "use a MonoT5 with --reranker monot5",
}
_MASKED = "use a SPLADE model with --reranker sparse-encoder, an embedding model with --reranker bi-encoder"
_EMBEDS = "use an embedding model with --reranker bi-encoder"


def kind_of(folder: Path) -> str:
    """What sentence-transformers, PyLate or Stanford's ColBERT call the model; empty for any other."""
    settings = read_json(folder / "config_sentence_transformers.json")
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if not kind and any(str(module.get("type")).startswith("pylate.") for module in read_modules(folder)):
        return "ColBERT"  # PyLate beside sentence-transformers 4 named no kind
    return str(kind or ("HF_ColBERT" if "HF_ColBERT" in architectures_of(folder) else ""))


def architectures_of(folder: Path) -> Sequence[str]:
    """The classes that a folder's config.json names; empty if it names none."""
    config: Any = read_json(folder / "config.json")
    found = config.get("architectures") if isinstance(config, dict) else None
    return [found] if isinstance(found, str) else [str(name) for name in found or ()]


def other_use(folder: Path) -> str:
    """How to re-rank with a folder that another reranker is for."""
    return _use(folder) or (_MASKED if any(name.endswith("MaskedLM") for name in architectures_of(folder)) else _EMBEDS)


def is_sparse_encoder(folder: Path) -> bool:
    """Whether it is a SPLADE model by what it names, or a masked language model, which is taken as one."""
    if kind := kind_of(folder) or read_modules(folder):
        return kind == "SparseEncoder"
    return any(name.endswith("MaskedLM") for name in architectures_of(folder))


def check_export(folder: Path, name: str) -> None:
    """Refuse a sparse encoder's export for a cross-encoder: its graph gives no score.

    Raises:
        RrarankError: it is for another reranker.
    """
    if is_sparse_encoder(folder):
        raise RrarankError(f"{name}: not a cross-encoder, its files name {_named(folder)}; {other_use(folder)}")


def check_embeds(folder: Path, name: str) -> None:
    """Refuse a folder that says it is no embedding model: sentence-transformers would drop its head and average.

    Raises:
        RrarankError: it is for another reranker.
    """
    if use := _use(folder):
        raise RrarankError(f"{name}: not an embedding model, its files name {_named(folder)}; {use}")


def _named(folder: Path) -> str:
    return kind_of(folder) or ", ".join(architectures_of(folder))


def _use(folder: Path) -> str:
    """The use of what a folder names; empty for an embedding model, and one that names nothing."""
    kind = kind_of(folder)
    named = [kind] if kind else () if read_modules(folder) else architectures_of(folder)
    return next((use for one in named for end, use in _USES.items() if one.endswith(end)), "")
