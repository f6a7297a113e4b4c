"""Cross-encoders: query and document read together by a `…ForSequenceClassification` (Nogueira & Cho, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from rrarank.engine import Batch, Ids, Pointwise, RerankerConfig
from rrarank.errors import RrarankError, shown
from rrarank.models import fingerprint, loading, locate


class CrossEncoder(Pointwise):
    """Any hub or local checkpoint with one label (its logit) or two (z1 - z0, the log-odds of `relevant`).

    Raises:
        RrarankError: no model given, more than two labels, or a head that the checkpoint does not hold.
    """

    def __init__(self, config: RerankerConfig | None = None) -> None:
        super().__init__(config)
        if not self.config.model:
            raise RrarankError("cross-encoder: no model; give --model, a folder or hub id of a sequence classifier")
        folder = locate(self.config.model)
        self.device = self.config.device or ("cuda" if torch.cuda.is_available() else "cpu")
        with loading(self.config.model, self.config.device, self.config.threads):
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            self.model = _load_whole(folder, self.config.model).to(self.device).eval()
        self._pad = DataCollatorWithPadding(with_pad_token(self.tokenizer, self.model))
        self._max_length = self.config.max_length or longest_input(self.tokenizer, self.model.config)
        self._fingerprint = fingerprint(folder)

    def encode(self, query: str, texts: Sequence[str]) -> list[Ids]:
        if not texts:
            return []
        # as sentence-transformers' CrossEncoder truncates
        rows = self.tokenizer(
            [query] * len(texts), list(texts), truncation="longest_first", max_length=self._max_length, padding=False
        )
        return [{key: rows[key][i] for key in rows} for i in range(len(texts))]

    @torch.inference_mode()
    def score(self, batch: Batch) -> np.ndarray:
        inputs = self._pad(list(batch)).to(self.device)  # (batch, longest) each
        logits = self.model(**inputs).logits.float()  # (batch, 1 or 2)
        scores = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]  # (batch,)
        return np.asarray(scores.cpu().numpy())

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self._fingerprint}"


@dataclass(frozen=True)
class MonoBERTConfig(RerankerConfig):
    model: str = "castorini/monobert-large-msmarco"  # the checkpoint published with Nogueira & Cho (2019)


class MonoBERT(CrossEncoder):
    """The cross-encoder with its published checkpoint."""

    Config = MonoBERTConfig


def _load_whole(folder: Path, name: str) -> Any:
    """The model in float32; a weight that the checkpoint lacks would be random, so it is an error."""
    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    if report["missing_keys"]:
        raise RrarankError(
            f"{name}: not a trained reranker, its checkpoint lacks {shown(sorted(report['missing_keys']), 3)}; "
            "an embedding model is used with --reranker bi-encoder"
        )
    if model.config.num_labels > 2:
        raise RrarankError(
            f"{name}: {model.config.num_labels} labels, expected 1 (a score) or 2 (irrelevant, relevant)"
        )
    return model


def with_pad_token(tokenizer: Any, model: Any) -> Any:
    """Decoders often have no padding token; the model must know which one it is, to find the last real token."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return tokenizer


def longest_input(tokenizer: Any, config: Any) -> int:
    """Tokens that fit; a tokenizer without a limit of its own says 1e30."""
    positions = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
    if "roberta" in config.model_type:
        positions -= config.pad_token_id + 1  # RoBERTa counts positions from there
    return int(min(tokenizer.model_max_length, positions))
