"""Where does re-ranking gain? Queries cut by length or by their rarest term, each slice against all other queries.

Slices are fixed before any gain is seen. What is compared are gains (re-ranked minus first stage, per query), so
that a slice that is hard for both stages is not mistaken for one where re-ranking fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, quantiles

from rrarank.measures.significance import SEED, bootstrap

WORDS = {"<= 5 words": 5.0, "6-9 words": 9.0, ">= 10 words": math.inf}
"""slice -> words of its longest query."""

FEWEST = 50  # queries in a slice, and beside it, from which a difference is looked at


@dataclass(frozen=True)
class Case:
    """One query: the set and the slice that it belongs to, and what re-ranking gains on it."""

    set: str
    slice: str
    gain: float


@dataclass(frozen=True)
class SliceGain:
    """One slice.

    Args:
        gain: mean gain of its queries; NaN if it has none.
        difference: of its mean gain from that of all other queries, after each set's mean gain is removed; `low` and
            `high` bound it (95 % bootstrap over queries). NaN where it is not tested.
    """

    name: str
    n: int
    gain: float
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @property
    def reading(self) -> str:
        if math.isnan(self.difference):
            return f"n < {FEWEST}: not tested" if self.n < FEWEST else f"the others are < {FEWEST}: not tested"
        return "gains more" if self.low > 0 else "gains less" if self.high < 0 else "not resolved"


def slice_gains(cases: Sequence[Case], names: Iterable[str], *, seed: int = SEED) -> list[SliceGain]:
    """Each of the named slices against all queries outside it."""
    return [_slice_gain(name, cases, without_set_means(cases), seed) for name in names]


def _slice_gain(name: str, cases: Sequence[Case], centred: Sequence[float], seed: int) -> SliceGain:
    gains = [case.gain for case in cases if case.slice == name]
    inside = [gain for case, gain in zip(cases, centred, strict=True) if case.slice == name]
    outside = [gain for case, gain in zip(cases, centred, strict=True) if case.slice != name]
    gain = fmean(gains) if gains else math.nan
    if min(len(inside), len(outside)) < FEWEST:
        return SliceGain(name, len(gains), gain)
    return SliceGain(name, len(gains), gain, *difference(inside, outside, seed=seed))


def without_set_means(cases: Sequence[Case]) -> list[float]:
    """Gains less the mean gain of their set: a set on which much is gained, and whose queries happen to be short,
    would else pass for an effect of length."""
    sets: dict[str, list[float]] = {}
    for case in cases:
        sets.setdefault(case.set, []).append(case.gain)
    means = {name: fmean(gains) for name, gains in sets.items()}
    return [case.gain - means[case.set] for case in cases]


def difference(ours: Sequence[float], theirs: Sequence[float], *, seed: int = SEED) -> tuple[float, float, float]:
    """Difference of two means over different queries, and the bounds of its 95 % bootstrap interval.

    Resampled are the queries' shares in the difference (their influence values; Efron & Tibshirani 1993, ch. 21): the
    shares' mean is the difference, and its spread over resamples that of the difference.
    """
    n, our_mean, their_mean = len(ours) + len(theirs), fmean(ours), fmean(theirs)
    apart = our_mean - their_mean
    shares = [apart + n / len(ours) * (value - our_mean) for value in ours]
    shares += [apart - n / len(theirs) * (value - their_mean) for value in theirs]
    return apart, *bootstrap(shares, seed=seed)


# -- slices -----------------------------------------------------------------------------------------------------------


def by_words(query: str) -> str:
    """The slice of `WORDS` that a query belongs to; words stand between white space."""
    words = len(query.split())
    return next(name for name, longest in WORDS.items() if words <= longest)


def rarest_idf(frequencies: Mapping[str, int], documents: int) -> float:
    """IDF of a query's rarest term, as Lucene's BM25 has it: ln(1 + (N - n + .5) / (n + .5)); 0 without terms.

    Args:
        frequencies: term -> number n of documents that hold it; a term that none holds is the rarest.
        documents: number N of all documents.
    """
    if not frequencies:
        return 0.0
    rarest = min(frequencies.values())
    return math.log(1 + (documents - rarest + 0.5) / (rarest + 0.5))


def quartiles(values: Mapping[str, float]) -> dict[str, str]:
    """Key -> its quarter of at least two values, named with its bounds; equal values share a quarter, so that quarters
    may differ in size, and one may be empty."""
    cuts = quantiles(values.values(), n=4, method="inclusive")
    ends = [min(values.values()), *cuts, max(values.values())]
    names = [f"Q{place}: {low:.2f} to {high:.2f}" for place, (low, high) in enumerate(pairwise(ends), start=1)]
    return {key: names[sum(value > cut for cut in cuts)] for key, value in values.items()}
