"""torch as a cross-encoder's back end."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from rrarank.engine.batches import Batch
from rrarank.errors import RrarankError, shown
from rrarank.rerankers.backends.base import TORCH_PRECISIONS, CrossEncoderConfig, device_of
from rrarank.rerankers.backends.packed_bert import PackedBert, Rows, is_packable
from rrarank.rerankers.backends.steady import SteadyBatches
from rrarank.rerankers.checkpoints import Checkpoint
from rrarank.rerankers.conversions import converted_config, read_weights, xlm_roberta_weights
from rrarank.rerankers.pairs import PairEncoder
from rrarank.rerankers.uses import other_use

TORCH_DTYPES = dict(zip(TORCH_PRECISIONS, (torch.float32, torch.bfloat16, torch.float16), strict=True))
PROBES = ("what is a cat", ["tea", "the cat sat on a mat", "a long document about cats and dogs " * 3])
_Forward = Callable[[Batch], Tensor]


class TorchBackend:
    """The checkpoint itself: BERT by `packed_bert`, every other architecture by transformers."""

    identity = ""

    def __init__(self, checkpoint: Checkpoint, config: CrossEncoderConfig) -> None:
        self.device, self.allow_pickle = device_of(config), config.allow_pickle
        load = self._load_packed if is_packable(checkpoint.config) else self._load_padded
        self._forward = load(checkpoint, TORCH_DTYPES[config.precision])

    @torch.inference_mode()
    def logits(self, batch: Batch) -> np.ndarray:
        return np.asarray(self._forward(batch).float().cpu().numpy())

    def _load_packed(self, checkpoint: Checkpoint, precision: torch.dtype) -> _Forward:
        weights = plain_weights(checkpoint.folder)
        try:
            state = {key: value.to(self.device) for key, value in weights.items()}
            model = PackedBert(checkpoint.config, state, precision)
        except KeyError:  # transformers also reads older layouts and names missing weights, but takes seconds to import
            state = load_whole(checkpoint.folder, checkpoint.name, self.allow_pickle).to(self.device).state_dict()
            model = PackedBert(checkpoint.config, state, precision)
        return lambda batch: model(Rows.pack(batch, self.device))

    def _load_padded(self, checkpoint: Checkpoint, precision: torch.dtype) -> _Forward:
        model = load_whole(checkpoint.folder, checkpoint.name, self.allow_pickle).to(self.device).eval()
        takes = signature(model.forward).parameters
        tokenizer = checkpoint.tokenizer
        probes = PairEncoder(tokenizer, checkpoint.longest(0))(*PROBES)
        names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in takes]
        names = [name for name in names if name != "token_type_ids" or name in probes[0]]
        with torch.inference_mode():
            batches = SteadyBatches(
                lambda inputs: model(**inputs).logits,
                model.config,
                tokenizer,
                names,
                self.device,
                checkpoint.name,
                probes,
            )
        model.to(precision)
        return batches


def plain_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint in one file, in float32; empty for any other layout."""
    path = folder / "model.safetensors"
    if not path.is_file():
        return {}
    return {key: value.float() for key, value in load_file(path).items()}


def load_whole(folder: Path, name: str, allow_pickle: bool = False) -> Any:
    """Load the classifier in float32. A missing weight is an error, because transformers would draw it at random."""
    from transformers import AutoModelForSequenceClassification  # takes seconds to import

    model, lacking = load_checkpoint(AutoModelForSequenceClassification, folder, allow_pickle)
    if lacking:
        raise RrarankError(
            f"{name}: not a trained reranker, its checkpoint lacks {shown(lacking, 3)}; {other_use(folder)}"
        )
    return model


def load_checkpoint(kind: Any, folder: Path, allow_pickle: bool) -> tuple[Any, list[str]]:
    """The model in float32, and the weights that its checkpoint lacks, which transformers drew at random.

    Args:
        kind: a class of transformers' such as `AutoModelForMaskedLM`.
    """
    if config := converted_config(folder):
        return _load_renamed(config, folder)
    model, report = kind.from_pretrained(
        folder,
        dtype=torch.float32,
        use_safetensors=None if allow_pickle else True,
        output_loading_info=True,
        trust_remote_code=False,
    )
    return model, sorted(report["missing_keys"])


def _load_renamed(config: Any, folder: Path) -> tuple[Any, list[str]]:
    """A classifier that comes with code of its own, as the XLM-RoBERTa that it is."""
    from transformers import XLMRobertaForSequenceClassification

    model = XLMRobertaForSequenceClassification(config)
    report = model.load_state_dict(xlm_roberta_weights(read_weights(folder)), strict=False)
    return model, sorted(report.missing_keys)


def with_pad_token(tokenizer: Any, model: Any) -> Any:
    """Set a padding token if there is none, as in many decoders; the model needs it to find the last real token."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return tokenizer
