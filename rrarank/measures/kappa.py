"""How far a judge agrees with people: Cohen's kappa, the confusion matrix, and the order of systems.

Intervals resample queries, as the grades of one query are not independent of one another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rrarank.data.types import Qrels, Run
from rrarank.measures.measure import label
from rrarank.measures.significance import ALPHA, FEW, RESAMPLES, SEED
from rrarank.measures.values import per_query_scores

if TYPE_CHECKING:
    import numpy as np

GRADES = 4  # 0 to 3
FEWEST_PAIRS = 30  # that a verdict needs
FEWEST_SYSTEMS = 3  # whose order tells anything
_RESAMPLES_OF_SYSTEMS = 1_000  # each a Kendall's tau


@dataclass(frozen=True)
class Interval:
    """A statistic with the bounds of its 95 % interval; NaN where it cannot be computed."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "undefined"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]" if math.isfinite(self.low) else f"{self.value:.3f}"


@dataclass(frozen=True)
class SystemOrder:
    """Kendall's tau-b between two orders of systems by their means on a measure."""

    tau: Interval
    systems: int
    measure: str


@dataclass(frozen=True)
class JudgeAgreement:
    """People's and a judge's grades of the same documents.

    Args:
        confusion: [grade by people][grade by the judge] -> documents; grades above 3 count as 3, below 0 as 0.
        kappa: Cohen's kappa of the four grades; `quadratic`: weighted by the squared distance of the grades.
        binary: Cohen's kappa of relevant or not; relevant are people's grades from `levels[0]` and the judge's from
            `levels[1]` on.
        order: how alike people's and the judge's grades rank the systems; None for fewer than three.
        ungraded: documents about which the judge was asked and gave no grade.
    """

    pairs: int
    queries: int
    confusion: Sequence[Sequence[int]]
    kappa: Interval
    quadratic: Interval
    binary: Interval
    levels: tuple[int, int]
    order: SystemOrder | None = None
    ungraded: int = 0

    @property
    def decisive(self) -> tuple[str, Interval]:
        """The kappa that says whether the judge is of use: quadratic, or binary if people's grades are only 0 and 1."""
        is_binary = not any(sum(row) for row in self.confusion[2:])
        return ("binary kappa", self.binary) if is_binary else ("quadratic kappa", self.quadratic)

    @property
    def verdict(self) -> str:
        """`agrees`, `useless`, or `unknown`: useless if the interval of the decisive kappa is not above 0, or if most
        documents got no grade."""
        by_people, by_judge = (sum(map(bool, sums)) for sums in self._sums())
        if self._grades_few:
            return "useless"
        if self.pairs < FEWEST_PAIRS or self.queries < 2 or by_people < 2:
            return "unknown"
        return "agrees" if by_judge > 1 and self.decisive[1].low > 0 else "useless"

    @property
    def _grades_few(self) -> bool:
        return self.ungraded > self.pairs and self.ungraded + self.pairs >= FEWEST_PAIRS

    def _sums(self) -> tuple[list[int], list[int]]:
        """Documents by grade: people's, the judge's."""
        return [sum(row) for row in self.confusion], [sum(column) for column in zip(*self.confusion, strict=True)]

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        name, kappa = self.decisive
        by_people, by_judge = self._sums()
        over = f"over {self.pairs:,} documents of {self.queries:,} queries"
        if self.verdict == "unknown":
            return f"too little to tell whether this judge agrees with the assessors: {_why_unknown(self, by_people)}"
        if self.verdict == "agrees":
            return f"this judge agrees with the assessors beyond chance: {name} {kappa} {over}"
        if self._grades_few:
            why = f"it gave no grade to {self.ungraded:,} of {self.ungraded + self.pairs:,} documents"
        elif sum(map(bool, by_judge)) == 1:
            why = f"it gave all {self.pairs:,} documents the grade {by_judge.index(self.pairs)}"
        else:
            why = f"{name} {kappa} {over}"
        return f"this judge does not agree with the assessors beyond chance: {why}"


def _why_unknown(found: JudgeAgreement, by_people: Sequence[int]) -> str:
    if found.pairs < FEWEST_PAIRS:
        return f"{found.pairs:,} documents, expected {FEWEST_PAIRS} or more"
    if found.queries < 2:
        return "they are of one query"
    return f"the assessors gave all {found.pairs:,} documents the grade {by_people.index(found.pairs)}"


def judge_agreement(
    people: Qrels,
    judge: Qrels,
    runs: Mapping[str, Run] | None = None,
    *,
    level: int = 2,
    measure: str = "ndcg@10",
    seed: int = SEED,
    ungraded: int = 0,
) -> JudgeAgreement:
    """How far a judge agrees with people, over the documents that both graded.

    Args:
        runs: systems that are ranked by these grades alone, once by people's and once by the judge's.
        level: lowest relevant grade; people's is the highest grade that they gave, if that is lower.
        ungraded: documents about which the judge was asked and gave no grade.
    """
    import numpy as np

    common = {qid: [d for d in grades if d in judge.get(qid, {})] for qid, grades in people.items()}
    common = {qid: docids for qid, docids in common.items() if docids}
    tables = np.zeros((len(common), GRADES, GRADES))  # (queries, by people, by the judge)
    for place, (qid, docids) in enumerate(common.items()):
        for docid in docids:
            tables[place, _clipped(people[qid][docid]), _clipped(judge[qid][docid])] += 1
    total = tables.sum(axis=0)
    highest = max((grade for qid, docids in common.items() for grade in (people[qid][d] for d in docids)), default=0)
    levels = (max(1, min(level, highest)), level)
    binary = np.stack(  # (queries, 2, 2)
        [
            [tables[:, : levels[0], : levels[1]].sum((1, 2)), tables[:, : levels[0], levels[1] :].sum((1, 2))],
            [tables[:, levels[0] :, : levels[1]].sum((1, 2)), tables[:, levels[0] :, levels[1] :].sum((1, 2))],
        ]
    ).transpose(2, 0, 1)
    both = [{qid: {d: qrels[qid][d] for d in docids} for qid, docids in common.items()} for qrels in (people, judge)]
    return JudgeAgreement(
        int(total.sum()),
        len(common),
        [[int(count) for count in row] for row in total],
        _interval(tables, seed),
        _interval(tables, seed, quadratic=True),
        _interval(binary, seed),
        levels,
        _system_order(both, runs, measure, seed) if runs and len(runs) >= FEWEST_SYSTEMS and common else None,
        ungraded,
    )


def _clipped(grade: int) -> int:
    return min(max(grade, 0), GRADES - 1)


def cohens_kappa(tables: np.ndarray, *, quadratic: bool = False) -> np.ndarray:
    """1 - disagreement observed / disagreement expected by chance, each table by itself; NaN if none is expected.

    Cohen, Educational and Psychological Measurement, 1960; weighted: Psychological Bulletin, 1968. Quadratic weights
    are the squared distance of the two grades.

    Args:
        tables: (…, grades, grades) counts, rows by one judge and columns by the other.

    Returns:
        (…) float64.
    """
    import numpy as np

    grades = np.arange(tables.shape[-1])
    distance = np.abs(grades[:, None] - grades)
    weights = distance**2 if quadratic else distance > 0
    rows, columns = tables.sum(axis=-1), tables.sum(axis=-2)
    observed = (tables * weights).sum(axis=(-2, -1)) * tables.sum(axis=(-2, -1))
    expected = (rows[..., :, None] * columns[..., None, :] * weights).sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        kappa: np.ndarray = np.where(expected > 0, 1 - observed / expected, np.nan)
    return kappa


def _interval(tables: np.ndarray, seed: int, *, quadratic: bool = False) -> Interval:
    """Kappa of the sum of the queries' tables: by bootstrap, or, for fewer than `FEW` queries, by jackknife and t."""
    import numpy as np

    queries = len(tables)
    value = float(cohens_kappa(tables.sum(axis=0), quadratic=quadratic))
    if queries < 2 or math.isnan(value):
        return Interval(value, math.nan, math.nan)
    if queries < FEW:
        return Interval(value, *_jackknife(value, cohens_kappa(tables.sum(axis=0) - tables, quadratic=quadratic)))
    times = np.random.default_rng(seed).multinomial(queries, [1 / queries] * queries, size=RESAMPLES)
    resampled = np.tensordot(times, tables, axes=1)  # (resamples, grades, grades)
    return Interval(value, *_percentiles(cohens_kappa(resampled, quadratic=quadratic)))


def _jackknife(value: float, without_one: np.ndarray) -> tuple[float, float]:
    """Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11."""
    import numpy as np
    from scipy.stats import t

    n = len(without_one)
    error = math.sqrt((n - 1) / n * float(np.nansum((without_one - np.nanmean(without_one)) ** 2)))
    half = float(t.ppf(1 - ALPHA / 2, n - 1)) * error
    return max(value - half, -1.0), min(value + half, 1.0)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of the values that are not NaN."""
    import numpy as np

    known = values[~np.isnan(values)]
    low, high = np.quantile(known, [ALPHA / 2, 1 - ALPHA / 2]) if len(known) else (math.nan, math.nan)
    return float(low), float(high)


def _system_order(both: Sequence[Qrels], runs: Mapping[str, Run], measure: str, seed: int) -> SystemOrder:
    import numpy as np

    values = np.array(  # (judges, systems, queries)
        [[list(per_query_scores(qrels, run, [measure])[measure].values()) for run in runs.values()] for qrels in both]
    )
    queries = values.shape[-1]
    times = np.random.default_rng(seed).multinomial(queries, [1 / queries] * queries, size=_RESAMPLES_OF_SYSTEMS)
    resampled = np.tensordot(times, values, axes=(1, 2)) / queries  # (resamples, judges, systems)
    taus = np.array([kendall_tau(*one) for one in resampled])
    return SystemOrder(Interval(kendall_tau(*values.mean(axis=2)), *_percentiles(taus)), len(runs), label(measure))


def kendall_tau(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Kendall's tau-b (Biometrika, 1945; scipy.stats.kendalltau); NaN where either ties all."""
    from scipy.stats import kendalltau

    return float(kendalltau(ours, theirs).statistic)
