"""An untrained decoder asked whether a passage answers the query: the row GPT (vanilla) of RRADistill's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from rrarank.engine import Batch
from rrarank.errors import RrarankError
from rrarank.rerankers.backends import TORCH_DTYPES
from rrarank.rerankers.prompted import Prompted, PromptedConfig, right_padded


@dataclass(frozen=True)
class GPTConfig(PromptedConfig):
    """The prompt is ours, the paper does not print its own.

    Args:
        prompt: with `{query}` and, after it, `{document}`.
    """

    prompt: str = "Does the passage answer the query? Say Yes or No.\nQuery: {query}\nPassage: {document}\nAnswer:"
    yes: str = " Yes"
    no: str = " No"


class GPT(Prompted):
    """Any causal language model, zero-shot: log p(yes) - log p(no) after the prompt."""

    Config = GPTConfig
    config: GPTConfig
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {"torch": tuple(TORCH_DTYPES)}

    def __init__(self, config: GPTConfig | None = None) -> None:
        if not (config and config.model):
            raise RrarankError("gpt: no model; give --model, a folder or hub id of a causal language model")
        super().__init__(config)

    @property
    def prompt(self) -> str:
        return self.config.prompt

    def load_model(self, folder: Path, **settings: Any) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(folder, **settings)

    def answer_token(self, text: str) -> int:
        return only_token(self.tokenizer, self.config.model, text)

    @torch.inference_mode()
    def score(self, batch: Batch) -> np.ndarray:
        rows = right_padded(batch, 0, self.device)  # a causal decoder never sees what comes after a token
        states = self.model.base_model(**rows).last_hidden_state  # (batch, longest, width)
        last = states[torch.arange(len(batch)), rows["attention_mask"].sum(1) - 1]
        no, yes = self.model.get_output_embeddings()(last)[:, self.answers].float().T  # (batch,) each
        return np.asarray((yes - no).cpu().numpy())


def only_token(tokenizer: Any, model: str, text: str) -> int:
    """The token that a text is.

    Args:
        model: its name, for messages.

    Raises:
        RrarankError: the text is several tokens.
    """
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise RrarankError(
            f"{model}: {text!r} is {len(ids)} tokens to it, expected one; choose other words for yes and no"
        )
    return int(ids[0])
