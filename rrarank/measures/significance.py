"""Paired tests and intervals for per-query differences, and the smallest difference that they could detect.

scipy computes everything in one thread with a seeded generator, so results do not depend on machine or threads.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

ALPHA = 0.05
PERMUTATIONS = 10_000
RESAMPLES = 10_000
SEED = 42
_NUMBERS = 10_000_000  # drawn at once
FEW = 20
"""Fewer queries than this get t intervals. In simulations (`python -m benchmarks quality interval_coverage`), 95%
intervals by percentile bootstrap covered the mean in 73-82% of samples of 5 queries, BCa in 73-82%, t in 85-94%."""


@dataclass(frozen=True)
class Comparison:
    """One system against the baseline on one measure, over paired queries.

    Args:
        mean: mean difference; `low` and `high` are its 95% interval.
        student, fisher: two-sided p of the paired t-test and of the randomisation test.
        student_holm, fisher_holm: the same, corrected for all systems compared on this measure.
        effect: Cohen's d for paired samples: mean / standard deviation of the differences.
        detectable: the smallest true difference that the paired t-test finds with 80% power.
    """

    system: str
    measure: str
    mean: float
    low: float
    high: float
    student: float
    fisher: float
    effect: float
    detectable: float
    student_holm: float = math.nan
    fisher_holm: float = math.nan

    @property
    def reading(self) -> str:
        """By the corrected randomisation test; empty where there was no test. `not resolved` does not mean equal."""
        if self.mean == self.detectable == 0 and math.isfinite(self.fisher_holm):
            return "equal on every query"
        return reading(self.fisher_holm, self.mean, "better", "worse")


def reading(p: float, difference: float, up: str, down: str) -> str:
    """What a corrected test says, in a word; empty where there was no test."""
    if not math.isfinite(p):
        return ""
    return "not resolved" if not p < ALPHA else up if difference > 0 else down


def rests_on(comparisons: Sequence[Comparison], queries: int, *, brief: bool = False) -> str:
    """The note below a table of comparisons: tests, correction, intervals; brief: without detectable differences."""
    family = len({c.system for c in comparisons})
    note = (
        f"Paired, two-sided, corrected by Holm for {family} comparison{'s' if family > 1 else ''} within each measure; "
        f"alpha {ALPHA}. Fisher: {PERMUTATIONS:,} permutations. Intervals: {interval_method(queries)}. "
        "d: mean / standard deviation."
    )
    return (
        note if brief else f"{note} detectable: the smallest difference that this many queries can show with 80% power."
    )


def interval_method(queries: int) -> str:
    """How intervals over this many queries are computed, with a caveat if they are few."""
    if queries >= FEW:
        return "bootstrap over queries"
    return (
        f"by t; with only {queries} quer{'y' if queries == 1 else 'ies'} they are rough "
        "(of simulated 95% intervals over 5 to 10 queries, 85% to 95% covered the true mean)"
    )


def compare(
    system: str, measure: str, ours: Sequence[float], theirs: Sequence[float], *, seed: int = SEED
) -> Comparison:
    """Compare two systems' values, given for the same queries in the same order; p is 1 if they never differ."""
    import numpy as np

    differences = np.subtract(ours, theirs).tolist()
    mean = math.fsum(differences) / len(differences)
    if len(differences) < 2 or not math.isfinite(mean):
        return Comparison(system, measure, mean, *[math.nan] * 6)
    if not any(differences):
        return Comparison(system, measure, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0)
    low, high = mean_interval(differences, seed=seed)
    deviation = float(np.std(differences, ddof=1)) if np.ptp(differences) else 0.0  # std of equal numbers may be 1e-17
    return Comparison(
        system,
        measure,
        mean,
        low,
        high,
        student_t(differences),
        fisher_randomisation(differences, seed=seed),
        mean / deviation if deviation else math.copysign(math.inf, mean),
        smallest_detectable(deviation, len(differences)),
    )


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same with Holm's correction, as one family."""
    student, fisher = holm([one.student for one in comparisons]), holm([one.fisher for one in comparisons])
    return [replace(one, student_holm=student[i], fisher_holm=fisher[i]) for i, one in enumerate(comparisons)]


def student_t(differences: Sequence[float]) -> float:
    """Two-sided p of Student's paired t-test (scipy.stats.ttest_1samp on the differences)."""
    import numpy as np
    from scipy.stats import ttest_1samp

    if np.ptp(differences) == 0:  # every difference is the same: no variance
        return 0.0
    return float(ttest_1samp(differences, 0.0).pvalue)


def fisher_randomisation(differences: Sequence[float], *, permutations: int = PERMUTATIONS, seed: int = SEED) -> float:
    """Two-sided p of Fisher's randomisation test on the mean difference.

    p = (b + 1) / (n + 1), where b of n random sign flips give at least the observed size. With few queries, all flips
    are tried and p is exact.

    Smucker, Allan & Carterette, CIKM 2007; the +1 after Phipson & Smyth, 2010 (scipy.stats.permutation_test).
    """
    import numpy as np
    from scipy.stats import permutation_test

    return float(
        permutation_test(
            (np.asarray(differences),),
            lambda flipped, axis: np.abs(flipped.mean(axis=axis)),
            permutation_type="samples",
            alternative="greater",
            n_resamples=permutations,
            batch=max(1, min(1000, _NUMBERS // len(differences))),
            vectorized=True,
            rng=np.random.default_rng(seed),
        ).pvalue
    )


def mean_interval(values: Sequence[float], *, seed: int = SEED) -> tuple[float, float]:
    """95% interval of the mean: by bootstrap, or by t for fewer than `FEW` values; NaN for a single one."""
    return bootstrap(values, seed=seed) if len(values) >= FEW else t_interval(values)


def interval_of_values(values: Sequence[float], *, seed: int = SEED) -> tuple[float, float]:
    """The same for a measure's values, whose mean is not below 0, nor above 1 if no value is."""
    low, high = mean_interval(values, seed=seed)
    return (max(low, 0.0), min(high, 1.0) if max(values) <= 1 else high) if math.isfinite(low) else (low, high)


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% interval of the mean by Student's t (scipy.stats.t)."""
    import numpy as np
    from scipy.stats import t

    if len(values) < 2:
        return math.nan, math.nan
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(t.ppf(1 - ALPHA / 2, len(values) - 1)) * error
    return mean - half, mean + half


def bootstrap(differences: Sequence[float], *, seed: int = SEED) -> tuple[float, float]:
    """95 % percentile interval of the mean over resampled queries (scipy.stats.bootstrap)."""
    import numpy as np
    from scipy.stats import bootstrap as resample

    if np.ptp(differences) == 0:
        return differences[0], differences[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about BCa, which is not used
        found = resample(
            (np.asarray(differences),),
            np.mean,
            n_resamples=RESAMPLES,
            batch=1000,
            confidence_level=1 - ALPHA,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return float(found.low), float(found.high)


def smallest_detectable(deviation: float, queries: int, power: float = 0.8) -> float:
    """The mean difference that a two-sided paired t-test at .05 finds with that power.

    (t(.975) + t(power)) sd / sqrt(n), by the t approximation (Sakai, IR Journal 2016).

    Args:
        deviation: standard deviation of the differences.
    """
    from scipy.stats import t

    free = queries - 1
    return float((t.ppf(1 - ALPHA / 2, free) + t.ppf(power, free)) * deviation / math.sqrt(queries))


def holm(ps: Sequence[float]) -> list[float]:
    """p-values with Holm's step-down correction (Scandinavian Journal of Statistics, 1979); NaN stays NaN."""
    corrected = [math.nan] * len(ps)
    highest = 0.0
    tested = [i for i in range(len(ps)) if not math.isnan(ps[i])]
    for done, i in enumerate(sorted(tested, key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(tested) - done) * ps[i]))
        corrected[i] = highest
    return corrected


def tukey_hsd(values: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], float]:
    """(system, system) -> p of Tukey's HSD over all systems, as ranx computes it (scipy.stats.tukey_hsd).

    NaN where the statistic is not finite: over a single query, or if no system's values vary.

    The test corrects for the number of pairs. It treats systems as independent, so it is weaker than a paired test.
    """
    from scipy.stats import tukey_hsd as hsd

    varies = any(len(set(one)) > 1 for one in values.values())
    ps = hsd(*values.values()).pvalue if varies else None
    return {
        (a, b): math.nan if ps is None else float(ps[i, j])
        for i, a in enumerate(values)
        for j, b in enumerate(values)
        if i < j
    }
