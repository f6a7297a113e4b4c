"""Which of two interleaved rankers users prefer, by whose documents they click (team-draft credit).

Radlinski, Kurup & Joachims, CIKM 2008; Chapelle, Joachims, Radlinski & Yue, TOIS 2012.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rrarank.measures.lifts import Totals, detectable, percentiles, resampled_ratios, sums
from rrarank.measures.significance import SEED, fisher_randomisation, holm, reading


@dataclass(frozen=True)
class Preference:
    """One ranker against another, over clicked result lists.

    Args:
        part: the queries that it is about, such as `all`.
        wins, losses, ties: lists whose clicks went more to the ranker's documents, more to the other's, or to both
            equally.
        preference: (wins - losses) / (wins + losses + ties); `low` and `high` bound it (95%, resampled users).
        p: that neither is preferred: signs of users flipped at random, two-sided; `holm` is corrected for all parts.
        voters_for, voters_against: users with more wins than losses, and with more losses; `votes_p` is a sign test.
        deviation: of a user's influence on the preference, as `lifts.Totals` has it.
        detectable: the smallest true preference that so many users show with 80% power.
    """

    ranker: str
    part: str
    users: int
    wins: int
    losses: int
    ties: int
    preference: float
    low: float
    high: float
    p: float
    voters_for: int
    voters_against: int
    votes_p: float
    deviation: float
    detectable: float
    holm: float = math.nan

    @property
    def lists(self) -> int:
        return self.wins + self.losses + self.ties

    @property
    def reading(self) -> str:
        return reading(self.holm, self.preference, "preferred", "not preferred")


def preference(ranker: str, part: str, users: Sequence[int], credits: Sequence[int], *, seed: int = SEED) -> Preference:
    """The preference over clicked lists.

    Args:
        users: whose list each one is.
        credits: clicks on the ranker's documents less those on the other's, a list each.
    """
    signs = np.sign(np.asarray(credits, dtype=np.float64))
    who, voices = np.unique(np.asarray(users), return_inverse=True)
    totals = Totals(sums(voices, signs, len(who)), sums(voices, np.ones(len(voices)), len(who)))
    wins, losses = int((signs > 0).sum()), int((signs < 0).sum())
    return Preference(
        ranker,
        part,
        len(who),
        wins,
        losses,
        len(signs) - wins - losses,
        totals.value,
        *_interval_and_p(totals, seed),
        *_votes(totals),
        totals.deviation,
        detectable(totals.deviation, 0.0, len(who), 1),
    )


def _interval_and_p(totals: Totals, seed: int) -> tuple[float, float, float]:
    """Bounds of the preference, and p that there is none; NaN for a single user."""
    if totals.users < 2:
        return math.nan, math.nan, math.nan
    columns = np.column_stack([totals.tops, totals.bottoms])
    low, high = percentiles(resampled_ratios(columns, np.random.default_rng(seed))[:, 0])
    return low, high, fisher_randomisation(totals.tops.tolist(), seed=seed) if totals.tops.any() else 1.0


def _votes(totals: Totals) -> tuple[int, int, float]:
    """One user, one vote: for, against, p of a sign test."""
    from scipy.stats import binomtest

    ayes, noes = int((totals.tops > 0).sum()), int((totals.tops < 0).sum())
    return ayes, noes, float(binomtest(ayes, ayes + noes).pvalue) if ayes + noes else math.nan


def corrected(found: Sequence[Preference]) -> list[Preference]:
    """The preferences with p corrected by Holm for all of them."""
    return [replace(one, holm=p) for one, p in zip(found, holm([one.p for one in found]), strict=True)]


def credit(clicked: Sequence[str], ranker: str, other: str) -> int:
    """Team-draft credit of one list: documents clicked of the ranker's team, less those of the other's.

    Args:
        clicked: the team of each clicked document.
    """
    return clicked.count(ranker) - clicked.count(other)
