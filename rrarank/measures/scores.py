"""Measure runs against judgments with ranx, and compare them over the queries.

Each run is handed over as strictly falling scores in trec_eval's order, so that ranx sees no ties. Queries that a run
lacks count as 0, as with `trec_eval -c`.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rrarank.data.types import Hit, Qrels, Run
from rrarank.errors import RrarankError, shown
from rrarank.measures.significance import SEED, Comparison, compare, holm

_MEASURE = re.compile(r"[a-z_-]+?(\.\d+)?(@[1-9]\d{0,8})?(-l[1-9]\d{0,5})?")
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
class Evaluation:
    """What `evaluate_runs` found.

    Args:
        floor: measure -> expected value of a random order of the baseline's candidates.
        comparisons: every other system against the baseline, on every measure; corrected within each measure.
        queries: qids of the means.
        unanswered: system -> judged qids that its run lacks; they count as 0, or are left out by `intersection`.
    """

    rows: Sequence[Row]
    floor: Mapping[str, float]
    baseline: str
    comparisons: Sequence[Comparison]
    queries: Sequence[str]
    unanswered: Mapping[str, Sequence[str]]


def evaluate_runs(
    qrels: Qrels,
    runs: Mapping[str, Run],
    *,
    measures: Sequence[str] = MEASURES,
    baseline: str = "",
    intersection: bool = False,
    seed: int = SEED,
    threads: int = 0,
) -> Evaluation:
    """Compare systems over the queries of the qrels.

    Args:
        runs: name -> run.
        measures: names as ranx spells them (`ndcg@10`, `map@1000-l2`).
        baseline: the run that the others are tested against; the first one by default.
        intersection: measure only the queries that every run answers (trec_eval without -c); otherwise unanswered
            queries count as 0 (trec_eval -c).
        seed: of the randomisation test and the bootstrap.
        threads: for ranx; 0: its own choice. No result depends on it.

    Raises:
        RrarankError: an unknown measure, an unknown baseline, or a run that shares no query with the qrels.
    """
    baseline = baseline or next(iter(runs), "")
    _check_arguments(qrels, runs, measures, baseline)
    unanswered = {name: absent for name, run in runs.items() if (absent := [qid for qid in qrels if not run.get(qid)])}
    if intersection:
        qrels = {qid: qrels[qid] for qid in qrels if all(run.get(qid) for run in runs.values())}
        if not qrels:
            raise RrarankError("no query of the qrels is answered by every run; leave --intersection out")
    rows = [_row(name, qrels, run, measures, threads) for name, run in runs.items()]
    reference = next(row for row in rows if row.name == baseline)
    others = [row for row in rows if row is not reference]
    comparisons = [found for measure in measures for found in _family(others, reference, measure, seed)]
    floor = {measure: random_floor(qrels, runs[baseline], measure) for measure in measures}
    return Evaluation(rows, floor, baseline, comparisons, list(qrels), unanswered)


def _check_arguments(qrels: Qrels, runs: Mapping[str, Run], measures: Sequence[str], baseline: str) -> None:
    if not runs:
        raise RrarankError("no runs to evaluate")
    if odd := [measure for measure in measures if not _MEASURE.fullmatch(measure)]:
        raise RrarankError(f"--measures: {shown(odd)}; {_SPELLING}")
    if baseline not in runs:
        raise RrarankError(f"no run named {baseline!r} to compare with (runs: {', '.join(runs)})")
    for name, run in runs.items():
        if not any(run.get(qid) for qid in qrels):
            raise RrarankError(
                f"{name}: none of its queries ({shown(run, 2)}) is in the qrels ({shown(qrels, 2)}); other topics?"
            )


def _family(others: Sequence[Row], reference: Row, measure: str, seed: int) -> list[Comparison]:
    """Compare every system with the baseline on one measure, with Holm's correction."""
    theirs = list(reference.per_query[measure].values())
    found = [compare(row.name, measure, list(row.per_query[measure].values()), theirs, seed=seed) for row in others]
    student, fisher = holm([c.student for c in found]), holm([c.fisher for c in found])
    return [replace(c, student_holm=student[i], fisher_holm=fisher[i]) for i, c in enumerate(found)]


def tukey_hsd(rows: Sequence[Row], measure: str) -> dict[tuple[str, str], float]:
    """(system, system) -> p of Tukey's HSD over all systems, as ranx computes it (scipy.stats.tukey_hsd).

    The test corrects for the number of pairs. It treats systems as independent, so it is weaker than a paired test.
    """
    from scipy.stats import tukey_hsd as hsd

    ps = hsd(*[list(row.per_query[measure].values()) for row in rows]).pvalue
    return {(a.name, b.name): float(ps[i, j]) for i, a in enumerate(rows) for j, b in enumerate(rows) if i < j}


def at_level(measures: Sequence[str], level: int) -> list[str]:
    """The measures at a relevance level: `-l2` is added to all but nDCG, whose gains it must not change."""
    return [m if level == 1 or m.startswith("ndcg") or "-l" in m else f"{m}-l{level}" for m in measures]


def _row(name: str, qrels: Qrels, run: Run, measures: Sequence[str], threads: int) -> Row:
    per_query = per_query_scores(qrels, run, measures, threads)
    means = {measure: math.fsum(values.values()) / len(values) for measure, values in per_query.items()}
    return Row(name, means, judged_at(10, qrels, run), per_query)


def per_query_scores(qrels: Qrels, run: Run, measures: Sequence[str], threads: int = 0) -> dict[str, dict[str, float]]:
    """measure -> qid -> value, for every query of the qrels; 0 where the run has no hit."""
    import ranx

    answered = [qid for qid in qrels if run.get(qid)]
    judged, ranked = {}, {}
    for number, qid in enumerate(answered):
        ids = {
            docid: _stand_in(i)
            for i, docid in enumerate(dict.fromkeys([*qrels[qid], *(hit.docid for hit in run[qid])]))
        }
        # A negative grade is no gain, as in trec_eval; ranx would subtract it.
        judged[_stand_in(number)] = {ids[docid]: max(grade, 0) for docid, grade in qrels[qid].items()}
        ranked[_stand_in(number)] = {ids[hit.docid]: float(-place) for place, hit in enumerate(run[qid])}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numba warns of ranx's integer casts
            found = ranx.evaluate(
                ranx.Qrels(judged), ranx.Run(ranked), list(measures), return_mean=False, threads=threads
            )
    except (ValueError, NotImplementedError) as error:
        raise RrarankError(f"--measures: {error}; {_SPELLING}") from None
    values = found if isinstance(found, dict) else {measures[0]: found}
    return {
        measure: dict.fromkeys(qrels, 0.0) | {qid: float(value) for qid, value in zip(answered, scores, strict=True)}
        for measure, scores in values.items()
    }


def _stand_in(number: int) -> str:
    """An id of fixed width: numba compiles ranx again for every new width."""
    return f"{number:012}"


def judged_at(cutoff: int, qrels: Qrels, run: Run) -> float:
    """The share of judged documents among the top `cutoff` hits of the judged queries."""
    top = [(qid, hit) for qid in qrels for hit in run.get(qid, ())[:cutoff]]
    return sum(hit.docid in qrels[qid] for qid, hit in top) / len(top) if top else 0.0


# -- the random floor -------------------------------------------------------------------------------------------------


def random_floor(qrels: Qrels, run: Run, measure: str) -> float:
    """The expected value of the measure if each query's candidates were shuffled; NaN for a measure without a formula.

    It is exact, not sampled.
    """
    parts = re.fullmatch(r"(ndcg|recall|mrr|map)(?:@(\d+))?(?:-l(\d+))?", measure)
    if parts is None:
        return math.nan
    name, cutoff, level = parts.groups()
    values = []
    for qid, grades in qrels.items():
        hits = run.get(qid, ())
        pool = _Pool.of(hits, grades, int(level or 1))
        values.append(_EXPECTED[name](pool, int(cutoff or max(len(hits), len(grades)))) if pool.relevant else 0.0)
    return math.fsum(values) / len(values)


@dataclass(frozen=True)
class _Pool:
    """A query's candidates without their order.

    Args:
        size: number of candidates.
        relevant: number of relevant candidates.
        known: number of relevant documents in the qrels.
        gain: sum of the candidates' grades.
        ideal: grades in the qrels, best first.
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
    discounts = [1 / math.log2(rank + 1) for rank in range(1, cutoff + 1)]
    ideal = sum(grade * discount for grade, discount in zip(pool.ideal, discounts, strict=False))
    return pool.gain / pool.size * sum(discounts[: pool.size]) / ideal


def _random_recall(pool: _Pool, cutoff: int) -> float:
    return min(cutoff / pool.size, 1.0) * pool.relevant / pool.known


def _random_mrr(pool: _Pool, cutoff: int) -> float:
    expected, none_yet = 0.0, 1.0
    for rank in range(1, min(cutoff, pool.size) + 1):
        here = min(pool.relevant / (pool.size - rank + 1), 1.0)  # P(relevant here | none above)
        expected += none_yet * here / rank
        none_yet *= 1 - here
    return expected


def _random_map(pool: _Pool, cutoff: int) -> float:
    others = (pool.relevant - 1) / (pool.size - 1) if pool.size > 1 else 0.0  # P(relevant above | relevant here)
    precisions = sum((1 + (rank - 1) * others) / rank for rank in range(1, min(cutoff, pool.size) + 1))
    return pool.relevant / pool.size * precisions / pool.known


_EXPECTED: dict[str, Callable[[_Pool, int], float]] = {
    "ndcg": _random_ndcg,
    "recall": _random_recall,
    "mrr": _random_mrr,
    "map": _random_map,
}
