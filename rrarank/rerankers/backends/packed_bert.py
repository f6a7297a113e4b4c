"""BERT's forward pass for ranking on packed rows: no work for padding, and only what [CLS] needs in the last layer.

The tokens of a batch lie in one (tokens, width) matrix, row after row. Linear layers see that matrix; attention sees
each row separately. The classifier reads [CLS] only, so the last layer computes keys and values for all tokens, and
everything else for [CLS] only. The arithmetic is that of transformers, in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import Tensor

from rrarank.engine.batches import Batch

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rows:
    """A packed batch.

    Args:
        tokens: (3, tokens) int64: ids, segments, positions; on a CPU, padded to a multiple of 64.
        lengths: tokens of each row.
        ends: (rows + 1,) int32: the start of each row, and the end of the last.
    """

    tokens: Tensor
    lengths: tuple[int, ...]
    ends: Tensor

    @classmethod
    def pack(cls, batch: Batch, device: str = "cpu") -> Rows:
        """Pack rows of `input_ids` and, if the tokenizer gives them, `token_type_ids`."""
        lengths = tuple(len(row["input_ids"]) for row in batch)
        ends = np.cumsum([0, *lengths], dtype=np.int32)
        tokens = np.zeros((3, _round(ends[-1]) if device == "cpu" else ends[-1]), dtype=np.int64)
        for row, start, length in zip(batch, ends, lengths, strict=False):
            tokens[0, start : start + length] = row["input_ids"]
            tokens[1, start : start + length] = row.get("token_type_ids", 0)
            tokens[2, start : start + length] = np.arange(length)
        return cls(torch.from_numpy(tokens).to(device), lengths, torch.from_numpy(ends).to(device))


ROUND = 64


def _round(count: int) -> int:
    """Round up to a multiple of 64: oneDNN keeps about 100 KB of code per size it has seen, and never frees it."""
    return -(-count // ROUND) * ROUND


ACTIVATIONS: dict[str, Map] = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}
_AFTER: dict[str, Map] = {"": lambda states: states, **ACTIVATIONS}  # what follows a linear layer


def is_packable(config: Any) -> bool:
    """Whether this module computes what a model of this configuration does."""
    return (
        config.model_type == "bert"
        and config.hidden_act in ACTIVATIONS
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and not getattr(config, "is_decoder", False)
    )


class PackedBert:
    """The logits of a `BertForSequenceClassification`.

    Args:
        weights: the model's state, on its device, in float32.
        precision: of the matrix products; on a CPU, the last layer, residual sums, layer norms and the rest stay in
            float32.

    Raises:
        KeyError: a weight is missing.
    """

    def __init__(self, config: Any, weights: Mapping[str, Tensor], precision: torch.dtype = torch.float32) -> None:
        part = Part(weights, "", precision, config.layer_norm_eps)
        self.embeddings = Embeddings(part / "bert.embeddings")
        exact = replace(part, precision=torch.float32)  # the last layer is cheap and sensitive
        top = part if part.weights["classifier.weight"].is_cuda else exact  # the CUDA kernel needs half precision
        last = config.num_hidden_layers - 1
        self.layers = [Layer(part / f"bert.encoder.layer.{n}", config) for n in range(last)]
        self.last = _LastLayer(top / f"bert.encoder.layer.{last}", config)
        self.pooler, self.classifier = (exact / "bert.pooler.dense").linear(), (exact / "classifier").linear()

    def __call__(self, rows: Rows) -> Tensor:
        """(rows, labels) float32."""
        states = self.embeddings(rows)  # (tokens, width)
        for layer in self.layers:
            states = layer(states, rows)
        return self._score(self.last(states, rows))

    def _score(self, first: Tensor) -> Tensor:
        """(rows, width) of [CLS] -> (rows, labels)."""
        return self.classifier(torch.tanh(self.pooler(first))).float()


@dataclass(frozen=True)
class Part:
    """The weights below a name, and functions that compute with them."""

    weights: Mapping[str, Tensor]
    name: str
    precision: torch.dtype
    eps: float

    def __truediv__(self, name: str) -> Part:
        return replace(self, name=f"{self.name}{name}.")

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[f"{self.name}{name}"]

    def linear(self, *names: str, activation: str = "") -> Map:
        """One linear layer; several names are fused into one layer over the same input.

        Args:
            activation: a key of `ACTIVATIONS`, applied to the output; empty for none.
        """
        parts = [self / name for name in names] or [self]
        weight, bias = (torch.cat([part[kind] for part in parts]).to(self.precision) for kind in ("weight", "bias"))
        after = _AFTER[activation]
        return _onednn(weight, bias, activation) or (
            lambda states: after(F.linear(states.to(weight.dtype), weight, bias))
        )

    def norm(self) -> Map:
        weight, bias, eps = self["weight"], self["bias"], self.eps  # a reference to self would keep all weights
        return lambda states: F.layer_norm(states, weight.shape, weight, bias, eps)


def _onednn(weight: Tensor, bias: Tensor, activation: str) -> Map | None:
    """oneDNN's linear layer with weights reordered in advance, as torch's compiler calls it. A forward pass is 10 to
    20 % faster. In float32 a GELU within it takes less time than after it. None if this torch, device or precision does
    not offer it."""
    operations = torch.ops.mkldnn
    if weight.device.type != "cpu" or weight.dtype not in (torch.float32, torch.bfloat16):
        return None
    if not hasattr(operations, "_linear_pointwise"):
        return None
    reordered, precision = operations._reorder_linear_weight(weight), weight.dtype
    is_within = activation == "gelu" and precision == torch.float32
    within, after = ("gelu", _AFTER[""]) if is_within else ("none", _AFTER[activation])

    def linear(states: Tensor) -> Tensor:
        count = len(states)
        padded = F.pad(states, (0, 0, 0, _round(count) - count)) if count % ROUND else states
        product: Tensor = operations._linear_pointwise(padded.to(precision), reordered, bias, within, [], "none")
        return after(product[:count])

    return linear


class Embeddings:
    """A batch -> (tokens, width)."""

    def __init__(self, part: Part) -> None:
        self.tables = [(part / f"{kind}_embeddings")["weight"] for kind in ("word", "token_type", "position")]
        self.norm = (part / "LayerNorm").norm()

    def __call__(self, rows: Rows) -> Tensor:
        words, segments, positions = (
            F.embedding(kind, table) for kind, table in zip(rows.tokens, self.tables, strict=True)
        )
        return self.norm(words + segments + positions)


class Layer:
    """(tokens, width) -> (tokens, width)."""

    def __init__(self, part: Part, config: Any) -> None:
        self.heads = config.num_attention_heads
        self._read(part / "attention.self")
        out = part / "attention.output"
        self.out, self.attention_norm = (out / "dense").linear(), (out / "LayerNorm").norm()
        self.up = (part / "intermediate.dense").linear(activation=config.hidden_act)
        self.down = (part / "output.dense").linear()
        self.norm = (part / "output.LayerNorm").norm()

    def _read(self, part: Part) -> None:
        self.qkv = part.linear("query", "key", "value")

    def __call__(self, states: Tensor, rows: Rows) -> Tensor:
        q, k, v = self.split(self.qkv(states), 3)
        return self.after_attention(states, attend(q, k, v, rows))

    def split(self, states: Tensor, parts: int) -> Sequence[Tensor]:
        """(tokens, parts * width) -> (tokens, heads, width / heads) each."""
        return states.view(len(states), parts, self.heads, -1).unbind(1)

    def after_attention(self, states: Tensor, attended: Tensor) -> Tensor:
        states = self.attention_norm(states + self.out(attended.flatten(1)))
        return self.norm(states + self.down(self.up(states)))


class _LastLayer(Layer):
    """(tokens, width) -> (rows, width): the output for each row's first token."""

    def _read(self, part: Part) -> None:
        self.q, self.kv = part.linear("query"), part.linear("key", "value")

    def __call__(self, states: Tensor, rows: Rows) -> Tensor:
        first = states[rows.ends[:-1]]  # (rows, width)
        [q] = self.split(self.q(first), 1)
        k, v = self.split(self.kv(states), 2)
        return self.after_attention(first, attend(q, k, v, rows))


def attend(q: Tensor, k: Tensor, v: Tensor, rows: Rows) -> Tensor:
    """Softmax attention within each row; padding gets zeros.

    Args:
        q: (tokens, heads, size), or (rows, heads, size) for each row's first token only.
        k, v: (tokens, heads, size).

    Returns:
        the shape of `q`.
    """
    return (_attend_cuda if q.is_cuda else _attend_runs)(q, k, v, rows)


def _attend_cuda(q: Tensor, k: Tensor, v: Tensor, rows: Rows) -> Tensor:
    """One kernel for rows of any lengths (torch.nn.attention.varlen, half precision only)."""
    from torch.nn.attention.varlen import varlen_attn

    if q.dtype == torch.float32:
        return attend_jagged(q, k, v, rows)
    longest = max(rows.lengths)
    if len(q) == len(k):
        return varlen_attn(q, k, v, rows.ends, rows.ends, longest, longest)  # type: ignore[return-value]
    ones = torch.arange(len(q) + 1, dtype=torch.int32, device=q.device)
    return varlen_attn(q, k, v, ones, rows.ends, 1, longest)  # type: ignore[return-value]


def attend_jagged(q: Tensor, k: Tensor, v: Tensor, rows: Rows) -> Tensor:
    """The same with torch's jagged tensors, on any device and in any precision."""
    total, longest = sum(rows.lengths), max(rows.lengths)
    ends, ones = rows.ends.long(), torch.arange(len(rows.lengths) + 1, device=q.device)
    offsets, most = (ends, longest) if len(q) == len(k) else (ones, 1)
    nested = torch.nested.nested_tensor_from_jagged
    queries = nested(q[: offsets[-1]], offsets, min_seqlen=1, max_seqlen=most).transpose(1, 2)
    keys, values = (nested(part[:total], ends, min_seqlen=1, max_seqlen=longest).transpose(1, 2) for part in (k, v))
    attended = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).values()
    return F.pad(attended, (0, 0, 0, 0, 0, len(q) - len(attended)))


def _attend_runs(q: Tensor, k: Tensor, v: Tensor, rows: Rows) -> Tensor:
    """One dense call per run of rows of equal length; batches are sorted by length, so runs are long."""
    out, row, token = torch.zeros(q.shape, dtype=q.dtype), 0, 0
    whole = len(q) == len(k)
    for length, same in groupby(rows.lengths):
        count = len(list(same))
        tokens = slice(token, token + count * length)
        rows_of_q = tokens if whole else slice(row, row + count)
        queries, keys, values = (
            part.view(count, -1, *part.shape[1:]).transpose(1, 2) for part in (q[rows_of_q], k[tokens], v[tokens])
        )
        attended = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2)
        out[rows_of_q] = attended.reshape(-1, *q.shape[1:])
        row, token = row + count, token + count * length
    return out
