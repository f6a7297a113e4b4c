"""An untrained decoder asked whether a passage answers the query: the row GPT (vanilla) of RRADistill's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from rrarank.engine import Batch, Ids, Pointwise, RerankerConfig
from rrarank.errors import RrarankError
from rrarank.models import fingerprint, loading, locate
from rrarank.rerankers.backends import TORCH_DTYPES, device_of
from rrarank.rerankers.monot5 import right_padded
from rrarank.rerankers.pairs import PairEncoder, prompt_template


@dataclass(frozen=True)
class GPTConfig(RerankerConfig):
    """Beyond the shared settings; the prompt is ours, the paper does not print its own.

    Args:
        prompt: with `{query}` and, after it, `{document}`.
        yes, no: what the decoder would say next.
    """

    max_length: int = 512
    prompt: str = "Does the passage answer the query? Say Yes or No.\nQuery: {query}\nPassage: {document}\nAnswer:"
    yes: str = " Yes"
    no: str = " No"


class GPT(Pointwise):
    """Any causal language model, zero-shot: log p(yes) - log p(no) after the prompt. No token is generated."""

    Config = GPTConfig
    config: GPTConfig
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {"torch": tuple(TORCH_DTYPES)}

    def __init__(self, config: GPTConfig | None = None) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        super().__init__(config)
        if not self.config.model:
            raise RrarankError("gpt: no model; give --model, a folder or hub id of a causal language model")
        folder = locate(self.config.model, allow_pickle=self.config.allow_pickle)
        self.device = device_of(self.config)
        with loading(self.config.model, self.config.device, self.config.threads):
            tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            self.model: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=TORCH_DTYPES[self.config.precision],
                use_safetensors=None if self.config.allow_pickle else True,
            ).to(self.device)
        self.model.eval()
        self._answers = answer_tokens(tokenizer, self.config.model, self.config.no, self.config.yes)
        template = prompt_template(tokenizer, self.config.prompt)
        self.encode_pairs = PairEncoder(tokenizer, self.config.max_length, template)
        self._fingerprint = fingerprint(folder)

    def encode(self, query: str, texts: Sequence[str]) -> list[Ids]:
        return self.encode_pairs(query, texts)

    @torch.inference_mode()
    def score(self, batch: Batch) -> np.ndarray:
        rows = right_padded(batch, 0, self.device)  # a causal decoder never sees what comes after a token
        states = self.model.base_model(**rows).last_hidden_state  # (batch, longest, width)
        last = states[torch.arange(len(batch)), rows["attention_mask"].sum(1) - 1]
        no, yes = self.model.get_output_embeddings()(last)[:, self._answers].float().T  # (batch,) each
        return np.asarray((yes - no).cpu().numpy())

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self._fingerprint}"


def answer_tokens(tokenizer: Any, model: str, *answers: str) -> list[int]:
    """The token of each.

    Args:
        model: its name, for messages.

    Raises:
        RrarankError: an answer is no single token.
    """
    return [_token(tokenizer, model, answer) for answer in answers]


def _token(tokenizer: Any, model: str, text: str) -> int:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise RrarankError(
            f"{model}: {text!r} is {len(ids)} tokens to it, expected one; choose other words for yes and no"
        )
    return int(ids[0])
