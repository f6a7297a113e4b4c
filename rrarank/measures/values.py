"""The value of a measure for each query, as trec_eval computes it (pytrec_eval, trec_eval's C code in this process).

Runs are handed over as strictly falling scores in trec_eval's order, so that it sees no ties. Documents with a negative
grade count as unjudged, as in trec_eval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from rrarank.data.types import Qrels, Run
from rrarank.measures.measure import Measure, parse_measures

Grades = Mapping[str, int]


def per_query_scores(qrels: Qrels, run: Run, measures: Sequence[str]) -> dict[str, dict[str, float]]:
    """measure -> qid -> value, for every query of the qrels; 0 where the run has no hit.

    Raises:
        RrarankError: an unknown measure.
    """
    wanted = parse_measures(measures)
    answered = [qid for qid in qrels if run.get(qid)]
    ranked = {qid: [hit.docid for hit in run[qid]] for qid in answered}
    judged = {qid: {docid: grade for docid, grade in qrels[qid].items() if grade >= 0} for qid in answered}
    by_trec_eval = _trec_eval(wanted.values(), judged, ranked)

    def value(measure: Measure, qid: str) -> float:
        if measure.name == "Judged":
            return _judged(measure, ranked[qid], qrels[qid])
        if measure.name in _OWN:
            return _OWN[measure.name](measure, ranked[qid], judged[qid])
        return _combined(measure, by_trec_eval[measure].get(qid, {}))

    return {
        text: dict.fromkeys(qrels, 0.0) | {qid: value(measure, qid) for qid in answered}
        for text, measure in wanted.items()
    }


# -- by trec_eval -----------------------------------------------------------------------------------------------------

_TREC_EVAL: Mapping[str, tuple[str, str]] = {  # name -> trec_eval's name of the whole list, and of the top k
    "nDCG": ("ndcg", "ndcg_cut"),
    "AP": ("map", "map_cut"),
    "RR": ("recip_rank", ""),
    "R": ("set_recall", "recall"),
    "P": ("set_P", "P"),
    "Rprec": ("Rprec", ""),
    "Bpref": ("bpref", ""),
    "Success": ("recip_rank", "success"),
    "NumRelRet": ("num_rel_ret", "P"),
}


def _trec_eval(
    measures: Iterable[Measure], judged: Qrels, ranked: Mapping[str, Sequence[str]]
) -> dict[Measure, dict[str, dict[str, float]]]:
    """measure -> qid -> trec_eval's name -> value."""
    import pytrec_eval

    levels: dict[tuple[int, bool], list[Measure]] = {}
    for measure in measures:
        if measure.name in _TREC_EVAL or measure.name == "F1":
            levels.setdefault((measure.level or 1, measure.is_graded), []).append(measure)
    falling = {qid: {docid: float(-rank) for rank, docid in enumerate(docids)} for qid, docids in ranked.items()}
    found: dict[Measure, dict[str, dict[str, float]]] = {}
    for (level, graded), group in levels.items():
        known = judged
        if graded and level > 1:  # a lower grade is no gain
            known = {qid: {d: g if g >= level else 0 for d, g in grades.items()} for qid, grades in judged.items()}
        names = {name for measure in group for name in _names(measure)}
        evaluator = pytrec_eval.RelevanceEvaluator(known, names, relevance_level=1 if graded else level)
        found |= dict.fromkeys(group, evaluator.evaluate(falling))
    return found


def _names(measure: Measure) -> tuple[str, ...]:
    if measure.name == "F1":
        return tuple(f"{name}_{measure.cutoff}" for name in ("P", "recall")) if measure.cutoff else ("set_F",)
    whole, cut = _TREC_EVAL[measure.name]
    return (f"{cut}_{measure.cutoff}" if measure.cutoff and cut else whole,)


def _combined(measure: Measure, found: Mapping[str, float]) -> float:
    """The measure from trec_eval's values; 0 for a query that trec_eval leaves out, which has no judgment."""
    if not found:
        return 0.0
    first, *others = (found[name] for name in _names(measure))
    if measure.name == "F1" and measure.cutoff:
        return 2 * first * others[0] / (first + others[0]) if first else 0.0
    if measure.name == "RR" and measure.cutoff:
        return first if round(first * measure.cutoff, 6) >= 1 else 0.0
    if measure.name == "Success" and not measure.cutoff:
        return float(first > 0)
    return first * measure.cutoff if measure.name == "NumRelRet" and measure.cutoff else first


# -- not in trec_eval -------------------------------------------------------------------------------------------------


def _gains(measure: Measure, docids: Iterable[str], grades: Grades) -> list[int]:
    level = measure.level or 1
    return [grade if (grade := grades.get(docid, 0)) >= level else 0 for docid in docids]


def _rbp(measure: Measure, docids: Sequence[str], grades: Grades) -> float:
    """Rank-biased precision (Moffat & Zobel, TOIS 2008)."""
    gains = _gains(measure, docids[: measure.cutoff or None], grades)
    p = measure.persistence
    return (1 - p) * math.fsum(p**rank for rank, gain in enumerate(gains) if gain)


def _err(measure: Measure, docids: Sequence[str], grades: Grades) -> float:
    """Expected reciprocal rank (Chapelle et al., CIKM 2009) with 4 as the highest grade, as in gdeval.pl."""
    expected, looking = 0.0, 1.0
    for rank, gain in enumerate(_gains(measure, docids[: measure.cutoff or None], grades), start=1):
        stops = (2 ** min(gain, 4) - 1) / 2**4
        expected += looking * stops / rank
        looking *= 1 - stops
    return expected


def _dcg(measure: Measure, docids: Sequence[str], grades: Grades) -> float:
    gains = _gains(measure, docids, grades)
    return _discounted([2.0**gain - 1 for gain in gains] if "burges" in measure.name else gains, measure.cutoff)


def _ndcg_burges(measure: Measure, docids: Sequence[str], grades: Grades) -> float:
    """nDCG with gains of 2^grade - 1 (Burges et al., ICML 2005)."""
    ideal = _dcg(measure, sorted(grades, key=grades.__getitem__, reverse=True), grades)
    return _dcg(measure, docids, grades) / ideal if ideal else 0.0


def _discounted(gains: Sequence[float], cutoff: int) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[: cutoff or None], start=1))


def _judged(measure: Measure, docids: Sequence[str], grades: Grades) -> float:
    top = docids[: measure.cutoff or None]
    return sum(docid in grades for docid in top) / len(top)


_OWN: Mapping[str, Callable[[Measure, Sequence[str], Grades], float]] = {
    "RBP": _rbp,
    "ERR": _err,
    "DCG": _dcg,
    "DCG_burges": _dcg,
    "nDCG_burges": _ndcg_burges,
}


def judged_at(cutoff: int, qrels: Qrels, run: Run) -> float:
    """The share of judged documents among the top `cutoff` hits of the judged queries."""
    top = [(qid, hit) for qid in qrels for hit in run.get(qid, ())[:cutoff]]
    return sum(hit.docid in qrels[qid] for qid, hit in top) / len(top) if top else 0.0
