"""Losses over one list: pure functions of its scores and its label levels, both (n,); a scalar each.

A level is higher for a better document; 0 means missing. `margin-mse` and `listnet` learn from the teacher's scores
where the set has them, and else from the levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, logsigmoid, softmax, softplus

from rrarank.storage.yaml_settings import STRICT

if TYPE_CHECKING:
    from torch import Tensor

Loss = Callable[["Tensor", "Tensor"], "Tensor"]


def ranknet(
    scores: Tensor, levels: Tensor, *, mu: float = 1.0, temperature: float = 1.0, discount: bool = False, skip: int = 0
) -> Tensor:
    """log(1 + exp(s_j - s_i)) where i is above j (Burges et al., ICML 2005), as `sum(ranknet_parts(...))`.

    Args:
        mu: weight of the pairs listed > missing, whose mean is added to that of the pairs listed > listed.
        temperature: divides the scores.
        discount: weigh a pair by |1/log2(1+rank_i) - 1/log2(1+rank_j)| of the teacher's ranks, from 1.
        skip: leave out pairs of listed documents with no more than this many ranks between them (1: neighbours).
    """
    among, missing = ranknet_parts(scores, levels, temperature=temperature, discount=discount, skip=skip)
    return among + mu * missing


def ranknet_parts(
    scores: Tensor, levels: Tensor, *, temperature: float = 1.0, discount: bool = False, skip: int = 0
) -> tuple[Tensor, Tensor]:
    """The mean over pairs listed > listed, and that over pairs listed > missing; 0 where there are none."""
    losses = softplus((scores[None, :] - scores[:, None]) / temperature)  # (n, n): row above column
    above = levels[:, None] > levels[None, :]
    ranks = 1 + (levels[None, :] > levels[:, None]).sum(1)  # (n,): tied ones share the best rank
    weights = _discount_gaps(ranks) if discount else torch.ones_like(losses)
    missing = above & (levels == 0)[None, :]
    listed = above & ~missing & ((ranks[None, :] - ranks[:, None]) > skip)
    return _mean(losses, weights, listed), _mean(losses, weights, missing)


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


def listmle(scores: Tensor, levels: Tensor) -> Tensor:
    """-log of the Plackett-Luce likelihood of the teacher's order (Xia et al., ICML 2008), a document; each document
    competes with those of lower levels, not with those of its own."""
    rivals = levels[None, :] < levels[:, None]  # (n, n): of the row's document
    among = rivals | torch.eye(len(levels), dtype=torch.bool, device=levels.device)
    return (torch.logsumexp(scores.masked_fill(~among, -torch.inf), 1) - scores).mean()


def lambda_loss(scores: Tensor, levels: Tensor) -> Tensor:
    """RankNet in bits, each pair weighed by what swapping it would change in NDCG (LambdaRank, in LambdaLoss's terms:
    Wang et al., CIKM 2018). Gains are 2^(level / best level) - 1, as levels here may reach the length of the list."""
    gains = 2 ** (levels / levels.max().clamp(min=1)) - 1
    ranks = 1 + scores.detach().argsort(descending=True, stable=True).argsort()  # (n,): by our scores
    ideal = (gains.sort(descending=True).values / torch.log2(torch.arange(len(gains), device=gains.device) + 2)).sum()
    weights = (gains[:, None] - gains[None, :]).abs() * _discount_gaps(ranks) / ideal.clamp(min=1e-9)
    above = levels[:, None] > levels[None, :]
    return -(weights * logsigmoid(scores[:, None] - scores[None, :]))[above].sum() / torch.log(torch.tensor(2.0))


def adr_mse(scores: Tensor, levels: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Squared error of the approximate rank, discounted by the teacher's (ADR-MSE: Schlatt et al., Rank-DistiLLM, ECIR
    2025): mean of (rank - approximate rank)^2 / log2(rank + 1). Tied documents share their mean rank."""
    above = (levels[None, :] > levels[:, None]).sum(1)
    tied = (levels[None, :] == levels[:, None]).sum(1)
    ranks = above + (tied + 1) / 2  # (n,)
    beaten = torch.sigmoid((scores[None, :] - scores[:, None]) / temperature)  # (n, n): 1/2 on the diagonal
    approximate = beaten.sum(1) + 0.5
    return ((ranks - approximate) ** 2 / torch.log2(ranks + 1)).mean()


def bce(scores: Tensor, levels: Tensor) -> Tensor:
    """Binary cross-entropy of relevant (level > 0) or not, each document by itself."""
    return binary_cross_entropy_with_logits(scores, (levels > 0).to(scores.dtype))


LOSSES: dict[str, Callable[..., Tensor]] = {
    "ranknet": ranknet,
    "infonce": infonce,
    "margin-mse": margin_mse,
    "listnet": listnet,
    "listmle": listmle,
    "lambda": lambda_loss,
    "adr-mse": adr_mse,
    "bce": bce,
}
BY_SCORES = ("margin-mse", "listnet")  # of the teacher, where the set has them


@dataclass(frozen=True)
class LossConfig:
    """One of `LOSSES`, with its own options.

    Args:
        options: keyword arguments of that loss, such as `mu` of ranknet.
        scale: multiplies the teacher's scores; 20 suits cosines, as in sentence-transformers' losses.
        infonce: weight of InfoNCE added to it.
    """

    __pydantic_config__: ClassVar = STRICT

    name: Literal["ranknet", "infonce", "margin-mse", "listnet", "listmle", "lambda", "adr-mse", "bce"] = "ranknet"
    options: Mapping[str, float] = field(default_factory=dict)
    scale: float = 1.0
    infonce: float = 0.0


def _discount_gaps(ranks: Tensor) -> Tensor:
    discounts = 1 / torch.log2(ranks + 1)  # DCG's (Järvelin & Kekäläinen, 2002)
    return (discounts[:, None] - discounts[None, :]).abs()


def _mean(losses: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    """Weighted mean of the chosen ones; a 0 that still has a gradient where none is chosen."""
    weights = weights * chosen
    return (losses * weights).sum() / weights.sum().clamp(min=1e-9)
