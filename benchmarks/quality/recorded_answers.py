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
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau
from tabulate import tabulate

from rrarank import Candidate, Hit, Query, Run, fuse_runs, read_qrels, read_run
from rrarank.data.distillation_set import levels
from rrarank.data.types import LabelledRanking, Qrels
from rrarank.errors import RrarankError
from rrarank.label.audit import audit, table
from rrarank.label.llm_teacher import read_answer
from rrarank.measures.scores import per_query_scores
from rrarank.measures.significance import ALPHA, SEED
from rrarank.sets.grades import Steps, agreement, grade, merge_windows

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
    taus = system_tau(orderings(folder), grade(ours, STEPS), qrels)
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
