"""MonoT5: a T5 that was trained to say whether a document is relevant (Nogueira et al., Findings of EMNLP 2020)."""

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
from rrarank.rerankers.pairs import PairEncoder, prompt_template

PROMPT = "Query: {query} Document: {document} Relevant:"


@dataclass(frozen=True)
class MonoT5Config(RerankerConfig):
    """Beyond the shared settings.

    Args:
        yes, no: the tokens that mean relevant and not; as its authors' checkpoints were trained.
    """

    model: str = "castorini/monot5-base-msmarco"
    max_length: int = 512  # as they were trained
    yes: str = "▁true"
    no: str = "▁false"


class MonoT5(Pointwise):
    """Any T5 checkpoint: log p(yes) where only yes and no can be said. Of a pair too long the longer text is cut, never
    the prompt."""

    Config = MonoT5Config
    config: MonoT5Config
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {"torch": ("fp32", "bf16")}  # fp16 overflows in T5

    def __init__(self, config: MonoT5Config | None = None) -> None:
        from transformers import AutoTokenizer, T5ForConditionalGeneration

        super().__init__(config)
        folder = locate(self.config.model, allow_pickle=self.config.allow_pickle)
        self.device = device_of(self.config)
        with loading(self.config.model, self.config.device, self.config.threads):
            tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            self.model: Any = T5ForConditionalGeneration.from_pretrained(
                folder,
                dtype=TORCH_DTYPES[self.config.precision],
                use_safetensors=None if self.config.allow_pickle else True,
            ).to(self.device)
        self.model.eval()
        self._answers = [_token(tokenizer, text, self.config.model) for text in (self.config.no, self.config.yes)]
        self._pad = tokenizer.pad_token_id
        self.encode_pairs = PairEncoder(tokenizer, self.config.max_length, prompt_template(tokenizer, PROMPT))
        self._fingerprint = fingerprint(folder)

    def encode(self, query: str, texts: Sequence[str]) -> list[Ids]:
        return self.encode_pairs(query, texts)

    @torch.inference_mode()
    def score(self, batch: Batch) -> np.ndarray:
        rows = right_padded(batch, self._pad, self.device)
        start = torch.full((len(batch), 1), self.model.config.decoder_start_token_id, device=self.device)
        logits = self.model(**rows, decoder_input_ids=start).logits[:, 0, self._answers]  # (batch, 2)
        return np.asarray(logits.float().log_softmax(1)[:, 1].cpu().numpy())  # (batch,)

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self._fingerprint}"


def right_padded(batch: Batch, pad: int, device: str) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask`, (batch, longest)."""
    ids = [torch.as_tensor(np.asarray(row["input_ids"]), dtype=torch.long) for row in batch]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(row) for row in ids])
    mask = torch.arange(padded.shape[1])[None, :] < lengths[:, None]
    return {"input_ids": padded.to(device), "attention_mask": mask.long().to(device)}


def _token(tokenizer: Any, text: str, model: str) -> int:
    number: int = tokenizer.convert_tokens_to_ids(text)
    if number == tokenizer.unk_token_id:
        raise RrarankError(f"{model}: its tokenizer has no token {text!r}; name its own by --option yes=… and no=…")
    return number
