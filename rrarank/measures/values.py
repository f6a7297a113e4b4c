"""The value of a measure for each query, by ir_measures (pytrec_eval below it: trec_eval's C code in this process).

What ir_measures does not compute in this process is computed here: DCG, nDCG_burges and ERR (it hands the last two to a
Perl program that rounds to five digits), RBP (it needs cwl_eval), F1 and NumRelRet of the top k (it has them of whole
lists only), and Judged (documents of a negative grade are judged, but must not reach trec_eval).

Runs are handed over as strictly falling scores in trec_eval's order, so that no library sees ties. Documents with a
negative grade count as unjudged, as in trec_eval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from rrarank.data.types import Qrels, Run
from rrarank.errors import RrarankError
from rrarank.measures.measure import Measure, parse_measure, parse_measures

Grades = Mapping[str, int]


def per_query_scores(qrels: Qrels, run: Run, measures: Sequence[str]) -> dict[str, dict[str, float]]:
    """measure -> qid -> value, for every query of the qrels; 0 where the run has no hit.

    Raises:
        RrarankError: an unknown measure, or a grade whose gain is no number.
    """
    wanted = parse_measures(measures)
    answered = [qid for qid in qrels if run.get(qid)]
    ranked = {qid: [hit.docid for hit in run[qid]] for qid in answered}
    judged = {qid: {docid: grade for docid, grade in qrels[qid].items() if grade >= 0} for qid in answered}
    parts = {measure: _parts(measure) for measure in wanted.values() if measure.name in _IR_MEASURES}
    by_ir_measures = _ir_measures(set().union(*parts.values()), judged, ranked)

    def value(measure: Measure, qid: str) -> float:
        if measure.name == "Judged":
            return _judged(measure, ranked[qid], qrels[qid])
        if measure.name in _OWN:
            return _OWN[measure.name](measure, ranked[qid], judged[qid])
        return _combined(measure, [by_ir_measures[part][qid] for part in parts[measure]])

    return {
        text: dict.fromkeys(qrels, 0.0) | {qid: value(measure, qid) for qid in answered}
        for text, measure in wanted.items()
    }


# -- by ir_measures ---------------------------------------------------------------------------------------------------

_IR_MEASURES: Mapping[str, tuple[str, str]] = {  # name -> what it is made from, over the whole list and in the top k
    "nDCG": ("nDCG(gains={gains})", "nDCG(gains={gains})@{k}"),
    "AP": ("AP(rel={rel})", "AP(rel={rel})@{k}"),
    "RR": ("RR(rel={rel})", "RR(rel={rel})@{k}"),
    "R": ("SetR(rel={rel})", "R(rel={rel})@{k}"),
    "P": ("SetP(rel={rel})", "P(rel={rel})@{k}"),
    "F1": ("SetF(rel={rel})", "P(rel={rel})@{k} R(rel={rel})@{k}"),
    "Rprec": ("Rprec(rel={rel})", ""),
    "Bpref": ("Bpref(rel={rel})", ""),
    "Success": ("RR(rel={rel})", "Success(rel={rel})@{k}"),
    "NumRelRet": ("NumRet(rel={rel})", "P(rel={rel})@{k}"),
}


def _parts(measure: Measure) -> list[str]:
    """The measures of ir_measures that it is made from; grades below its level are no gain."""
    level = measure.level or 1
    gains = str(dict.fromkeys(range(level), 0)).replace(" ", "")
    whole, cut = _IR_MEASURES[measure.name]
    return (cut if measure.cutoff else whole).format(rel=level, k=measure.cutoff, gains=gains).split()


def _ir_measures(
    names: Collection[str], judged: Qrels, ranked: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    """measure -> qid -> value; 0 for a query without a judgment."""
    import ir_measures

    measures = {ir_measures.parse_measure(name): name for name in names}
    falling = {qid: {docid: float(-rank) for rank, docid in enumerate(docids)} for qid, docids in ranked.items()}
    found: dict[str, dict[str, float]] = {name: dict.fromkeys(ranked, 0.0) for name in names}
    for one in ir_measures.iter_calc(list(measures), judged, falling) if measures else ():
        found[measures[one.measure]][one.query_id] = one.value
    return found


def _combined(measure: Measure, parts: Sequence[float]) -> float:
    first, *others = parts
    if measure.name == "F1" and others:
        return 2 * first * others[0] / (first + others[0]) if first else 0.0
    if measure.name == "Success":
        return float(first > 0)
    return float(round(first * measure.cutoff)) if measure.name == "NumRelRet" and measure.cutoff else first


def over_queries(measure: str, values: Collection[float]) -> float:
    """The mean, or the sum where trec_eval has one."""
    total = math.fsum(values)
    return total if parse_measure(measure).is_sum else total / len(values)


# -- not in ir_measures -----------------------------------------------------------------------------------------------


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
    try:
        return _discounted([2.0**gain - 1 for gain in gains] if "burges" in measure.name else gains, measure.cutoff)
    except OverflowError:
        seen = f"{measure}: 2 to the power of the grade {max(gains)} is no finite number"
        raise RrarankError(f"{seen}; give nDCG, or grades below 1,000") from None


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
    """The share of judged documents among the top `cutoff` hits: the mean of `Judged` over the queries."""
    name = f"Judged@{cutoff}"
    return over_queries(name, per_query_scores(qrels, run, [name])[name].values())
