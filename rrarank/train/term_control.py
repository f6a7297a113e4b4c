"""Token Selection and the Term Control Layer of RRA-BERT: a second score from query-like terms, in training only.

RRADistill (Choi et al., EMNLP 2024) selects the document tokens whose meaning is close to a query token and scores them
through a layer that inference drops. Only so much is published; the formulas and defaults here are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import nn
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from torch import Tensor

PADDING, CLS, QUERY, DOCUMENT, SPECIAL = range(5)  # the role of a token in `[CLS] query [SEP] document [SEP]`


@dataclass(frozen=True)
class SelectionConfig:
    """Which document tokens are selected. c_j is the greatest cosine of token j with a query token.

    Args:
        rule: `list`: c_j >= mean + deviations x standard deviation of c over all documents of the query's list, so
            that a document without matches may select nothing; `pair`: the same over the one document; `fixed`:
            c_j >= threshold; `top`: the `share` of each document's tokens with the highest c; `exact`: the tokens that
            equal a query token; `all`; `random`: as many as `list` would, drawn at random; `none`.
        layer: hidden states that are compared: -1 the last, 0 the input embeddings, k after the k-th layer.
        max_document_share: query tokens that occur in a greater share of the training passages select nothing.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # an unknown key is an error

    rule: Literal["list", "pair", "fixed", "top", "exact", "all", "random", "none"] = "list"
    layer: int = -1
    deviations: float = 0.5
    threshold: float = 0.5
    share: float = 0.2
    max_document_share: float = 1.0


@dataclass(frozen=True)
class TermControlConfig:
    """The layer that reads `[CLS], query, selected tokens` and its score's weight in the loss.

    Args:
        weight: lambda of L = R(s_base) + lambda R(s_TCL).
        readout: `pool`: attention pooling over query and selected tokens; `cls`: the layer's output at [CLS];
            `cls-no-residual`: its attention's output there, without the copy of [CLS] that the residual adds;
            `gate`: no layer, each of those tokens weighed by a sigmoid of its own.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # an unknown key is an error

    weight: float = 1.0
    readout: Literal["pool", "cls", "cls-no-residual", "gate"] = "pool"
    selection: SelectionConfig = field(default_factory=SelectionConfig)


class TermControl(nn.Module):
    """One transformer layer of the encoder's width over [CLS], query and selected tokens, and a score of its own."""

    def __init__(self, config: TermControlConfig, width: int, heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.readout = config.readout
        if self.readout != "gate":
            self.layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True)
        self.attend = nn.Linear(width, 1)
        self.score = nn.Linear(width, 1)

    def forward(self, hidden: Tensor, roles: Tensor, selected: Tensor) -> Tensor:
        """(batch,) scores.

        Args:
            hidden: (batch, length, width).
            roles: (batch, length).
            selected: (batch, length), true for document tokens that take part.
        """
        terms = (roles == QUERY) | selected  # (batch, length)
        if self.readout == "gate":
            gates = torch.sigmoid(self.attend(hidden)) * terms[..., None]  # (batch, length, 1)
            pooled = (gates * hidden).sum(1) / gates.sum(1).clamp(min=1e-6)
            return self._score(pooled)
        cls = roles == CLS  # one a row, and not the first where padding is on the left
        hidden_from = ~(terms | cls)
        if self.readout == "cls-no-residual":
            attended, _ = self.layer.self_attn(hidden[cls][:, None], hidden, hidden, key_padding_mask=hidden_from)
            return self._score(attended[:, 0])
        states = self.layer(hidden, src_key_padding_mask=hidden_from)  # (batch, length, width)
        if self.readout == "cls":
            return self._score(states[cls])
        lowest = torch.finfo(torch.float32).min  # not -inf: a row without a term would be NaN
        weights = self.attend(states).squeeze(-1).float().masked_fill(~terms, lowest).softmax(1)  # (batch, length)
        return self._score(torch.einsum("bl,blw->bw", weights.to(states.dtype), states))

    def _score(self, pooled: Tensor) -> Tensor:
        return self.score(pooled).squeeze(-1).float()  # type: ignore[no-any-return]


@torch.no_grad()
def closeness(hidden: Tensor, queries: Tensor, documents: Tensor) -> Tensor:
    """(batch, length): each document token's greatest cosine with a query token; -inf elsewhere, and without any.

    Args:
        hidden: (batch, length, width).
        queries: (batch, length), true for query tokens that may select.
        documents: (batch, length), true for document tokens that may be selected.
    """
    unit = normalize(hidden.detach().float(), dim=-1)
    with torch.autocast(hidden.device.type, enabled=False):  # three digits would not do for a threshold
        cosines = torch.einsum("bdw,bqw->bdq", unit, unit)  # (batch, length, length)
    cosines = cosines.masked_fill(~queries[:, None, :], -torch.inf)
    return cosines.max(-1).values.masked_fill(~documents, -torch.inf)


@torch.no_grad()
def select(
    config: SelectionConfig, close: Tensor, documents: Tensor, same: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """(documents of one list, length): which tokens are selected. No gradient passes.

    Args:
        close: (documents, length), by `closeness`.
        documents: (documents, length), true for tokens that may be selected.
        same: (documents, length), true for tokens that equal a query token that may select.
        generator: draws for `random`.
    """
    if config.rule == "all":
        return documents
    if config.rule == "none":
        return torch.zeros_like(documents)
    if config.rule == "exact":
        return same & documents
    documents = documents & close.isfinite()  # where no query token may select, nothing is close to one
    if config.rule == "fixed":
        return documents & (close >= config.threshold)
    if config.rule == "pair":
        return torch.stack([_above_mean(config, c, d) for c, d in zip(close, documents, strict=True)])
    if config.rule == "top":
        return torch.stack([_top(config.share, c, d) for c, d in zip(close, documents, strict=True)])
    chosen = _above_mean(config, close, documents)
    return _as_many_at_random(chosen, documents, generator) if config.rule == "random" else chosen


def _above_mean(config: SelectionConfig, close: Tensor, documents: Tensor) -> Tensor:
    values = close[documents]
    if not len(values):
        return torch.zeros_like(documents)
    return documents & (close >= values.mean() + config.deviations * values.std(correction=0))


def _top(share: float, close: Tensor, documents: Tensor) -> Tensor:
    """The given share of one document's tokens, at least one if it has any; (length,)."""
    count = min(int(documents.sum()), max(1, round(share * int(documents.sum()))))
    places = close.masked_fill(~documents, -torch.inf).topk(count).indices
    return torch.zeros_like(documents).index_fill(0, places, True)


def _as_many_at_random(chosen: Tensor, documents: Tensor, generator: torch.Generator | None) -> Tensor:
    noise = torch.rand(documents.shape, generator=generator).to(documents.device).masked_fill(~documents, -1.0)
    ranks = noise.argsort(-1, descending=True).argsort(-1)
    return documents & (ranks < chosen.sum(-1, keepdim=True))
