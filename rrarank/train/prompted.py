"""A decoder as a student: a prompt asks it, and its score is log p(yes) - log p(no).

The student is a plain `…ForSequenceClassification`: the prompt is stored in the tokenizer's post-processor, and the
head is the difference of two rows of the language model's output matrix. Before the first step it scores exactly as
the reranker `gpt` does, and any loader of cross-encoders can load it.
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
        text: contains `{query}` and, after it, `{document}`.
        yes, no: the two continuations; their first tokens make the head.
    """

    __pydantic_config__: ClassVar = STRICT

    text: str = GPTConfig.prompt
    yes: str = GPTConfig.yes
    no: str = GPTConfig.no

    @property
    def lead(self) -> str:
        """The space before each text that the tokenizer reads as part of it."""
        return " " if self.text.partition("{query}")[0].endswith(" ") else ""


@torch.no_grad()
def prompted(folder: Path, name: str, config: PromptConfig, **changes: object) -> tuple[Any, Any, Any]:
    """The tokenizer with the prompt in it, the classifier, and the language model's own output layer.

    Args:
        name: of the model, for messages.
        changes: to the model's configuration.

    Raises:
        RrarankError: not a causal language model with one output matrix, or a prompt or answers that do not fit it.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=False, dtype=torch.float32, use_safetensors=True, **changes
    )
    head = model.get_output_embeddings()
    yes, no = first_tokens(tokenizer, config)
    base = _classifier(model)
    if getattr(head, "bias", None) is not None or not isinstance(getattr(base, "score", None), torch.nn.Linear):
        raise RrarankError(f"{name}: {type(base).__name__} does not score by one matrix as its language model does")
    base.score = torch.nn.Linear(head.in_features, 1, bias=False)
    base.score.weight.copy_(head.weight[[yes]] - head.weight[[no]])
    return _with_prompt(tokenizer, prompt_template(tokenizer, config.text)), base, head


def first_tokens(tokenizer: Any, config: PromptConfig) -> tuple[int, int]:
    """The first token ids of yes and no.

    Raises:
        RrarankError: both begin with the same token.
    """
    yes, no = (tokenizer(answer, add_special_tokens=False)["input_ids"][:1] for answer in (config.yes, config.no))
    if not yes or not no or yes == no:
        raise RrarankError(f"prompt: {config.yes!r} and {config.no!r} begin with the same token; choose other words")
    return yes[0], no[0]


def _classifier(model: Any) -> Any:
    """A classifier with one label around the same decoder; no weight is loaded or initialised again."""
    config = deepcopy(model.config)
    config.num_labels = 1
    with torch.device("meta"):
        base = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    setattr(base, base.base_model_prefix, model.base_model)
    return base


def _with_prompt(tokenizer: Any, template: Template) -> PreTrainedTokenizerFast:
    """A tokenizer that puts the prompt around every pair of texts."""
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
