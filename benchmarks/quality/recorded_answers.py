"""What 1,786 recorded list-wise answers are worth: faults, audit, and judgments made from them, against NIST's.

    python -m benchmarks quality recorded_answers FOLDER   # DL 2019's qrels.txt, runs/, reference-runs/, answers

Judgments are made from the answers of one model, output_v2_aug_vicuna_7b; the windows of a query, which slid over
BM25's top 100 in several passes, are merged by their mean Borda count. The systems ranked are orderings of the same
BM25 top 100: the five other first stages, gpt-3.5 and BM25 itself, and reciprocal rank fusions of every two of them;
the model that made the judgments is not among them.
"""

from __future__ import annotations

import gzip
import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from scipy.stats import kendalltau
from tabulate import tabulate

from rrarank import Candidate, Hit, Query, Run, fuse_runs, read_qrels, read_run
from rrarank.data.distillation_set import levels
from rrarank.data.trec import best_first
from rrarank.data.types import LabelledRanking, Qrels
from rrarank.errors import RrarankError
from rrarank.label.audit import audit, table
from rrarank.label.llm_teacher import read_answer
from rrarank.measures.significance import ALPHA, SEED, bootstrap
from rrarank.measures.values import per_query_scores
from rrarank.sets.grades import Steps, grade

MODEL = "output_v2_aug_vicuna_7b"
FEWEST_ORDERINGS = 20
_RESAMPLES = 1_000  # each a Kendall's tau over all systems
STEPS = Steps.parse("3:5,2:10,1:20")  # set beforehand: a few highly relevant, most of 100 not


def main(folder: Path) -> None:
    qrels = read_qrels(folder / "qrels.txt")
    with gzip.open(folder / "llm-listwise-responses.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    labels = [label(row) for row in rows]
    print(tabulate(Counter(found.faults[0] if found.faults else "ok" for found in labels).most_common()), "\n")
    found = audit(labels, qrels)
    print(tabulate(table(found), headers=["documents", "P(relevant)", "95% interval", "judged"], disable_numparse=True))
    print(f"{found.verdict}; {found.echoed} of {found.orders} answers are the order shown\n")

    ours = [one for row, one in zip(rows, labels, strict=True) if row["model"] == MODEL]
    merged = merge_windows(ours)
    print(f"{MODEL}: {len(ours)} answers, {len(merged)} queries, grades {STEPS}")
    agreed = agreement({one.query.qid: levels(one) for one in merged}, qrels)
    rows_out = [["pairwise agreement", agreed.pairwise], ["tau-b per query", agreed.tau]]
    taus = system_tau(orderings(folder), grade(merged, STEPS), qrels)
    rows_out.append([f"tau-b of {taus.orderings} systems, nDCG@10", taus])
    print(tabulate([[name, *shown(value)] for name, value in rows_out], headers=["", "", "95% interval", "queries"]))


def label(row: Mapping[str, Any]) -> LabelledRanking:
    shown_docs = tuple(Candidate(docid, "-", float(-place)) for place, docid in enumerate(row["docids"]))
    return read_answer(LabelledRanking(Query(row["qid"], "-"), shown_docs), row["response"])


def shown(value: Any) -> list[str]:
    mean = value.tau if hasattr(value, "tau") else value.mean
    return [f"{mean:.3f}", f"[{value.low:.3f}, {value.high:.3f}]", str(value.queries)]


def orderings(folder: Path) -> dict[str, Run]:
    first = read_run(folder / "runs" / "bm25.trec")
    paths = [*sorted((folder / "runs").glob("*.trec")), folder / "reference-runs" / "gpt-3.5-turbo-listwise.trec"]
    systems = {path.stem: ordered(first, read_run(path)) for path in paths}
    pairs = combinations(systems, 2)
    return systems | {f"{a}+{b}": fuse_runs([systems[a], systems[b]]) for a, b in pairs}


def ordered(first: Run, by: Run) -> Run:
    """BM25's top 100 in the order of another run; what that lacks follows, as it was."""
    hits = {}
    for qid, found in first.items():
        place = {hit.docid: i for i, hit in enumerate(by.get(qid, ()))}
        docids = sorted((hit.docid for hit in found[:100]), key=lambda docid: place.get(docid, 10**6))
        hits[qid] = [Hit(docid, float(-i)) for i, docid in enumerate(docids)]
    return Run(hits)


def merge_windows(labels: Iterable[LabelledRanking]) -> list[LabelledRanking]:
    """One label a query, from one or several windows over its candidates.

    A document that some window lists is listed, at its mean Borda count: the share of a window's other listed and
    missing documents that stand below it, ties half (Borda, 1781; over partial lists: Dwork et al., WWW 2001), over
    the windows that list or miss it. The windows should be drawn alike: of windows that slide from the bottom up, the
    last order is the answer, not their mean.
    """
    windows: dict[str, list[LabelledRanking]] = {}
    for label in labels:
        windows.setdefault(label.query.qid, []).append(label)
    return [found[0] if len(found) == 1 else _merged(found) for found in windows.values()]


def _merged(windows: Sequence[LabelledRanking]) -> LabelledRanking:
    counts: dict[str, list[float]] = defaultdict(list)
    for window in windows:
        for docid, count in _borda(levels(window)).items():
            counts[docid].append(count)
    shown = {candidate.docid: candidate for window in windows for candidate in window.shown}
    listed = {docid for window in windows for docid in window.listed}
    return replace(
        windows[0],
        shown=tuple(shown.values()),
        listed=tuple(hit.docid for hit in best_first(Hit(docid, fmean(counts[docid])) for docid in listed)),
        missing=tuple(docid for docid in shown if docid in counts and docid not in listed),
        unknown=tuple(docid for docid in shown if docid not in counts),
        not_shown=tuple({docid: 0 for window in windows for docid in window.not_shown if docid not in shown}),
        faults=tuple({fault: 0 for window in windows for fault in window.faults}),
        answer="\n".join(window.answer for window in windows),
        reasons={docid: reason for window in windows for docid, reason in window.reasons.items()},
        provenance={**windows[0].provenance, "windows": len(windows)},
    )


def _borda(level: Mapping[str, int]) -> dict[str, float]:
    values, others = list(level.values()), len(level) - 1
    return {
        docid: (sum(own > value for value in values) + (values.count(own) - 1) / 2) / others if others else 0.5
        for docid, own in level.items()
    }


@dataclass(frozen=True)
class Estimate:
    """A mean over queries, with its 95 % interval (percentile bootstrap over queries)."""

    mean: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True)
class Agreement:
    """Our order against people's grades.

    Args:
        pairwise: share of the pairs with different grades that our order has right, ties half.
        tau: Kendall's tau-b; over the queries where both tell documents apart.
        pairs: how many pairs `pairwise` rests on.
    """

    pairwise: Estimate
    tau: Estimate
    pairs: int


def agreement(ours: Mapping[str, Mapping[str, float]], nist: Qrels, *, seed: int = SEED) -> Agreement:
    """How far an order agrees with judgments, over the documents that both hold.

    Args:
        ours: qid -> docid -> score, higher is better: levels, grades or a run's scores.

    Raises:
        RrarankError: no query has two such documents of different grades.
    """
    shares, taus, pairs = [], [], 0
    for qid, scores in ours.items():
        both = [docid for docid in scores if docid in nist.get(qid, {})]
        own = np.array([scores[docid] for docid in both], dtype=float)
        theirs = np.array([nist[qid][docid] for docid in both], dtype=float)
        right, compared = _pairs_right(own, theirs)
        if compared:
            pairs += compared
            shares.append(right / compared)
            taus.append(_tau_b(own, theirs))
    if not shares:
        raise RrarankError("no query has two documents that both sides judged and people graded differently")
    return Agreement(_estimate(shares, seed), _estimate([tau for tau in taus if not math.isnan(tau)], seed), pairs)


def _pairs_right(own: np.ndarray, theirs: np.ndarray) -> tuple[float, int]:
    """Pairs in our order, ties half, of those that people told apart: (1 + Somers' D) / 2 is their share (American
    Sociological Review, 1962)."""
    apart = theirs[:, None] > theirs  # (n, n): row better than column
    ahead = np.sign(own[:, None] - own)[apart]
    return float((1 + ahead).sum() / 2), int(apart.sum())


def _tau_b(own: np.ndarray, theirs: np.ndarray) -> float:
    """Kendall's tau-b (Biometrika, 1945); NaN where either ties all."""
    return float(kendalltau(own, theirs).statistic)


def _estimate(values: Sequence[float], seed: int) -> Estimate:
    if not values:
        return Estimate(math.nan, math.nan, math.nan, 0)
    return Estimate(fmean(values), *bootstrap(values, seed=seed), len(values))


@dataclass(frozen=True)
class SystemTau:
    """Kendall's tau-b between two orders of the same systems, with its 95 % interval (bootstrap over queries)."""

    tau: float
    low: float
    high: float
    orderings: int
    queries: int


def system_tau(
    orderings: Mapping[str, Run], ours: Qrels, nist: Qrels, measure: str = "ndcg@10", *, seed: int = SEED
) -> SystemTau:
    """Would our judgments rank systems as people's do? (Voorhees, Information Processing & Management, 2000)

    Args:
        orderings: name -> run, at least `FEWEST_ORDERINGS`; means are over the queries that both judge.

    Raises:
        RrarankError: too few orderings, or fewer than two queries in common.
    """
    qids = [qid for qid in nist if qid in ours]
    if len(orderings) < FEWEST_ORDERINGS or len(qids) < 2:
        raise RrarankError(
            f"{len(orderings)} orderings over {len(qids)} queries that both judge; expected at least "
            f"{FEWEST_ORDERINGS} over 2: fewer say nothing of an order of systems"
        )
    own, theirs = (_scores(orderings.values(), qids, qrels, measure) for qrels in (ours, nist))
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(qids), size=len(qids)) for _ in range(_RESAMPLES))
    taus = [_tau(own[:, drawn], theirs[:, drawn]) for drawn in draws]
    low, high = np.nanquantile(taus, [ALPHA / 2, 1 - ALPHA / 2])
    tau = _tau(own, theirs)
    return SystemTau(tau, float(low), float(high), len(orderings), len(qids))


def _scores(runs: Iterable[Run], qids: Sequence[str], qrels: Qrels, measure: str) -> np.ndarray:
    """(runs, queries) of the measure."""
    judged = {qid: qrels[qid] for qid in qids}
    return np.array([list(per_query_scores(judged, run, [measure])[measure].values()) for run in runs])


def _tau(own: np.ndarray, theirs: np.ndarray) -> float:
    return float(kendalltau(own.mean(axis=1), theirs.mean(axis=1)).statistic)  # of (runs, queries)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
