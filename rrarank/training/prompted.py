"""A decoder as a student: a prompt asks it, and it scores by how much rather it would say yes than no.

All of it is a plain `…ForSequenceClassification`: the prompt lies in the tokenizer's post-processor, and the head is
the difference of two rows of the language model's output matrix. So before the first step it scores as the reranker
`gpt` does, log p(yes) - log p(no), and whoever loads a cross-encoder loads it.
"""

from __future__ import annotations

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
from rrarank.rerankers.gpt import GPTConfig, only_token
from rrarank.rerankers.pairs import Template, prompt_template


@dataclass(frozen=True)
class PromptConfig:
    """How a decoder is asked; by default as the reranker `gpt` asks.

    Args:
        text: with `{query}` and, after it, `{document}`.
        yes, no: one token each.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # an unknown key is an error

    text: str = GPTConfig.prompt
    yes: str = GPTConfig.yes
    no: str = GPTConfig.no


@torch.no_grad()
def prompted(folder: Path, name: str, config: PromptConfig, **changes: object) -> tuple[Any, Any]:
    """The tokenizer with the prompt in it, and the classifier.

    Args:
        name: of the model, for messages.
        changes: to the model's configuration.

    Raises:
        RrarankError: no causal language model that can be read so, or a prompt or answers that do not fit it.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    head = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    head = head.get_output_embeddings()
    no, yes = (only_token(tokenizer, name, text) for text in (config.no, config.yes))
    base = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=1, dtype=torch.float32, use_safetensors=True, **changes
    )
    if getattr(head, "bias", None) is not None or not isinstance(getattr(base, "score", None), torch.nn.Linear):
        raise RrarankError(f"{name}: {type(base).__name__} does not score by one matrix as its language model does")
    base.score.weight.copy_(head.weight[[yes]] - head.weight[[no]])
    return _with_prompt(tokenizer, prompt_template(tokenizer, config.text)), base


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
