"""Intervals and p-values that stay valid however often one looks: the mixture sequential probability ratio test.

Robbins' normal mixture (1970) on an estimate with a known error, as Johari, Koomen, Pekelis & Walsh (KDD 2017) use it
for online experiments; as a confidence sequence it is Howard, Ramdas, McAuliffe & Sekhon (Annals of Statistics 2021),
and with an estimated error it holds asymptotically (Waudby-Smith et al., Annals of Statistics 2024).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rrarank.measures.significance import ALPHA

LATER = 7.0
"""The intervals are tightest when the data is so many times that of the first look: a week, if one looks daily."""


@dataclass(frozen=True)
class Look:
    """What was known when one looked.

    Args:
        difference: by all data so far; `low` and `high` bound it at every look at once (95%).
        p: always valid: the smallest so far.
        naive_low, naive_high: what one look alone would give.
    """

    when: str
    users: int
    difference: float
    low: float
    high: float
    p: float
    naive_low: float
    naive_high: float


@dataclass(frozen=True)
class Estimate:
    """A difference by all data up to a time, with its standard error."""

    when: str
    users: int
    difference: float
    error: float


def looks(estimates: Sequence[Estimate]) -> list[Look]:
    """Each look with its always-valid interval; looks before there is an error are left out.

    The mixture is set by the first look's error, and stays.
    """
    from scipy.stats import norm

    usable = [one for one in estimates if one.error > 0 and math.isfinite(one.difference)]
    if not usable:
        return []
    mixture, naive = mixture_for(usable[0].error ** 2 / LATER), float(norm.ppf(1 - ALPHA / 2))
    found: list[Look] = []
    p = 1.0
    for one in usable:
        p = min(p, valid_p(one.difference, one.error**2, mixture))
        half, once = half_width(one.error**2, mixture), naive * one.error
        apart = one.difference
        found.append(Look(one.when, one.users, apart, apart - half, apart + half, p, apart - once, apart + once))
    return found


def mixture_for(variance: float, alpha: float = ALPHA) -> float:
    """The mixture's variance that gives the tightest interval at this variance of the estimate.

    Minimises `half_width`: the ratio r of the two variances solves r = -2 ln(alpha) + ln(1 + r).
    """
    ratio = 1.0
    for _ in range(50):
        ratio = -2 * math.log(alpha) + math.log1p(ratio)
    return ratio * variance


def half_width(variance: float, mixture: float, alpha: float = ALPHA) -> float:
    """Half the width of the always-valid interval of an estimate with this variance."""
    whole = variance + mixture
    return math.sqrt(variance * whole / mixture * (-2 * math.log(alpha) + math.log(whole / variance)))


def valid_p(difference: float, variance: float, mixture: float) -> float:
    """One over the mixture's likelihood ratio, at most 1."""
    whole = variance + mixture
    exponent = -(difference**2) * mixture / (2 * variance * whole)
    return min(1.0, math.sqrt(whole / variance) * math.exp(exponent))
