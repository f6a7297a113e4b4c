"""How closely two rankers agree on the same lists: the test that a faster back end must pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from rrarank.errors import RrarankError

MIN_TAU = 0.95  # below this, more than one pair in forty has changed places: (1 - .95) / 2
MIN_OVERLAP = 0.9  # one document of ten may differ, on average
MAX_DIFFERENCE = 1e-3  # of equal scores; sums in another order differ by less than a tenth of this
CUTOFF = 10

Lists = Sequence[Sequence[float]]
"""One list of scores per query; both rankers list the same documents in the same order."""


@dataclass(frozen=True)
class Agreement:
    """Over all queries: the largest difference of a score, the mean Kendall tau-b, the mean share of the top 10."""

    difference: float
    tau: float
    overlap: float

    def __str__(self) -> str:
        return (
            f"largest |Δscore| {self.difference:.1e}, mean Kendall tau {self.tau:.3f}, "
            f"top-{CUTOFF} overlap {self.overlap:.1%}"
        )

    def lacks(self, *, same_scores: bool) -> str:
        """The limits that it misses; empty if it is good enough.

        Args:
            same_scores: only the order of sums differs, so the scores themselves must agree.
        """
        limits = [
            (self.tau >= MIN_TAU, f"mean Kendall tau {MIN_TAU}"),
            (self.overlap >= MIN_OVERLAP, f"top-{CUTOFF} overlap {MIN_OVERLAP:.0%}"),
            (self.difference <= MAX_DIFFERENCE or not same_scores, f"|Δscore| at most {MAX_DIFFERENCE:g}"),
        ]
        return ", ".join(limit for kept, limit in limits if not kept)  # NaN meets none


def agreement(found: Lists, reference: Lists) -> Agreement:
    """How closely `found` agrees with `reference`.

    Raises:
        RrarankError: no list holds two documents or more.
    """
    pairs = [
        (np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float))
        for ours, theirs in zip(found, reference, strict=True)
        if len(theirs) > 1
    ]
    if not pairs:
        raise RrarankError("agreement: no list holds two documents or more, so there is no order to compare")
    return Agreement(
        difference=float(np.max([np.abs(ours - theirs).max() for ours, theirs in pairs])),
        tau=fmean(kendall_tau(ours, theirs) for ours, theirs in pairs),
        overlap=fmean(top_overlap(ours, theirs) for ours, theirs in pairs),
    )


def kendall_tau(ours: np.ndarray, theirs: np.ndarray) -> float:
    """tau-b (Kendall, 1945); 1 if all scores are tied in both lists, 0 if in one; NaN if a score is NaN."""
    from scipy.stats import kendalltau

    if np.isnan(ours).any() or np.isnan(theirs).any():
        return float("nan")
    tied = [bool((scores == scores[0]).all()) for scores in (ours, theirs)]
    return float(all(tied)) if any(tied) else float(kendalltau(ours, theirs).statistic)


def top_overlap(ours: np.ndarray, theirs: np.ndarray, cutoff: int = CUTOFF) -> float:
    """The share of the best documents that both lists have in common; ties by place in the list."""
    first, second = (set((-scores).argsort(kind="stable")[:cutoff].tolist()) for scores in (ours, theirs))
    return len(first & second) / len(second)
