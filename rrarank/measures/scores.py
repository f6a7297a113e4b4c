"""Measure runs against judgments, and compare them over the queries.

Queries that a run lacks count as 0, as with `trec_eval -c`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from rrarank.data.frames import is_whole
from rrarank.data.own_documents import without_own_documents
from rrarank.data.shapes import QrelsLike, RunLike, as_runs
from rrarank.data.trec import MAX_GRADE
from rrarank.data.types import Hit, Qrels, Run
from rrarank.errors import RrarankError, shown
from rrarank.measures.evaluation import Evaluation, Row
from rrarank.measures.measure import (
    ByMeasure,
    MeasureLike,
    at_level,
    distinct,
    level_note,
    measure_names,
    parse_measure,
    parse_measures,
    tested,
    unreached_note,
)
from rrarank.measures.significance import SEED, Comparison, compare, corrected
from rrarank.measures.values import judged_at, over_queries, per_query_scores
from rrarank.sources.texts import any_qrels

MEASURES = ("ndcg@5", "ndcg@10", "map", "mrr", "recall@100")


def evaluate_runs(
    qrels: QrelsLike,
    runs: Mapping[str, RunLike] | Sequence[RunLike] | RunLike,
    *,
    measures: Iterable[MeasureLike] | MeasureLike = MEASURES,
    baseline: str = "",
    rel_level: int | None = None,
    remove_query: bool = False,
    intersection: bool = False,
    seed: int = SEED,
) -> Evaluation:
    """Compare systems over the queries of the qrels.

    Args:
        qrels: {qid: {docid: grade}}, path, ir_datasets id, ranx Qrels, or DataFrame.
        runs: {name: run}, a list of runs, or one run; each a path, Run, {qid: {docid: score}}, ranx Run, or DataFrame.
        measures: names as ir_measures, trec_eval or ranx spell them (`nDCG@10`, `recip_rank`, `map@1000-l2`), or
            objects of ir_measures; one of them or several.
        baseline: the run that the others are tested against; the first one by default.
        remove_query: leave out hits whose docid is the qid, as BEIR does and ArguAna and Quora need.
        intersection: measure only the queries that every run answers (trec_eval without -c); otherwise unanswered
            queries count as 0 (trec_eval -c).
        rel_level: lowest relevant grade, for measures of binary relevance that state none; None: 1, and a warning in
            the log if the judgments go above 1.
        seed: of the randomisation test and the bootstrap.

    Raises:
        RrarankError: an unknown measure, an unknown baseline, or a run that shares no query with the qrels.
    """
    names = measure_names(measures)
    parse_measures(names)
    measures = distinct(at_level(names, _checked_level(rel_level)))
    qrels, runs = any_qrels(qrels), as_runs(runs)
    if rel_level is None and (note := level_note(names, qrels)):
        _warn_once(note)
    if note := unreached_note(measures, qrels):
        _warn_once(note)
    baseline = baseline or next(iter(runs), "")
    if remove_query:
        runs = {name: without_own_documents(run) for name, run in runs.items()}
    _check_arguments(qrels, runs, baseline)
    unanswered = {name: absent for name, run in runs.items() if (absent := [qid for qid in qrels if not run.get(qid)])}
    if intersection:
        qrels = {qid: qrels[qid] for qid in qrels if all(run.get(qid) for run in runs.values())}
        if not qrels:
            raise RrarankError("no query of the qrels is answered by every run; drop intersection (--intersection)")
    rows = [_row(name, qrels, run, measures) for name, run in runs.items()]
    reference = next(row for row in rows if row.name == baseline)
    others = [row for row in rows if row is not reference]
    comparisons = [found for measure in tested(measures) for found in _family(others, reference, measure, seed)]
    floor = {measure: random_floor(qrels, runs[baseline], measure) for measure in measures}
    return Evaluation(rows, ByMeasure(floor), baseline, comparisons, list(qrels), unanswered)


def _checked_level(level: int | None) -> int:
    if level is None:
        return 1
    if not is_whole(level) or not 1 <= level <= MAX_GRADE:
        raise RrarankError(f"rel_level (--rel-level): {level!r}, expected a grade from 1 to {MAX_GRADE:,}")
    return int(level)


@cache
def _warn_once(note: str) -> None:
    logging.getLogger("rrarank").warning(note)


def _check_arguments(qrels: Qrels, runs: Mapping[str, Run], baseline: str) -> None:
    if not runs:
        raise RrarankError("no runs to evaluate")
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
    ours = {row.name: list(row.per_query[measure].values()) for row in others}
    return corrected([compare(name, measure, values, theirs, seed=seed) for name, values in ours.items()])


def _row(name: str, qrels: Qrels, run: Run, measures: Sequence[str]) -> Row:
    per_query = per_query_scores(qrels, run, measures)
    means = {measure: over_queries(measure, values.values()) for measure, values in per_query.items()}
    return Row(name, ByMeasure(means), judged_at(10, qrels, run), ByMeasure(per_query))


# -- the random floor -------------------------------------------------------------------------------------------------


def random_floor(qrels: Qrels, run: Run, measure: str) -> float:
    """The expected value of the measure if each query's candidates were shuffled; NaN for a measure without a formula.

    It is exact, not sampled.
    """
    asked = parse_measure(measure)
    expected = _EXPECTED.get(asked.name)
    if expected is None:
        return math.nan
    values = []
    for qid, grades in qrels.items():
        hits = run.get(qid, ())
        pool = _Pool.of(hits, grades, asked.level or 1)
        values.append(expected(pool, asked.cutoff or max(len(hits), len(grades))) if pool.relevant else 0.0)
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
    "nDCG": _random_ndcg,
    "R": _random_recall,
    "RR": _random_mrr,
    "AP": _random_map,
}
