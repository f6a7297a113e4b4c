"""MonoT5: a T5 trained to answer whether a document is relevant (Nogueira et al., Findings of EMNLP 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from rrarank.engine.batches import Batch
from rrarank.errors import RrarankError
from rrarank.rerankers.decoders import right_padded
from rrarank.rerankers.prompted import Prompted, PromptedConfig


@dataclass(frozen=True)
class MonoT5Config(PromptedConfig):
    """Length and answer words of the checkpoints that its authors published."""

    model: str = "castorini/monot5-base-msmarco"
    yes: str = "▁true"
    no: str = "▁false"


class MonoT5(Prompted):
    """Any T5 checkpoint: log p(yes), normalized over the two answers."""

    name = "monot5"

    Config = MonoT5Config
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {"torch": ("fp32", "bf16")}  # fp16 overflows in T5
    prompt = "Query: {query} Document: {document} Relevant:"

    def load_model(self, folder: Path, **settings: Any) -> Any:
        from transformers import T5ForConditionalGeneration

        return T5ForConditionalGeneration.from_pretrained(folder, trust_remote_code=False, **settings)

    def answer_token(self, text: str) -> int:
        number: int = self.tokenizer.convert_tokens_to_ids(text)
        if number == self.tokenizer.unk_token_id:
            raise RrarankError(
                f"{self.config.model}: its tokenizer has no token {text!r}; give others by --option yes=… and no=…"
            )
        return number

    @torch.inference_mode()
    def score(self, batch: Batch) -> np.ndarray:
        rows = right_padded(batch, self.tokenizer.pad_token_id, self.device)
        start = torch.full((len(batch), 1), self.model.config.decoder_start_token_id, device=self.device)
        logits = self.model(**rows, decoder_input_ids=start).logits[:, 0, self.answers]  # (batch, 2)
        return np.asarray(logits.float().log_softmax(1)[:, 1].cpu().numpy())  # (batch,)
