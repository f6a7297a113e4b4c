"""BERT's forward pass for ranking, on packed rows: nothing is computed for padding, nor what [CLS] does not need.

The tokens of a batch lie in one (tokens, width) matrix, row after row. Linear layers see that matrix; attention sees
each row by itself. The classifier reads [CLS] alone, so the last layer computes keys and values of all tokens, and
everything else of [CLS] only. The arithmetic is transformers' own, in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import Tensor

from rrarank.engine import Batch

Affine = tuple[Tensor, Tensor]
"""Weight and bias of a linear layer or of a layer normalisation."""


@dataclass(frozen=True)
class Rows:
    """A packed batch.

    Args:
        tokens: (3, tokens) int64: ids, segments, positions.
        lengths: tokens of each row; they sum to `tokens`.
        ends: (rows + 1,) int32: where each row begins, and where the last one ends.
    """

    tokens: Tensor
    lengths: tuple[int, ...]
    ends: Tensor

    @classmethod
    def pack(cls, batch: Batch, device: str = "cpu") -> Rows:
        """Rows of `input_ids` and, where the tokenizer gives them, `token_type_ids`."""
        lengths = tuple(len(row["input_ids"]) for row in batch)
        ends = np.cumsum([0, *lengths], dtype=np.int32)
        tokens = np.zeros((3, ends[-1]), dtype=np.int64)
        for row, start, length in zip(batch, ends, lengths, strict=False):
            tokens[0, start : start + length] = row["input_ids"]
            tokens[1, start : start + length] = row.get("token_type_ids", 0)
            tokens[2, start : start + length] = np.arange(length)
        return cls(torch.from_numpy(tokens).to(device), lengths, torch.from_numpy(ends).to(device))


class PackedBert:
    """The logits of a `BertForSequenceClassification`, from its own weights.

    Args:
        model: in evaluation mode, on its device.
        precision: of the matrix products; sums over layers, layer normalisations and the rest stay in float32.
    """

    def __init__(self, model: Any, precision: torch.dtype = torch.float32) -> None:
        bert = model.bert
        linear = _Linear(precision)
        self.embeddings = bert.embeddings
        self.layers = [_Layer(layer, linear, model.config) for layer in bert.encoder.layer]
        self.head = (*linear.weights(bert.pooler.dense), *linear.weights(model.classifier))
        self.linear = linear

    def __call__(self, rows: Rows) -> Tensor:
        """(rows, labels) float32."""
        states = self._embed(rows)  # (tokens, width)
        for layer in self.layers[:-1]:
            states = layer(states, rows)
        return self._score(self.layers[-1].first_tokens(states, rows))

    def _score(self, first: Tensor) -> Tensor:
        """(rows, width) of [CLS] to (rows, labels)."""
        pool, pool_bias, classify, classify_bias = self.head
        pooled = torch.tanh(self.linear(first, (pool, pool_bias)))
        return self.linear(pooled, (classify, classify_bias)).float()

    def _embed(self, rows: Rows) -> Tensor:
        ids, segments, positions = rows.tokens
        e = self.embeddings
        states: Tensor = e.word_embeddings(ids) + e.token_type_embeddings(segments)
        states = e.LayerNorm(states + e.position_embeddings(positions))  # (tokens, width)
        return states


class _Linear:
    """Matrix products in one precision, from and to whatever the others need."""

    def __init__(self, precision: torch.dtype) -> None:
        self.precision = precision

    def weights(self, *layers: Any) -> Affine:
        """Several linear layers over the same input as one."""
        weight, bias = (torch.cat([getattr(layer, part).detach() for layer in layers]) for part in ("weight", "bias"))
        return weight.to(self.precision), bias.to(self.precision)

    def __call__(self, states: Tensor, weights: Affine) -> Tensor:
        return F.linear(states.to(self.precision), *weights)


class _Layer:
    def __init__(self, layer: Any, linear: _Linear, config: Any) -> None:
        attention = layer.attention
        q, k, v = (getattr(attention.self, name) for name in ("query", "key", "value"))
        self.linear, self.heads = linear, config.num_attention_heads
        self.qkv, self.q, self.kv = linear.weights(q, k, v), linear.weights(q), linear.weights(k, v)
        self.out, self.attention_norm = linear.weights(attention.output.dense), attention.output.LayerNorm
        self.up, self.down = linear.weights(layer.intermediate.dense), linear.weights(layer.output.dense)
        self.activation, self.norm = layer.intermediate.intermediate_act_fn, layer.output.LayerNorm

    def __call__(self, states: Tensor, rows: Rows) -> Tensor:
        """(tokens, width) to (tokens, width)."""
        q, k, v = self._heads(self.linear(states, self.qkv), 3)  # (tokens, heads, width / heads) each
        return self._after_attention(states, attend(q, k, v, rows))

    def first_tokens(self, states: Tensor, rows: Rows) -> Tensor:
        """(tokens, width) to (rows, width): what the layer makes of each row's first token."""
        first = states[rows.ends[:-1]]  # (rows, width)
        [q] = self._heads(self.linear(first, self.q), 1)
        k, v = self._heads(self.linear(states, self.kv), 2)
        return self._after_attention(first, attend(q, k, v, rows))

    def _heads(self, states: Tensor, parts: int) -> Sequence[Tensor]:
        return states.view(len(states), parts, self.heads, -1).unbind(1)

    def _after_attention(self, states: Tensor, attended: Tensor) -> Tensor:
        states = self.attention_norm(states + self.linear(attended.flatten(1), self.out))
        inner = self.activation(self.linear(states, self.up))
        return self.norm(states + self.linear(inner, self.down))  # type: ignore[no-any-return]


def attend(q: Tensor, k: Tensor, v: Tensor, rows: Rows) -> Tensor:
    """Softmax attention of each row to itself.

    Args:
        q: (tokens, heads, size), or (rows, heads, size): of each row's first token alone.
        k, v: (tokens, heads, size).

    Returns:
        as `q`.
    """
    return (_attend_cuda if q.is_cuda else _attend_runs)(q, k, v, rows)


def _attend_cuda(q: Tensor, k: Tensor, v: Tensor, rows: Rows) -> Tensor:
    """One kernel for rows of any lengths (torch.nn.attention.varlen: half precisions only)."""
    from torch.nn.attention.varlen import varlen_attn

    if q.dtype == torch.float32:
        return attend_jagged(q, k, v, rows)
    longest = max(rows.lengths)
    if len(q) == len(k):
        return varlen_attn(q, k, v, rows.ends, rows.ends, longest, longest)  # type: ignore[return-value]
    ones = torch.arange(len(q) + 1, dtype=torch.int32, device=q.device)
    return varlen_attn(q, k, v, ones, rows.ends, 1, longest)  # type: ignore[return-value]


def attend_jagged(q: Tensor, k: Tensor, v: Tensor, rows: Rows) -> Tensor:
    """The same by torch's jagged tensors, on any device and in any precision."""
    ends, longest = rows.ends.long(), max(rows.lengths)
    asking, asked = (ends, longest) if len(q) == len(k) else (torch.arange(len(q) + 1, device=q.device), 1)
    nested = torch.nested.nested_tensor_from_jagged
    queries = nested(q, asking, min_seqlen=1, max_seqlen=asked).transpose(1, 2)
    keys, values = (nested(part, ends, min_seqlen=1, max_seqlen=longest).transpose(1, 2) for part in (k, v))
    return F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).values()


def _attend_runs(q: Tensor, k: Tensor, v: Tensor, rows: Rows) -> Tensor:
    """Consecutive rows of equal length are one dense call; batches sorted by length have long runs of them."""
    out, row, token = torch.empty(q.shape, dtype=q.dtype), 0, 0
    whole = len(q) == len(k)
    for length, same in groupby(rows.lengths):
        count = len(list(same))
        tokens = slice(token, token + count * length)
        asking = tokens if whole else slice(row, row + count)
        queries, keys, values = (
            part.view(count, -1, *part.shape[1:]).transpose(1, 2) for part in (q[asking], k[tokens], v[tokens])
        )
        attended = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2)
        out[asking] = attended.reshape(-1, *q.shape[1:])
        row, token = row + count, token + count * length
    return out
