"""BERT's forward pass for ranking on padded rows, in a form that can be exported to ONNX."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import Tensor, nn


class PaddedBert(nn.Module):
    """The logits of a `BertForSequenceClassification`. Its modules are shared, not copied.

    As in `packed_bert`, the last layer computes keys and values for all tokens, and everything else for [CLS] only.
    """

    def __init__(self, model: Any) -> None:  # transformers is untyped
        super().__init__()
        self.embeddings, self.pooler, self.classifier = model.bert.embeddings, model.bert.pooler.dense, model.classifier
        *lower, last = (_Layer(layer, model.config.num_attention_heads) for layer in model.bert.encoder.layer)
        self.layers, self.last = nn.ModuleList(lower), last

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(rows, length) each -> (rows, labels)."""
        states = _embed(self.embeddings, input_ids, token_type_ids)  # (rows, length, width)
        mask = _added(attention_mask, states)
        for layer in self.layers:
            states = layer(states, states, mask)
        first = self.last(states[:, :1], states, mask)[:, 0]  # (rows, width)
        logits: Tensor = self.classifier(torch.tanh(self.pooler(first)))
        return logits


class PaddedHead(nn.Module):
    """What the head of a `BertForMaskedLM` compares with the vocabulary: a state per token. Its modules are shared."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.embeddings, self.transform = model.bert.embeddings, model.cls.predictions.transform
        layers = model.bert.encoder.layer
        self.layers = nn.ModuleList(_Layer(layer, model.config.num_attention_heads) for layer in layers)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(rows, length) each -> (rows, length, width)."""
        states = _embed(self.embeddings, input_ids, torch.zeros_like(input_ids))  # (rows, length, width)
        mask = _added(attention_mask, states)
        for layer in self.layers:
            states = layer(states, states, mask)
        found: Tensor = self.transform(states)
        return found


def _embed(e: Any, ids: Tensor, segments: Tensor) -> Tensor:
    positions = e.position_embeddings.weight[: ids.shape[1]]  # (length, width)
    states: Tensor = e.LayerNorm(e.word_embeddings(ids) + e.token_type_embeddings(segments) + positions)
    return states


def _added(mask: Tensor, states: Tensor) -> Tensor:
    """What is added to the attention logits, (rows, 1, 1, length)."""
    return (1.0 - mask[:, None, None, :].to(states.dtype)) * -1e9


class _Layer(nn.Module):
    def __init__(self, layer: Any, heads: int) -> None:
        super().__init__()
        attention, self.heads = layer.attention, heads
        self.query, self.key, self.value = (getattr(attention.self, name) for name in ("query", "key", "value"))
        self.out, self.attention_norm = attention.output.dense, attention.output.LayerNorm
        self.up, self.activation = layer.intermediate.dense, layer.intermediate.intermediate_act_fn
        self.down, self.norm = layer.output.dense, layer.output.LayerNorm

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """(rows, queries, width) attend to (rows, length, width) -> (rows, queries, width)."""
        q, k, v = self._heads(self.query(queries)), self._heads(self.key(keys)), self._heads(self.value(keys))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        states = self.attention_norm(queries + self.out(attended))
        output: Tensor = self.norm(states + self.down(self.activation(self.up(states))))
        return output

    def _heads(self, states: Tensor) -> Tensor:
        """(rows, tokens, width) -> (rows, heads, tokens, width / heads)."""
        return states.view(*states.shape[:2], self.heads, -1).transpose(1, 2)
