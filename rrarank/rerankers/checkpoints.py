"""What a checkpoint says of itself: how long its inputs may be, which label means relevant, what else it applies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrarank.errors import RrarankError, did_you_mean, say
from rrarank.rerankers.uses import architectures_of
from rrarank.storage.files import read_json
from rrarank.storage.model_folders import read_modules

NO_LIMIT = 2**31 - 1  # tokens; of a model that states no maximum
_POSITIONS_AFTER_PAD = {  # model types that number positions from the padding id + 1, as RoBERTa does
    "camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """A model folder whose configuration and tokenizer are loaded; `name` is for messages."""

    folder: Path
    name: str
    config: Any  # transformers is untyped
    tokenizer: Any

    @classmethod
    def open(cls, folder: Path, name: str) -> Checkpoint:
        from transformers import AutoConfig, AutoTokenizer  # takes seconds to import

        from rrarank.rerankers.conversions import converted_config

        config = converted_config(folder) or AutoConfig.from_pretrained(folder, trust_remote_code=False)
        return cls(folder, name, config, AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False))

    @property
    def architectures(self) -> Sequence[str]:
        """The classes that the folder's config.json names; empty if it names none."""
        return architectures_of(self.folder)

    def longest(self, asked: int) -> int:
        """The most tokens of an input: as asked, or what tokenizer and model allow. Never more than the model allows.

        Args:
            asked: 0 for the checkpoint's own maximum.
        """
        return capped(asked, positions(self.config), self.name) if asked else longest_input(self.tokenizer, self.config)


def positions(config: Any) -> int:
    """How many tokens the model has positions for."""
    text = config.get_text_config()
    count = getattr(text, "max_position_embeddings", None)
    if not isinstance(count, int) or count <= 0:  # relative positions; XLNet says -1
        return NO_LIMIT
    if text.model_type == "mpnet":  # counts from 2, whatever its padding id is
        return count - 2
    first = (text.pad_token_id or 0) + 1 if text.model_type in _POSITIONS_AFTER_PAD else 0
    return count - first


def longest_input(tokenizer: Any, config: Any) -> int:
    """The most tokens that the model reads; a tokenizer without a limit of its own says 1e30."""
    return int(min(tokenizer.model_max_length, positions(config)))


def capped(asked: int, most: int, name: str) -> int:
    """`asked`, but at most `most`; says so where it is less."""
    if asked > most:
        say(f"{name}: max_length {asked} is more than the model's {most} positions; inputs are cut to {most} tokens")
    return min(asked, most)


# -- labels -----------------------------------------------------------------------------------------------------------

_RELEVANT = {"relevant", "yes", "true", "positive", "entailment", "entailed", "match", "similar", "duplicate"}
_RELEVANT |= {"paraphrase", "equivalent", "answer", "label1", "1"}
_IRRELEVANT = {"no", "false", "negative", "contradiction", "neutral", "different", "label0", "0"}
_IRRELEVANT |= {
    f"{prefix}{word}" for prefix in ("not", "non", "no", "in", "ir", "un", "dis", "mis") for word in _RELEVANT
}


def label_names(config: Any, name: str) -> list[str]:
    """The names of the one or two labels.

    Raises:
        RrarankError: there are more.
    """
    if config.num_labels > 2:
        raise RrarankError(f"{name}: {config.num_labels} labels, expected 1 (a score) or 2 (irrelevant, relevant)")
    return [str(config.id2label.get(place, f"LABEL_{place}")) for place in range(config.num_labels)]


def relevant_label(labels: Sequence[str], name: str, asked: str = "") -> int:
    """Which of one or two labels means relevant.

    Args:
        asked: the label's name; empty to tell by the names.

    Raises:
        RrarankError: the names do not tell.
    """
    if asked:
        if asked not in labels:
            known = ", ".join(labels)
            raise RrarankError(
                f"{name}: no label {asked!r}{did_you_mean(asked, labels)} (known: {known}); "
                "give one of them by --option relevant=…"
            )
        return labels.index(asked)
    if len(labels) == 1:
        return 0
    senses = [_sense(labels[0]), _sense(labels[1])]
    if senses[0] == senses[1]:
        raise RrarankError(
            f"{name}: its labels are {labels[0]!r} and {labels[1]!r}; say which one means relevant, "
            f"by --option relevant={labels[1]}"
        )
    return int(senses[1] > senses[0])


def _sense(label: str) -> int:
    """1 for a name that means relevant, -1 for one that means irrelevant, 0 for any other."""
    word = re.sub(r"[^a-z0-9]", "", label.lower())
    return (word in _RELEVANT) - (word in _IRRELEVANT)


# -- what sentence-transformers applies -------------------------------------------------------------------------------


def additions(checkpoint: Checkpoint) -> str:
    """What a CrossEncoder applies beyond tokenizer and classifier; empty for a plain checkpoint."""
    modules = read_modules(checkpoint.folder)
    if not modules:
        causal = any(name.endswith("ForCausalLM") for name in checkpoint.architectures)
        return "a chat template" if checkpoint.tokenizer.chat_template and not causal else ""
    settings = _object(checkpoint.folder / "config_sentence_transformers.json")
    if not is_modular(checkpoint.folder):
        return ""  # an embedding model, whose classifier would be new
    kinds = [str(module.get("type")).rpartition(".")[2] for module in modules]
    if kinds != ["Transformer"]:
        return f"modules of its own ({', '.join(kinds)})"
    prompt = str(settings.get("default_prompt_name"))
    if (settings.get("prompts") or {}).get(prompt):
        return f"the prompt {prompt!r}"
    module = _object(checkpoint.folder / str(modules[0].get("path", "")) / "sentence_bert_config.json")
    return "a chat template" if "message" in module.get("modality_config", {}) else _odd_settings(module)


def is_modular(folder: Path) -> bool:
    """Whether the modules of sentence-transformers score a pair, by the kind that the files name or by the last one."""
    modules = read_modules(folder)
    if _object(folder / "config_sentence_transformers.json").get("model_type") == "CrossEncoder" or not modules:
        return bool(modules)
    last = _object(folder / str(modules[-1].get("path", "")) / "config.json")
    return str(modules[-1].get("type")).endswith(".LogitScore") or last.get("module_output_name") == "scores"


def _odd_settings(module: Mapping[str, Any]) -> str:
    """Settings of a Transformer module that change what its model reads."""
    plain = {
        "transformer_task": "sequence-classification",
        "module_output_name": "scores",
        "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    }
    odd = [key for key, value in module.items() if value and value != plain.get(key)]
    return f"settings of its own ({', '.join(odd)})" if odd else ""


def _object(path: Path) -> dict[str, Any]:
    found = read_json(path)
    return found if isinstance(found, dict) else {}
