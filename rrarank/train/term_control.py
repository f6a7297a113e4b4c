"""Token Selection and the Term Control Layer of RRA-BERT: a second score from query-like terms, in training only.

RRADistill (Choi et al., EMNLP 2024) selects the document tokens whose meaning is close to a query token and scores them
with a layer that inference drops. The paper publishes no more than this; the formulas and defaults here are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import nn
from torch.nn.functional import normalize

from rrarank.storage.yaml_settings import STRICT

if TYPE_CHECKING:
    from torch import Tensor

PADDING, CLS, QUERY, DOCUMENT, SPECIAL = range(5)  # the role of a token in `[CLS] query [SEP] document [SEP]`


@dataclass(frozen=True)
class SelectionConfig:
    """Which document tokens are selected; c_j is the greatest cosine of token j with a query token.

    Args:
        rule: `list`: c_j >= mean + deviations x standard deviation of c over all documents of the query's list, so
            that a document without matches may select nothing; `exact`: the tokens that equal a query token.
            The method's controls: `all`; `random`: as many as `list`, drawn at random; `none`.
        layer: hidden states that are compared: -1 the last, 0 the input embeddings, k after the k-th layer.
    """

    __pydantic_config__: ClassVar = STRICT

    rule: Literal["list", "exact", "all", "random", "none"] = "list"
    layer: int = -1
    deviations: float = 0.5


@dataclass(frozen=True)
class TermControlConfig:
    """The layer that reads `[CLS], query, selected tokens`, and the weight of its score in the loss.

    Args:
        weight: lambda of L = R(s_base) + lambda R(s_TCL).
        readout: `pool`: attention pooling over query and selected tokens; `cls`: the layer's output at [CLS].
    """

    __pydantic_config__: ClassVar = STRICT

    weight: float = 1.0
    readout: Literal["pool", "cls"] = "pool"
    selection: SelectionConfig = field(default_factory=SelectionConfig)


class TermControl(nn.Module):
    """One transformer layer of the encoder's width over [CLS], query and selected tokens, and a score of its own."""

    def __init__(self, config: TermControlConfig, width: int, heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.readout = config.readout
        self.layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True)
        self.attend = nn.Linear(width, 1)
        self.score = nn.Linear(width, 1)

    def forward(self, hidden: Tensor, roles: Tensor, selected: Tensor) -> Tensor:
        """(batch,) scores.

        Args:
            hidden: (batch, length, width).
            roles: (batch, length).
            selected: (batch, length), true for the selected document tokens.
        """
        terms = (roles == QUERY) | selected  # (batch, length)
        cls = roles == CLS  # one a row; with padding on the left it is not the first token
        states = self.layer(hidden, src_key_padding_mask=~(terms | cls))  # (batch, length, width)
        if self.readout == "cls":
            return self._score(states[cls])
        lowest = torch.finfo(torch.float32).min  # -inf would give NaN for a row without terms
        weights = self.attend(states).squeeze(-1).float().masked_fill(~terms, lowest).softmax(1)  # (batch, length)
        return self._score(torch.einsum("bl,blw->bw", weights.to(states.dtype), states))

    def _score(self, pooled: Tensor) -> Tensor:
        return self.score(pooled).squeeze(-1).float()  # type: ignore[no-any-return]


@torch.no_grad()
def closeness(hidden: Tensor, queries: Tensor, documents: Tensor) -> Tensor:
    """(batch, length): the greatest cosine of each document token with a query token; -inf where there is none.

    Args:
        hidden: (batch, length, width).
        queries: (batch, length), true for query tokens that may select.
        documents: (batch, length), true for document tokens that may be selected.
    """
    unit = normalize(hidden.detach().float(), dim=-1)
    with torch.autocast(hidden.device.type, enabled=False):  # half precision is too coarse for a threshold
        cosines = torch.einsum("bdw,bqw->bdq", unit, unit)  # (batch, length, length)
    cosines = cosines.masked_fill(~queries[:, None, :], -torch.inf)
    return cosines.max(-1).values.masked_fill(~documents, -torch.inf)


@torch.no_grad()
def select(
    config: SelectionConfig, close: Tensor, documents: Tensor, same: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """(documents of one list, length): which tokens are selected. No gradient passes.

    Args:
        close: (documents, length), from `closeness`.
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
    documents = documents & close.isfinite()  # without a query token that may select, no closeness is finite
    chosen = _above_mean(config, close, documents)
    return _as_many_at_random(chosen, documents, generator) if config.rule == "random" else chosen


def _above_mean(config: SelectionConfig, close: Tensor, documents: Tensor) -> Tensor:
    values = close[documents]
    if not len(values):
        return torch.zeros_like(documents)
    return documents & (close >= values.mean() + config.deviations * values.std(correction=0))


def _as_many_at_random(chosen: Tensor, documents: Tensor, generator: torch.Generator | None) -> Tensor:
    noise = torch.rand(documents.shape, generator=generator).to(documents.device).masked_fill(~documents, -1.0)
    ranks = noise.argsort(-1, descending=True).argsort(-1)
    return documents & (ranks < chosen.sum(-1, keepdim=True))
