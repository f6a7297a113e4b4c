"""A decoder as a student: a prompt asks it, and it scores by how much rather it would say yes than no.

All of it is a plain `…ForSequenceClassification`: the prompt lies in the tokenizer's post-processor, and the head is
the difference of two rows of the language model's output matrix. So before the first step it scores as the reranker
`gpt` does, log p(yes) - log p(no), and whoever loads a cross-encoder loads it.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from tokenizers import normalizers
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from rrarank.errors import RrarankError
from rrarank.rerankers.gpt import GPTConfig
from rrarank.rerankers.pairs import Template, prompt_template
from rrarank.storage.yaml_settings import STRICT


@dataclass(frozen=True)
class PromptConfig:
    """How a decoder is asked; by default as the reranker `gpt` asks.

    Args:
        text: with `{query}` and, after it, `{document}`.
        yes, no: what it would go on with; their first tokens make the head.
    """

    __pydantic_config__: ClassVar = STRICT

    text: str = GPTConfig.prompt
    yes: str = GPTConfig.yes
    no: str = GPTConfig.no

    @property
    def lead(self) -> str:
        """What stands before either text as a part of it."""
        return " " if self.text.partition("{query}")[0].endswith(" ") else ""


@torch.no_grad()
def prompted(folder: Path, name: str, config: PromptConfig, **changes: object) -> tuple[Any, Any, Any]:
    """The tokenizer with the prompt in it, the classifier, and the language model's own output layer.

    Args:
        name: of the model, for messages.
        changes: to the model's configuration.

    Raises:
        RrarankError: no causal language model that can be read so, or a prompt or answers that do not fit it.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **changes)
    head = model.get_output_embeddings()
    yes, no = first_tokens(tokenizer, config)
    base = _classifier(model)
    if getattr(head, "bias", None) is not None or not isinstance(getattr(base, "score", None), torch.nn.Linear):
        raise RrarankError(f"{name}: {type(base).__name__} does not score by one matrix as its language model does")
    base.score = torch.nn.Linear(head.in_features, 1, bias=False)
    base.score.weight.copy_(head.weight[[yes]] - head.weight[[no]])
    return _with_prompt(tokenizer, prompt_template(tokenizer, config.text)), base, head


def first_tokens(tokenizer: Any, config: PromptConfig) -> tuple[int, int]:
    """What yes and no begin with.

    Raises:
        RrarankError: with the same token.
    """
    yes, no = (tokenizer(answer, add_special_tokens=False)["input_ids"][:1] for answer in (config.yes, config.no))
    if not yes or not no or yes == no:
        raise RrarankError(f"prompt: {config.yes!r} and {config.no!r} begin with the same token; choose other words")
    return yes[0], no[0]


def _classifier(model: Any) -> Any:
    """The decoder of a language model under a head with one label; no weight is read or drawn again."""
    config = deepcopy(model.config)
    config.num_labels = 1
    with torch.device("meta"):
        base = AutoModelForSequenceClassification.from_config(config)
    setattr(base, base.base_model_prefix, model.base_model)
    return base


def _with_prompt(tokenizer: Any, template: Template) -> PreTrainedTokenizerFast:
    """A tokenizer that puts the prompt around a pair of texts, whoever loads it."""
    backend = tokenizer.backend_tokenizer
    if template.lead:
        own = [backend.normalizer] if backend.normalizer else []
        backend.normalizer = normalizers.Sequence([normalizers.Prepend(template.lead), *own])
    parts = {"<before>": template.before, "<between>": template.between, "<behind>": template.behind}
    filled = {part: [int(number) for number in ids] for part, ids in parts.items() if len(ids)}
    pieces = ("<before>", "$A", "<between>", "$B", "<behind>")
    backend.post_processor = TemplateProcessing(
        single="$A",
        pair=" ".join(piece for piece in pieces if piece in {"$A", "$B", *filled}),
        special_tokens=[
            {"id": part, "ids": ids, "tokens": [backend.id_to_token(number) for number in ids]}
            for part, ids in filled.items()
        ],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=tokenizer.model_max_length,
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.pad_token or tokenizer.eos_token,
        model_input_names=["input_ids", "attention_mask"],
    )
