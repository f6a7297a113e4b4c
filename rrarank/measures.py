"""Measures, the random floor and a paired test: whether a run is better, by ranx.

ranx gets each run as strictly falling scores in trec_eval's order, so ties are settled before it sees them, and
queries that a run lacks count as 0, as `trec_eval -c` has it.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rrarank.data import Hit, Qrels, Run
from rrarank.errors import RrarankError, shown

_MEASURE = re.compile(r"[a-z_-]+?(\.\d+)?(@[1-9]\d*)?(-l[1-9]\d*)?")
_SPELLING = "ranx names them ndcg@10, map, mrr, recall@100, map@1000-l2, …"
MEASURES = ("ndcg@5", "ndcg@10", "map", "mrr", "recall@100")


@dataclass(frozen=True)
class Row:
    """One system in a table.

    Args:
        means: measure -> mean over the queries of the qrels.
        judged: share of its top 10 that has a judgment.
        per_query: measure -> qid -> value.
    """

    name: str
    means: Mapping[str, float]
    judged: float
    per_query: Mapping[str, Mapping[str, float]] = field(repr=False)


@dataclass(frozen=True)
class Difference:
    """A system against the baseline on one measure: the mean difference, and its p by Student's paired t, two-sided."""

    system: str
    measure: str
    mean: float
    p: float


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate_runs` found.

    Args:
        floor: measure -> expected value of a random order of the baseline's candidates.
        unanswered: system -> qids of the qrels that its run lacks; they count as 0.
    """

    rows: Sequence[Row]
    floor: Mapping[str, float]
    baseline: str
    differences: Sequence[Difference]
    queries: int
    unanswered: Mapping[str, Sequence[str]]


def evaluate_runs(
    qrels: Qrels, runs: Mapping[str, Run], *, measures: Sequence[str] = MEASURES, baseline: str = ""
) -> Evaluation:
    """Compare systems over every query of the qrels.

    Args:
        runs: name -> run.
        measures: names as ranx spells them (`ndcg@10`, `map@1000-l2`).
        baseline: the run that the others are tested against; the first one by default.

    Raises:
        RrarankError: an unknown measure, an unknown baseline, or a run that shares no query with the qrels.
    """
    if not runs:
        raise RrarankError("no runs to evaluate")
    if odd := [measure for measure in measures if not _MEASURE.fullmatch(measure)]:
        raise RrarankError(f"--measures: {shown(odd)}; {_SPELLING}")
    baseline = baseline or next(iter(runs))
    if baseline not in runs:
        raise RrarankError(f"no run named {baseline!r} to compare with (runs: {', '.join(runs)})")
    for name, run in runs.items():
        if not any(run.get(qid) for qid in qrels):
            raise RrarankError(
                f"{name}: none of its queries ({shown(run, 2)}) is in the qrels ({shown(qrels, 2)}); other topics?"
            )
    rows = [_row(name, qrels, run, measures) for name, run in runs.items()]
    reference = next(row for row in rows if row.name == baseline)
    return Evaluation(
        rows,
        {measure: random_floor(qrels, runs[baseline], measure) for measure in measures},
        baseline,
        [_difference(row, reference, measure) for row in rows if row is not reference for measure in measures],
        len(qrels),
        {name: absent for name, run in runs.items() if (absent := [qid for qid in qrels if not run.get(qid)])},
    )


def _row(name: str, qrels: Qrels, run: Run, measures: Sequence[str]) -> Row:
    per_query = per_query_scores(qrels, run, measures)
    means = {measure: math.fsum(values.values()) / len(values) for measure, values in per_query.items()}
    return Row(name, means, judged_at(10, qrels, run), per_query)


def per_query_scores(qrels: Qrels, run: Run, measures: Sequence[str]) -> dict[str, dict[str, float]]:
    """measure -> qid -> value, for every query of the qrels; 0 where the run has no hit."""
    import ranx

    answered = [qid for qid in qrels if run.get(qid)]
    # trec_eval gives a negative grade no gain; ranx would subtract it
    judged = ranx.Qrels({qid: {docid: max(grade, 0) for docid, grade in qrels[qid].items()} for qid in answered})
    ranked = ranx.Run({qid: {hit.docid: float(-place) for place, hit in enumerate(run[qid])} for qid in answered})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numba on ranx's integer casts, while it compiles
            found = ranx.evaluate(judged, ranked, list(measures), return_mean=False)
    except (ValueError, NotImplementedError) as error:
        raise RrarankError(f"--measures: {error}; {_SPELLING}") from None
    values = found if isinstance(found, dict) else {measures[0]: found}
    order = list(judged.keys())
    return {
        measure: dict.fromkeys(qrels, 0.0) | {qid: float(value) for qid, value in zip(order, scores, strict=True)}
        for measure, scores in values.items()
    }


def judged_at(cutoff: int, qrels: Qrels, run: Run) -> float:
    """Share of the hits above the cutoff that have a judgment, over the queries that the run answers."""
    top = [(qid, hit) for qid in qrels for hit in run.get(qid, ())[:cutoff]]
    return sum(hit.docid in qrels[qid] for qid, hit in top) / len(top) if top else 0.0


def _difference(row: Row, reference: Row, measure: str) -> Difference:
    from scipy.stats import ttest_rel

    qids = list(reference.per_query[measure])
    ours = [row.per_query[measure][qid] for qid in qids]
    theirs = [reference.per_query[measure][qid] for qid in qids]
    mean = math.fsum(a - b for a, b in zip(ours, theirs, strict=True)) / len(qids)
    p = 1.0 if ours == theirs else float(ttest_rel(ours, theirs).pvalue) if len(qids) > 1 else math.nan
    return Difference(row.name, measure, mean, p)


# -- the random floor -------------------------------------------------------------------------------------------------


def random_floor(qrels: Qrels, run: Run, measure: str) -> float:
    """The measure's expected value if each query's candidates were shuffled; NaN for a measure without a formula here.

    Exact, not sampled: every candidate stands at every rank with equal probability.
    """
    parts = re.fullmatch(r"(ndcg|recall|mrr|map)(?:@(\d+))?(?:-l(\d+))?", measure)
    if parts is None:
        return math.nan
    name, cutoff, level = parts.groups()
    values = []
    for qid, grades in qrels.items():
        hits = run.get(qid, ())
        pool = _Pool.of(hits, grades, int(level or 1))
        ranks = min(int(cutoff or pool.size), pool.size)
        values.append(_EXPECTED[name](pool, ranks) if pool.relevant else 0.0)
    return math.fsum(values) / len(values)


@dataclass(frozen=True)
class _Pool:
    """A query's candidates without their order.

    Args:
        size: number of candidates.
        relevant: how many of them are relevant; `known` counts the relevant ones of the qrels.
        gain: sum of the candidates' grades; `ideal` holds the qrels' grades, best first.
    """

    size: int
    relevant: int
    known: int
    gain: int
    ideal: Sequence[int]

    @classmethod
    def of(cls, hits: Sequence[Hit], grades: Mapping[str, int], level: int) -> _Pool:
        gains = {docid: grade for docid, grade in grades.items() if grade >= level}
        found = [gains[hit.docid] for hit in hits if hit.docid in gains]
        return cls(len(hits), len(found), len(gains), sum(found), sorted(gains.values(), reverse=True))


def _random_ndcg(pool: _Pool, cutoff: int) -> float:
    discounts = [1 / math.log2(rank + 1) for rank in range(1, max(cutoff, len(pool.ideal)) + 1)]
    ideal = sum(grade * discount for grade, discount in zip(pool.ideal[:cutoff], discounts, strict=False))
    return pool.gain / pool.size * sum(discounts[:cutoff]) / ideal


def _random_recall(pool: _Pool, cutoff: int) -> float:
    return cutoff / pool.size * pool.relevant / pool.known


def _random_mrr(pool: _Pool, cutoff: int) -> float:
    expected, none_yet = 0.0, 1.0
    for rank in range(1, cutoff + 1):
        here = min(pool.relevant / (pool.size - rank + 1), 1.0)  # P(relevant here | none above)
        expected += none_yet * here / rank
        none_yet *= 1 - here
    return expected


def _random_map(pool: _Pool, cutoff: int) -> float:
    others = (pool.relevant - 1) / (pool.size - 1) if pool.size > 1 else 0.0  # P(relevant above | relevant here)
    precisions = sum((1 + (rank - 1) * others) / rank for rank in range(1, cutoff + 1))
    return pool.relevant / pool.size * precisions / pool.known


_EXPECTED: dict[str, Callable[[_Pool, int], float]] = {
    "ndcg": _random_ndcg,
    "recall": _random_recall,
    "mrr": _random_mrr,
    "map": _random_map,
}
