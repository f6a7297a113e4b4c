"""How alike two rankers score the same lists: what a faster back end is judged by before it is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from rrarank.errors import RrarankError

MIN_TAU = 0.95  # below, more than one pair in forty has changed places: (1 - .95) / 2
MIN_OVERLAP = 0.9  # one document of ten, on average
MAX_DIFFERENCE = 1e-3  # of scores that are said to be the same: sums in another order stay below a tenth of it
CUTOFF = 10

Lists = Sequence[Sequence[float]]
"""One list of scores a query, the same documents in the same order on both sides."""


@dataclass(frozen=True)
class Agreement:
    """Over queries: the largest difference of a score, mean Kendall tau-b, mean share of the top 10 in common."""

    difference: float
    tau: float
    overlap: float

    def __str__(self) -> str:
        return (
            f"largest |Δscore| {self.difference:.1e}, mean Kendall tau {self.tau:.3f}, "
            f"top-{CUTOFF} overlap {self.overlap:.1%}"
        )

    def lacks(self, *, same_scores: bool) -> str:
        """What it falls short of; empty if it is good enough.

        Args:
            same_scores: only the order of sums differs, so that scores themselves must agree.
        """
        limits = [
            (self.tau >= MIN_TAU, f"mean Kendall tau {MIN_TAU}"),
            (self.overlap >= MIN_OVERLAP, f"top-{CUTOFF} overlap {MIN_OVERLAP:.0%}"),
            (self.difference <= MAX_DIFFERENCE or not same_scores, f"|Δscore| at most {MAX_DIFFERENCE:g}"),
        ]
        return ", ".join(limit for kept, limit in limits if not kept)  # a NaN keeps none


def agreement(found: Lists, reference: Lists) -> Agreement:
    """How alike they are.

    Raises:
        RrarankError: there is no list of two documents or more.
    """
    pairs = [
        (np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float))
        for ours, theirs in zip(found, reference, strict=True)
        if len(theirs) > 1
    ]
    if not pairs:
        raise RrarankError("agreement: no list of two documents or more, so there is no order to compare")
    return Agreement(
        difference=float(np.max([np.abs(ours - theirs).max() for ours, theirs in pairs])),
        tau=fmean(kendall_tau(ours, theirs) for ours, theirs in pairs),
        overlap=fmean(top_overlap(ours, theirs) for ours, theirs in pairs),
    )


def kendall_tau(ours: np.ndarray, theirs: np.ndarray) -> float:
    """tau-b (Kendall, 1945); of lists all tied, 1 if both are and 0 if one is; NaN if a score is."""
    from scipy.stats import kendalltau

    if np.isnan(ours).any() or np.isnan(theirs).any():
        return float("nan")
    tied = [bool((scores == scores[0]).all()) for scores in (ours, theirs)]
    return float(all(tied)) if any(tied) else float(kendalltau(ours, theirs).statistic)


def top_overlap(ours: np.ndarray, theirs: np.ndarray, cutoff: int = CUTOFF) -> float:
    """Share of one's best documents that are among the other's; ties by place in the list."""
    first, second = (set((-scores).argsort(kind="stable")[:cutoff].tolist()) for scores in (ours, theirs))
    return len(first & second) / len(second)
