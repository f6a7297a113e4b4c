"""An untrained decoder is asked whether a passage answers the query: the row GPT (vanilla) of RRADistill's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from rrarank.engine.batches import Batch
from rrarank.errors import RrarankError, shown
from rrarank.rerankers.backends.torch import TORCH_DTYPES
from rrarank.rerankers.decoders import LastStates, score_by_query
from rrarank.rerankers.prompted import Prompted, PromptedConfig
from rrarank.rerankers.uses import architectures_of, other_use

_GENERATES = ("CausalLM", "LMHead", "ConditionalGeneration")  # in the names of architectures that write text


@dataclass(frozen=True)
class GPTConfig(PromptedConfig):
    """The prompt is ours: the paper does not print its own.

    Args:
        prompt: contains `{query}` and, after it, `{document}`.
        share: compute the part that a query's prompts share once, instead of once per candidate.
    """

    prompt: str = "Does the passage answer the query? Say Yes or No.\nQuery: {query}\nPassage: {document}\nAnswer:"
    yes: str = " Yes"
    no: str = " No"
    share: bool = True


class GPT(Prompted):
    """Any causal language model, zero-shot: log p(yes) - log p(no) after the prompt."""

    name = "gpt"

    Config = GPTConfig
    config: GPTConfig
    shares = True
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {"torch": tuple(TORCH_DTYPES)}

    def __init__(self, config: GPTConfig | None = None) -> None:
        if not (config and config.model):
            raise RrarankError("gpt: no model; give model (--model), a folder or hub id of a causal language model")
        super().__init__(config)
        self.last_states = LastStates(self.model.base_model, self.device, share=self.config.share)

    @property
    def prompt(self) -> str:
        return self.config.prompt

    def load_model(self, folder: Path, **settings: Any) -> Any:
        from transformers import AutoModelForCausalLM

        named = architectures_of(folder)
        if named and not any(part in one for one in named for part in _GENERATES):
            raise RrarankError(
                f"{self.config.model}: not a causal language model, its config.json names {', '.join(named)}; "
                f"{other_use(folder)}"
            )
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=False, output_loading_info=True, **settings
        )
        if lacking := sorted(report["missing_keys"]):
            raise RrarankError(f"{self.config.model}: its checkpoint lacks {shown(lacking, 3)}; copy it again")
        return model

    def answer_token(self, text: str) -> int:
        return only_token(self.tokenizer, self.config.model, text)

    def score_all(self, pairs: Batch) -> list[float]:
        return score_by_query(pairs, self.score, self.batch_tokens, self.config.batch_size)

    @torch.inference_mode()
    def score(self, batch: Batch) -> np.ndarray:
        logits = self.model.get_output_embeddings()(self.last_states(batch))  # (batch, vocabulary)
        no, yes = logits[:, self.answers].float().T  # (batch,) each
        return np.asarray((yes - no).cpu().numpy())


def only_token(tokenizer: Any, model: str, text: str) -> int:
    """The single token of a text.

    Args:
        model: its name, for messages.

    Raises:
        RrarankError: the text is several tokens.
    """
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise RrarankError(
            f"{model}: its tokenizer splits {text!r} into {len(ids)} tokens, expected one; "
            "give others by --option yes=… and no=…"
        )
    return int(ids[0])
