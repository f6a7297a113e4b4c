"""Causal language models that answer a prompt with one token, or have a head behind each layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rrarank.engine.batches import Batch
from rrarank.errors import RrarankError, shown
from rrarank.rerankers.backends.base import CrossEncoderConfig, device_of
from rrarank.rerankers.backends.torch import TORCH_DTYPES, load_checkpoint
from rrarank.rerankers.checkpoints import Checkpoint
from rrarank.rerankers.conversions import layerwise, read_weights
from rrarank.rerankers.decoders import LastStates
from rrarank.rerankers.formats import Format


class CausalBackend:
    """The score is read off the last token of the prompt. What a query's prompts share is computed once.

    Args:
        body: a decoder without a head.
        head: (1 or 2, width): the rows of the answers, or of a head of its own. Of two, the first is subtracted.
    """

    identity = ""

    def __init__(self, body: Any, head: Tensor, config: CrossEncoderConfig, softcap: float = 0.0) -> None:
        device, precision = device_of(config), TORCH_DTYPES[config.precision]
        self._states = LastStates(body.to(device, precision).eval(), device)
        self._head, self._softcap = head.to(device, precision), softcap

    @torch.inference_mode()
    def logits(self, batch: Batch) -> np.ndarray:
        logits = (self._states(batch) @ self._head.T).float()  # (batch, 1 or 2)
        if self._softcap:
            logits = self._softcap * torch.tanh(logits / self._softcap)
        scores = logits[:, -1:] - logits[:, :-1].sum(1, keepdim=True)
        return np.asarray(scores.cpu().numpy())  # (batch, 1)


def load_causal(checkpoint: Checkpoint, chosen: Format, config: CrossEncoderConfig) -> CausalBackend:
    """The back end of a `…ForCausalLM` whose answers are the format's."""
    from transformers import AutoModelForCausalLM

    model, lacking = load_checkpoint(AutoModelForCausalLM, checkpoint.folder, config.allow_pickle)
    if lacking:
        raise RrarankError(f"{checkpoint.name}: its checkpoint lacks {shown(lacking, 3)}; copy it again")
    answers = [_only_token(checkpoint, text) for text in (chosen.no, chosen.yes) if text]
    head = model.get_output_embeddings().weight.detach()[answers]
    return CausalBackend(model.base_model, head, config, model.config.get_text_config().to_dict().get(_SOFTCAP) or 0.0)


_SOFTCAP = "final_logit_softcapping"  # Gemma 2 bends its logits


def load_layerwise(checkpoint: Checkpoint, config: CrossEncoderConfig) -> CausalBackend:
    """The back end of a model with a head behind each upper layer, cut off where `config` says."""
    from transformers import GraniteModel

    part = layerwise(checkpoint.config, read_weights(checkpoint.folder), config.cutoff_layers, checkpoint.name)
    body = GraniteModel(part.config)
    body.load_state_dict(part.body)
    return CausalBackend(body, part.head, config)


def _only_token(checkpoint: Checkpoint, text: str) -> int:
    ids = checkpoint.tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise RrarankError(
            f"{checkpoint.name}: its tokenizer splits the answer {text!r} into {len(ids)} tokens, so it was not "
            "trained to give it; give another --option format=…, or use --reranker gpt"
        )
    return int(ids[0])
