"""How far a side's scores and orders are from those of reference, and what that does to nDCG@10."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from rrarank.data.types import Hit, Ranking

if TYPE_CHECKING:
    import numpy as np

GAP = 1e-4  # scores nearer than that may change places
FORMATS = {
    "largest |Δscore|": ".1e",
    "order changes": ",.0f",
    "Kendall tau": ".4f",
    "top-10 overlap": ".1%",
    "nDCG@10": ".4f",
    "difference": "+.4f",
    "low": "+.4f",
    "high": "+.4f",
}


def agreement(found: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> dict[str, float]:
    """Over queries: the largest difference of a score, the sum of order changes, and means of the rest."""
    import numpy as np

    from rrarank.engine.agreement import agreement as compare_scores

    alike = compare_scores(found, reference)
    pairs = [(np.array(ours), np.array(theirs)) for ours, theirs in zip(found, reference, strict=True)]
    return {
        "largest |Δscore|": alike.difference,
        "order changes": sum(order_changes(ours, theirs) for ours, theirs in pairs),
        "Kendall tau": alike.tau,
        "top-10 overlap": alike.overlap,
    }


def order_changes(ours: np.ndarray, theirs: np.ndarray) -> int:
    """Pairs of a query's candidates that `theirs` holds clearly apart, and `ours` not in that order."""
    clear = theirs[:, None] - theirs[None, :] >= GAP  # (candidates, candidates)
    return int((clear & (ours[:, None] <= ours[None, :])).sum())


def quality(
    found: Sequence[Sequence[float]],
    reference: Sequence[Sequence[float]],
    rankings: Sequence[Ranking],
    qrels: Path,
) -> dict[str, float]:
    """nDCG@10 over the judged queries; its difference to that of reference, with a 95 % interval over queries."""
    from rrarank.measures.significance import compare

    ours, theirs = ndcg(found, rankings, qrels), ndcg(reference, rankings, qrels)
    difference = compare("", "ndcg@10", list(ours.values()), list(theirs.values()))
    return {
        "nDCG@10": fmean(ours.values()),
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
    }


def ndcg(scores: Sequence[Sequence[float]], rankings: Sequence[Ranking], qrels: Path) -> dict[str, float]:
    """qid -> nDCG@10, of the queries that have judgments."""
    from rrarank.data.trec import best_first, read_qrels
    from rrarank.data.types import Run
    from rrarank.measures.values import per_query_scores

    run = {
        ranking.query.qid: best_first(Hit(c.docid, score) for c, score in zip(ranking.candidates, values, strict=True))
        for ranking, values in zip(rankings, scores, strict=True)
    }
    grades = read_qrels(qrels)
    return per_query_scores({qid: grades[qid] for qid in run if qid in grades}, Run(run), ["ndcg@10"])["ndcg@10"]
