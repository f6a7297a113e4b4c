"""Differences between two arms of an online experiment, over users, who are what was assigned at random.

A measure is a ratio of two sums, such as clicks over queries. Its interval resamples users; the delta method checks it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rrarank.measures.significance import ALPHA, SEED, holm, reading

Array = NDArray[np.float64]

RESAMPLES = 2_000
PERMUTATIONS = 5_000
_NUMBERS = 500_000  # random numbers drawn at once


@dataclass(frozen=True)
class Totals:
    """What an arm's users did on one measure: the sum of `tops` over the sum of `bottoms` is its value.

    Args:
        tops, bottoms: (users,), such as each user's clicks and queries.
    """

    tops: Array
    bottoms: Array

    @property
    def users(self) -> int:
        return len(self.tops)

    @property
    def value(self) -> float:
        """NaN if there is nothing to divide by."""
        below = float(self.bottoms.sum())
        return float(self.tops.sum()) / below if below else math.nan

    @property
    def deviation(self) -> float:
        """Standard deviation of a user's influence on the value: deviation / sqrt(users) is the value's error.

        The delta method for a ratio over users (Deng, Knoblich & Lu, KDD 2018).
        """
        if self.users < 2 or not self.bottoms.any():
            return math.nan
        influences = (self.tops - self.value * self.bottoms) / self.bottoms.mean()
        return float(influences.std(ddof=1))

    @property
    def error(self) -> float:
        """Standard error of the value."""
        return self.deviation / math.sqrt(self.users)


@dataclass(frozen=True)
class Lift:
    """What one arm adds to another on one measure.

    Args:
        value, reference: of the arm, and of the baseline.
        difference: of the two; `low` and `high` bound it (95%, resampled users), `delta_low` and `delta_high` too
            (95%, delta method).
        relative: the difference as a share of the reference; `relative_low` and `relative_high` bound it (resampled).
        p: of a permutation of users between the arms, two-sided; `holm` is corrected for all measures tested.
        detectable: the smallest true difference that so many users show with 80% power.
    """

    measure: str
    value: float
    reference: float
    difference: float
    low: float
    high: float
    delta_low: float
    delta_high: float
    relative: float
    relative_low: float
    relative_high: float
    p: float
    detectable: float
    holm: float = math.nan

    @property
    def reading(self) -> str:
        """By the corrected test; `not resolved` does not mean equal."""
        return reading(self.holm, self.difference, "higher", "lower")


def lifts(
    ours: Mapping[str, Totals],
    theirs: Mapping[str, Totals],
    *,
    untested: Sequence[str] = (),
    seed: int = SEED,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
) -> list[Lift]:
    """Compare two arms on each measure, corrected by Holm for all that are tested.

    Args:
        ours, theirs: measure -> totals; an arm's measures have the same users in the same order.
        untested: measures that say the same as another one, and would count twice.
    """
    rng = np.random.default_rng(seed)
    names = list(ours)
    differences, relatives = resampled(_columns(ours), _columns(theirs), rng, resamples)
    found = _permuted(_columns(ours), _columns(theirs), rng, permutations)
    made = [
        _lift(name, ours[name], theirs[name], differences[:, place], relatives[:, place], found[place])
        for place, name in enumerate(names)
    ]
    corrected = holm([math.nan if one.measure in untested else one.p for one in made])
    return [replace(one, holm=p) for one, p in zip(made, corrected, strict=True)]


def _lift(name: str, ours: Totals, theirs: Totals, differences: Array, relatives: Array, p: float) -> Lift:
    apart, error = ours.value - theirs.value, math.hypot(ours.error, theirs.error)
    relative = apart / theirs.value if theirs.value else math.nan
    low, high = delta_interval(apart, error)
    return Lift(
        name,
        ours.value,
        theirs.value,
        apart,
        *percentiles(differences),
        low,
        high,
        relative,
        *percentiles(relatives),
        p if math.isfinite(apart) else math.nan,
        detectable(ours.deviation, theirs.deviation, ours.users, theirs.users),
    )


def delta_interval(value: float, error: float) -> tuple[float, float]:
    """95% interval of a value by its standard error and the normal distribution."""
    from scipy.stats import norm

    half = float(norm.ppf(1 - ALPHA / 2)) * error
    return value - half, value + half


def percentiles(values: Array) -> tuple[float, float]:
    """The 95% interval of resampled values; NaN where one is not finite."""
    if not np.isfinite(values).all():
        return math.nan, math.nan
    low, high = np.quantile(values, [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


def sums(groups: NDArray[np.int64], values: Array, count: int) -> Array:
    """(count,): the values added up by group."""
    return np.asarray(np.bincount(groups, values, count), dtype=np.float64)


# -- resampling -------------------------------------------------------------------------------------------------------


def _columns(totals: Mapping[str, Totals]) -> Array:
    """(users, 2 x measures): all tops, then all bottoms."""
    return np.column_stack([*(one.tops for one in totals.values()), *(one.bottoms for one in totals.values())])


def ratios(sums: Array) -> Array:
    """(…, 2 x measures) -> (…, measures)."""
    tops, bottoms = np.split(sums, 2, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(tops / bottoms, dtype=np.float64)


def resampled_sums(columns: Array, rng: np.random.Generator, resamples: int = RESAMPLES) -> Array:
    """(resamples, columns): the sums over resampled users.

    Each user is drawn a Poisson number of times (Chamandy et al., Google 2012), which needs no index of draws.
    """
    users = len(columns)
    drawn = (rng.poisson(1.0, (size, users)).astype(np.float64) for size in _batches(resamples, users))
    return np.concatenate([weights @ columns for weights in drawn])


def resampled_ratios(columns: Array, rng: np.random.Generator, resamples: int = RESAMPLES) -> Array:
    """(resamples, measures): the ratios over resampled users."""
    return ratios(resampled_sums(columns, rng, resamples))


def resampled(ours: Array, theirs: Array, rng: np.random.Generator, resamples: int = RESAMPLES) -> tuple[Array, Array]:
    """(resamples, measures) each: differences, and relative differences."""
    first, second = resampled_ratios(ours, rng, resamples), resampled_ratios(theirs, rng, resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        return first - second, first / second - 1


def _permuted(ours: Array, theirs: Array, rng: np.random.Generator, permutations: int) -> list[float]:
    """Two-sided p of each measure: (b + 1) / (n + 1), where b of n random assignments of users differ as much.

    An assignment that leaves an arm without a value, as where few have a click, counts as if it did.
    """
    pool = np.concatenate([ours, theirs])
    labels = np.arange(len(pool)) < len(ours)
    total = pool.sum(axis=0)
    observed = np.abs(ratios(ours.sum(axis=0)) - ratios(theirs.sum(axis=0)))
    as_far = np.zeros(len(observed))
    for size in _batches(permutations, len(pool)):
        drawn = rng.permuted(np.broadcast_to(labels, (size, len(pool))), axis=1).astype(np.float64)
        sums = drawn @ pool
        as_far += (~(np.abs(ratios(sums) - ratios(total - sums)) < observed * (1 - 1e-9))).sum(axis=0)
    return [float(p) for p in (as_far + 1) / (permutations + 1)]


def _batches(draws: int, users: int) -> Iterator[int]:
    size = max(1, _NUMBERS // max(users, 1))
    for start in range(0, draws, size):
        yield min(size, draws - start)


# -- power ------------------------------------------------------------------------------------------------------------


def _quantiles(power: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(1 - ALPHA / 2) + norm.ppf(power))


def detectable(our_deviation: float, their_deviation: float, ours: int, theirs: int, power: float = 0.8) -> float:
    """The smallest true difference that so many users of each arm show with that power, tested at .05."""
    if not (ours and theirs):
        return math.nan
    return _quantiles(power) * math.hypot(our_deviation / math.sqrt(ours), their_deviation / math.sqrt(theirs))


def users_needed(deviation: float, difference: float, *, share: float = 0.5, power: float = 0.8) -> int:
    """Users, of both arms together, that show a difference with that power, tested at .05.

    Args:
        deviation: a user's, as `Totals.deviation`; taken to be the same in both arms.
        share: of the users that go to one of the two arms; 1: there is one arm, as where each user sees both rankers.
    """
    times = 1.0 if share == 1 else 1 / share + 1 / (1 - share)
    return math.ceil(_quantiles(power) ** 2 * deviation**2 * times / difference**2)


def split_p(users: Sequence[int], shares: Sequence[float]) -> float:
    """p that the arms' users were split by these shares (chi-square): a tiny one is a sample-ratio mismatch.

    Fabijan et al., KDD 2019, who take p < .0005 for a fault of the experiment; many take .001.
    """
    from scipy.stats import chisquare

    total = sum(users)
    if not total:
        return math.nan
    return float(chisquare(users, [total * share / sum(shares) for share in shares]).pvalue)
