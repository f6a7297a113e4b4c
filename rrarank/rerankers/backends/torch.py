"""What runs a cross-encoder's forward pass: torch, ONNX Runtime or OpenVINO, each from ids to logits.

The same folder serves all: torch reads its weights, the others read what `python -m rrarank.export` put beside them.
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
    """Beyond the shared settings.

    Args:
        batch_tokens: most tokens scored at once, padding included; 0: 4,096 on a CPU, 65,536 on a GPU.
        compile: let torch compile what lies between BERT's attentions; needs a C++ compiler on a CPU.
    """

    batch_tokens: int = 0
    compile: bool = False


class Backend(Protocol):
    """Scores a batch; what else is in the batch does not change a row's logits."""

    identity: str  # what determines the logits beyond the checkpoint and the settings

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
    """Of a batch, padding included: a CPU is busy with few, a GPU wants many."""
    return 4_096 if device == "cpu" else 65_536


class TorchBackend:
    """The checkpoint itself. BERT has a forward pass of its own here, all else runs as transformers has it."""

    identity = ""

    def __init__(self, folder: Path, name: str, tokenizer: Any, config: CrossEncoderConfig) -> None:
        self.device, self.compile, self.allow_pickle = device_of(config), config.compile, config.allow_pickle
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
            model = PackedBert(config, state, precision, compiled=self.compile)
        except KeyError:  # transformers knows checkpoints of every age, and says what one lacks; but takes seconds
            state = load_whole(folder, name, self.allow_pickle).to(self.device).state_dict()
            model = PackedBert(config, state, precision, compiled=self.compile)
        return lambda batch: model(Rows.pack(batch, self.device))

    def _load_padded(self, folder: Path, name: str, tokenizer: Any, config: Any, precision: torch.dtype) -> _Forward:
        from transformers import DataCollatorWithPadding

        model = load_whole(folder, name, self.allow_pickle).to(self.device).eval().to(precision)
        pad = DataCollatorWithPadding(with_pad_token(tokenizer, model))
        if self.compile:
            model.compile(dynamic=True)
        return lambda batch: model(**pad(list(batch)).to(self.device)).logits


def _plain_weights(folder: Path) -> dict[str, Tensor]:
    """Of a checkpoint in one file, in float32; else none."""
    path = folder / "model.safetensors"
    if not path.is_file():
        return {}
    return {key: value.float() for key, value in load_file(path).items()}


def load_whole(folder: Path, name: str, allow_pickle: bool = False) -> Any:
    """The classifier in float32; a weight that the checkpoint lacks would be random, so it is an error."""
    from transformers import AutoModelForSequenceClassification  # takes seconds to import

    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=None if allow_pickle else True, output_loading_info=True
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
