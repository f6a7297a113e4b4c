"""Masked language models for ranking: each row's largest logit of some terms of the vocabulary.

BERT runs on packed rows, as in `packed_bert`, and computes the logits of those terms only; all else runs as
transformers has it, on padded rows and over the whole vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rrarank.engine.reranker import RerankerConfig
from rrarank.errors import RrarankError, shown
from rrarank.rerankers.backends.base import LanguageHead, TokenIds, Wanted, by_row, device_of
from rrarank.rerankers.backends.packed_bert import Embeddings, Layer, Part, Rows, is_packable
from rrarank.rerankers.backends.torch import load_checkpoint, plain_weights
from rrarank.rerankers.checkpoints import Checkpoint


def load_language_head(checkpoint: Checkpoint, precision: torch.dtype, config: RerankerConfig) -> LanguageHead:
    """The model of the checkpoint on its device."""
    device, folder, name = device_of(config), checkpoint.folder, checkpoint.name
    if not is_packable(checkpoint.config):
        return WholeHead(load_masked_lm(folder, name, config.allow_pickle).to(device), precision)
    try:
        weights = {key: value.to(device) for key, value in plain_weights(folder).items()}
        return BertHead(checkpoint.config, weights, precision)
    except KeyError:  # transformers also reads older layouts and names missing weights, but takes seconds to import
        state = load_masked_lm(folder, name, config.allow_pickle).to(device).state_dict()
        return BertHead(checkpoint.config, state, precision)


class _TorchHead(ABC):
    """A head on torch, whose results are brought from its device together."""

    identity = ""

    @torch.inference_mode()
    def largest(self, rows: Sequence[TokenIds], terms: Sequence[Wanted]) -> list[np.ndarray]:
        found = self._largest(rows, terms)
        ends = np.cumsum([len(logits) for logits in found])
        return np.split(torch.cat(found).cpu().numpy(), ends[:-1])

    @abstractmethod
    def _largest(self, rows: Sequence[TokenIds], terms: Sequence[Wanted]) -> list[Tensor]: ...


class BertHead(_TorchHead):
    """A `BertForMaskedLM`. The precision is that of BERT's own matrix products; the head's stay in float32.

    Raises:
        KeyError: a weight is not there.
    """

    def __init__(self, config: Any, weights: Mapping[str, Tensor], precision: torch.dtype = torch.float32) -> None:
        part = Part(weights, "", precision, config.layer_norm_eps)
        self.embeddings = Embeddings(part / "bert.embeddings")
        self.layers = [Layer(part / f"bert.encoder.layer.{n}", config) for n in range(config.num_hidden_layers)]
        head = Part(weights, "cls.predictions.", torch.float32, config.layer_norm_eps)
        self.dense = (head / "transform.dense").linear(activation=config.hidden_act)
        self.norm = (head / "transform.LayerNorm").norm()
        tied = weights["bert.embeddings.word_embeddings.weight"]
        self.words = weights.get("cls.predictions.decoder.weight", tied).float()  # (vocabulary, width)
        self.bias = weights["cls.predictions.bias"].float()  # (vocabulary,)

    def _largest(self, rows: Sequence[TokenIds], terms: Sequence[Wanted]) -> list[Tensor]:
        packed = Rows.pack([{"input_ids": ids} for ids in rows], str(self.words.device))
        states = self.embeddings(packed)  # (tokens, width)
        for layer in self.layers:
            states = layer(states, packed)
        states = self.norm(self.dense(states.float()))
        each = torch.split(states[: sum(packed.lengths)], list(packed.lengths))
        pairs = zip(each, by_row(terms, self._vocabulary), strict=True)
        # words first: over the whole vocabulary this is a third faster than (own @ words.T)
        return [(words @ own.T).amax(1) + bias for own, (words, bias) in pairs]

    def _vocabulary(self, terms: Wanted) -> tuple[Tensor, Tensor]:
        """(terms, width), (terms,)."""
        if terms is None:
            return self.words, self.bias
        chosen = torch.from_numpy(terms).to(self.words.device)
        return self.words[chosen], self.bias[chosen]


class WholeHead(_TorchHead):
    """Any `…ForMaskedLM` of transformers."""

    def __init__(self, model: Any, precision: torch.dtype) -> None:
        self.model = model.eval().to(precision)

    def _largest(self, rows: Sequence[TokenIds], terms: Sequence[Wanted]) -> list[Tensor]:
        longest, device = max(len(row) for row in rows), self.model.device
        ids = torch.full((len(rows), longest), self.model.config.pad_token_id or 0, device=device)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)], mask[place, : len(row)] = torch.as_tensor(row, device=device), 1
        logits = self.model(input_ids=ids, attention_mask=mask).logits.float()  # (rows, longest, vocabulary)
        each = (own[: len(row)].amax(0) for own, row in zip(logits, rows, strict=True))
        return [
            found if wanted is None else found[torch.from_numpy(wanted)]
            for found, wanted in zip(each, terms, strict=True)
        ]


def load_masked_lm(folder: Path, name: str, allow_pickle: bool = False) -> Any:
    """The masked language model in float32; a weight that the checkpoint lacks would be random, so it is an error."""
    from transformers import AutoModelForMaskedLM  # takes seconds to import

    model, lacking = load_checkpoint(AutoModelForMaskedLM, folder, allow_pickle)
    if lacking:
        raise RrarankError(f"{name}: not a sparse encoder, its checkpoint lacks {shown(lacking, 3)}")
    return model
