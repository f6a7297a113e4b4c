"""Losses over one list: pure functions of its scores and its label levels, both (n,); a scalar each.

A level is higher for a better document; 0 means missing. `margin-mse` and `listnet` learn from the teacher's scores
if the set has them, else from the levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, softmax, softplus

from rrarank.storage.yaml_settings import STRICT

if TYPE_CHECKING:
    from torch import Tensor

Loss = Callable[["Tensor", "Tensor"], "Tensor"]


def ranknet(scores: Tensor, levels: Tensor, *, mu: float = 1.0) -> Tensor:
    """log(1 + exp(s_j - s_i)) where i is above j (Burges et al., ICML 2005).

    Args:
        mu: weight of the mean over pairs listed > missing, which is added to the mean over pairs listed > listed.
    """
    among, missing = ranknet_parts(scores, levels)
    return among + mu * missing


def ranknet_parts(scores: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over pairs listed > listed, and that over pairs listed > missing; 0 where there are none."""
    losses = softplus(scores[None, :] - scores[:, None])  # (n, n): row above column
    above = levels[:, None] > levels[None, :]
    missing = above & (levels == 0)[None, :]
    return _mean(losses, above & ~missing), _mean(losses, missing)


def infonce(scores: Tensor, levels: Tensor) -> Tensor:
    """-log of a best document's share of the softmax over itself and all that are below the best (Oord et al., 2018);
    the mean where several share the best level."""
    best = levels == levels.max()
    below = torch.logsumexp(scores[~best], 0)  # -inf if nothing is below
    return (torch.logaddexp(scores[best], below) - scores[best]).mean()


def margin_mse(scores: Tensor, targets: Tensor) -> Tensor:
    """Squared error of each pair's margin against the teacher's (Hofstätter et al., 2020), over all pairs.

    The mean of (d_i - d_j)^2 over the pairs i < j, d the difference of score and target, is twice d's variance.
    """
    return 2 * (scores - targets).var() if len(scores) > 1 else scores.sum() * 0


def listnet(scores: Tensor, targets: Tensor) -> Tensor:
    """KL divergence from the softmax of the teacher's scores to that of ours (ListNet's top-one probabilities, Cao et
    al., ICML 2007, less the teacher's constant entropy)."""
    wanted = softmax(targets, 0)
    return (wanted * (log_softmax(targets, 0) - log_softmax(scores, 0))).sum()


def bce(scores: Tensor, levels: Tensor) -> Tensor:
    """Binary cross-entropy of relevant (level > 0) or not, each document by itself."""
    return binary_cross_entropy_with_logits(scores, (levels > 0).to(scores.dtype))


LOSSES: dict[str, Callable[..., Tensor]] = {
    "ranknet": ranknet,
    "infonce": infonce,
    "margin-mse": margin_mse,
    "listnet": listnet,
    "bce": bce,
}
BY_SCORES = ("margin-mse", "listnet")  # learn from the teacher's scores


@dataclass(frozen=True)
class LossConfig:
    """One of `LOSSES`, with its own options.

    Args:
        options: keyword arguments of that loss, such as `mu` of ranknet.
        scale: multiplies the teacher's scores; 20 suits cosines, as in sentence-transformers' losses.
        infonce: weight of InfoNCE added to it.
    """

    __pydantic_config__: ClassVar = STRICT

    name: Literal["ranknet", "infonce", "margin-mse", "listnet", "bce"] = "ranknet"
    options: Mapping[str, float] = field(default_factory=dict)
    scale: float = 1.0
    infonce: float = 0.0


def _mean(losses: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen losses; without any, a 0 that still has a gradient."""
    return (losses * chosen).sum() / chosen.sum().clamp(min=1)
