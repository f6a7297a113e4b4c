"""What runs a cross-encoder's forward pass: torch, ONNX Runtime or OpenVINO, each from ids to logits.

The same folder serves all: torch reads its weights, the others read what `python -m rrarank.export` put beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding

from rrarank.engine import Batch, RerankerConfig
from rrarank.errors import RrarankError, shown
from rrarank.rerankers.packed_bert import PackedBert, Rows

TORCH_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Backend(Protocol):
    """Scores a batch; what else is in the batch does not change a row's logits."""

    def logits(self, batch: Batch) -> np.ndarray:
        """(batch, labels) float32."""


_CLASSES = {"torch": "rrarank.rerankers.backends:TorchBackend"}


def load_backend(folder: Path, name: str, tokenizer: Any, config: RerankerConfig) -> Backend:
    """The back end that `config` names, with the model of `folder`.

    Args:
        name: of the model, for messages.
    """
    module, _, attribute = _CLASSES[config.backend].partition(":")
    return getattr(import_module(module), attribute)(folder, name, tokenizer, config)  # type: ignore[no-any-return]


class TorchBackend:
    """The checkpoint itself. BERT has a forward pass of its own here, all else runs as transformers has it."""

    def __init__(self, folder: Path, name: str, tokenizer: Any, config: RerankerConfig) -> None:
        self.device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
        precision = TORCH_DTYPES[config.precision]
        model = load_whole(folder, name).to(self.device).eval()
        self._pad = DataCollatorWithPadding(with_pad_token(tokenizer, model))
        packed = PackedBert(model, precision) if model.config.model_type == "bert" else None
        self._forward = self._padded(model.to(precision)) if packed is None else self._packed(packed)

    @torch.inference_mode()
    def logits(self, batch: Batch) -> np.ndarray:
        return np.asarray(self._forward(batch).float().cpu().numpy())

    def _packed(self, model: PackedBert) -> Callable[[Batch], Tensor]:
        return lambda batch: model(Rows.pack(batch, self.device))

    def _padded(self, model: Any) -> Callable[[Batch], Tensor]:
        return lambda batch: model(**self._pad(list(batch)).to(self.device)).logits


def load_whole(folder: Path, name: str) -> Any:
    """The classifier in float32; a weight that the checkpoint lacks would be random, so it is an error."""
    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    if report["missing_keys"]:
        raise RrarankError(
            f"{name}: not a trained reranker, its checkpoint lacks {shown(sorted(report['missing_keys']), 3)}; "
            "an embedding model is used with --reranker bi-encoder"
        )
    return model


def with_pad_token(tokenizer: Any, model: Any) -> Any:
    """Decoders often have no padding token; the model must know which one it is, to find the last real token."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return tokenizer
