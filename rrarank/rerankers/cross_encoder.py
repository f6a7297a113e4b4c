"""Cross-encoders: a `…ForSequenceClassification` reads query and document together (Nogueira & Cho, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from transformers import AutoConfig, AutoTokenizer

from rrarank.engine.batches import Batch, Ids
from rrarank.engine.reranker import Pointwise
from rrarank.errors import RrarankError
from rrarank.rerankers.backends.exported import FILES
from rrarank.rerankers.backends.torch import TORCH_DTYPES, CrossEncoderConfig, device_of, load_backend, tokens_at_once
from rrarank.rerankers.pairs import PairEncoder
from rrarank.storage.model_folders import SHIPPED, fingerprint, loading, locate


class CrossEncoder(Pointwise):
    """Any hub or local checkpoint with one label (scored by its logit) or two (by z1 - z0, the log-odds of `relevant`).

    Raises:
        RrarankError: no model given, more than two labels, or a checkpoint without a trained head.
    """

    name = "cross-encoder"

    Config = CrossEncoderConfig
    config: CrossEncoderConfig
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {
        "torch": tuple(TORCH_DTYPES),
        **{backend: tuple(files) for backend, files in FILES.items()},
    }

    def __init__(self, config: CrossEncoderConfig | None = None) -> None:
        super().__init__(config)
        if not self.config.model:
            raise RrarankError("cross-encoder: no model; give --model, a folder or hub id of a sequence classifier")
        folder = locate(self.config.model, allow_pickle=self.config.allow_pickle)
        with loading(self.config.model, self.config.device, self.config.threads):
            model_config = AutoConfig.from_pretrained(folder)
            tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            self.backend = load_backend(folder, self.config.model, tokenizer, self.config)
            _check_labels(self.config.model, model_config.num_labels)
        self.batch_tokens = self.config.batch_tokens or tokens_at_once(device_of(self.config))
        self.encode_pairs = PairEncoder(tokenizer, self.config.max_length or longest_input(tokenizer, model_config))
        self._fingerprint = f"{fingerprint(folder)} {self.backend.identity}".rstrip()

    def encode(self, query: str, texts: Sequence[str]) -> list[Ids]:
        return self.encode_pairs(query, texts)

    def score(self, batch: Batch) -> np.ndarray:
        logits = self.backend.logits(batch)  # (batch, 1 or 2)
        return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]  # (batch,)

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self._fingerprint}"


@dataclass(frozen=True)
class MonoBERTConfig(CrossEncoderConfig):
    model: str = "castorini/monobert-large-msmarco"  # the checkpoint published with Nogueira & Cho (2019)


class MonoBERT(CrossEncoder):
    """A cross-encoder with the checkpoint that its authors published."""

    name = "monobert"

    Config = MonoBERTConfig


@dataclass(frozen=True)
class RRABERTConfig(CrossEncoderConfig):
    model: str = SHIPPED


class RRABERT(CrossEncoder):
    """A cross-encoder with our own student, trained as RRADistill trains RRA-BERT (Choi et al., 2024)."""

    name = "rra-bert"

    Config = RRABERTConfig


def _check_labels(name: str, labels: int) -> None:
    if labels > 2:
        raise RrarankError(f"{name}: {labels} labels, expected 1 (a score) or 2 (irrelevant, relevant)")


def longest_input(tokenizer: Any, config: Any) -> int:
    """The most tokens that the model reads; a tokenizer without a limit of its own says 1e30."""
    positions = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
    if "roberta" in config.model_type:
        positions -= config.pad_token_id + 1  # RoBERTa counts positions from there
    return int(min(tokenizer.model_max_length, positions))
