"""The contract of a cross-encoder's back end, and torch as one.

The same folder serves all back ends: torch reads its weights, the others read the files of `python -m rrarank.export`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig

from rrarank.engine.batches import Batch
from rrarank.engine.reranker import RerankerConfig
from rrarank.errors import RrarankError, shown
from rrarank.rerankers.backends.packed_bert import PackedBert, Rows, is_packable

TORCH_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_Forward = Callable[[Batch], Tensor]


@dataclass(frozen=True)
class CrossEncoderConfig(RerankerConfig):
    """Settings beyond the shared ones.

    Args:
        batch_tokens: most tokens scored at once, padding included; 0: 4,096 on a CPU, 65,536 on a GPU.
    """

    batch_tokens: int = 0


class Backend(Protocol):
    """Computes logits. A row's logits do not depend on the rest of its batch."""

    identity: str  # names what determines the logits beyond the checkpoint and the settings

    def logits(self, batch: Batch) -> np.ndarray:
        """(batch, labels) float32."""


_CLASSES = {
    "torch": "rrarank.rerankers.backends.torch:TorchBackend",
    "onnx": "rrarank.rerankers.backends.onnx:OnnxBackend",
    "openvino": "rrarank.rerankers.backends.openvino:OpenvinoBackend",
}


def load_backend(folder: Path, name: str, tokenizer: Any, config: CrossEncoderConfig) -> Backend:
    """The back end that `config` names, with the model of `folder`.

    Args:
        name: of the model, for messages.
    """
    module, _, attribute = _CLASSES[config.backend].partition(":")
    return getattr(import_module(module), attribute)(folder, name, tokenizer, config)  # type: ignore[no-any-return]


def device_of(config: RerankerConfig) -> str:
    if config.backend != "torch":
        return "cpu"  # where exported models run
    return config.device or ("cuda" if torch.cuda.is_available() else "cpu")


def tokens_at_once(device: str) -> int:
    """Tokens per batch, padding included: a few keep a CPU busy, a GPU needs many."""
    return 4_096 if device == "cpu" else 65_536


class TorchBackend:
    """The checkpoint itself: BERT by `packed_bert`, every other architecture by transformers."""

    identity = ""

    def __init__(self, folder: Path, name: str, tokenizer: Any, config: CrossEncoderConfig) -> None:
        self.device, self.allow_pickle = device_of(config), config.allow_pickle
        precision = TORCH_DTYPES[config.precision]
        model_config = AutoConfig.from_pretrained(folder)
        load = self._load_packed if is_packable(model_config) else self._load_padded
        self._forward = load(folder, name, tokenizer, model_config, precision)

    @torch.inference_mode()
    def logits(self, batch: Batch) -> np.ndarray:
        return np.asarray(self._forward(batch).float().cpu().numpy())

    def _load_packed(self, folder: Path, name: str, tokenizer: Any, config: Any, precision: torch.dtype) -> _Forward:
        weights = _plain_weights(folder)
        try:
            state = {key: value.to(self.device) for key, value in weights.items()}
            model = PackedBert(config, state, precision)
        except KeyError:  # transformers also reads older layouts and names missing weights, but takes seconds to import
            state = load_whole(folder, name, self.allow_pickle).to(self.device).state_dict()
            model = PackedBert(config, state, precision)
        return lambda batch: model(Rows.pack(batch, self.device))

    def _load_padded(self, folder: Path, name: str, tokenizer: Any, config: Any, precision: torch.dtype) -> _Forward:
        from transformers import DataCollatorWithPadding

        model = load_whole(folder, name, self.allow_pickle).to(self.device).eval().to(precision)
        pad = DataCollatorWithPadding(with_pad_token(tokenizer, model))
        return lambda batch: model(**pad(list(batch)).to(self.device)).logits


def _plain_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint in one file, in float32; empty for any other layout."""
    path = folder / "model.safetensors"
    if not path.is_file():
        return {}
    return {key: value.float() for key, value in load_file(path).items()}


def load_whole(folder: Path, name: str, allow_pickle: bool = False) -> Any:
    """Load the classifier in float32. A missing weight is an error, because transformers would draw it at random."""
    from transformers import AutoModelForSequenceClassification  # takes seconds to import

    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=None if allow_pickle else True, output_loading_info=True
    )
    if report["missing_keys"]:
        raise RrarankError(
            f"{name}: not a trained reranker, its checkpoint lacks {shown(sorted(report['missing_keys']), 3)}; "
            "use an embedding model with --reranker bi-encoder"
        )
    return model


def with_pad_token(tokenizer: Any, model: Any) -> Any:
    """Set a padding token if there is none, as in many decoders; the model needs it to find the last real token."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return tokenizer
