"""Thresholds: the lowest score that keeps a wanted precision, and what it gives on other queries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rrarank.data.calibration import RelevanceMap
from rrarank.measures.calibration import (
    METHODS,
    Estimated,
    JudgedScores,
    estimated,
    folds,
    ratio,
    relevance_of,
    resampled_queries,
)
from rrarank.measures.significance import SEED

if TYPE_CHECKING:
    import numpy as np

REFITS = 200  # resamples for which the map is fitted again


@dataclass(frozen=True)
class Threshold:
    """The lowest score that keeps a wanted precision, and what it gave on queries that it was not chosen on.

    Args:
        wanted: precision.
        score: lowest score kept; not finite if no score reaches `wanted`.
        relevance: the map's value at that score.
        got: precision of the kept pairs.
        kept: pairs kept per query.
        recall: share of the relevant pairs that is kept.
    """

    wanted: float
    score: Estimated
    relevance: float
    got: Estimated
    kept: float
    recall: float


def choose_thresholds(
    judged: JudgedScores, wanted: Sequence[float], method: str, *, seed: int = SEED
) -> list[Threshold]:
    """The lowest score for each wanted precision: the mean relevance, by the map, of the pairs at or above it.

    Its interval fits the map and chooses again on resampled queries. `got` is of held-out queries: in each fold, the
    threshold of the other queries is applied.
    """
    import numpy as np

    ones = np.ones_like(judged.scores)
    by = METHODS[method](judged.scores, judged.relevant, ones)
    chosen = _lowest_scores(judged.scores, relevance_of(judged.scores, by), ones, wanted)
    drawn = resampled_queries(judged.queries, np.random.default_rng(seed), REFITS)
    again = np.array([_chosen_on(judged, times[judged.query].astype(float), wanted, method) for times in drawn])
    held_out = np.empty((len(wanted), len(ones)))  # (wanted, pairs): the threshold of the other queries
    for fold in folds(judged, seed):
        held_out[:, fold] = _chosen_on(judged, (~fold).astype(float), wanted, method)[:, None]
    return [
        Threshold(
            precision,
            estimated(score, again[:, place]),
            float(relevance_of(np.array([score]), by)[0]) if math.isfinite(score) else math.nan,
            *_kept(judged, judged.scores >= held_out[place], seed),
        )
        for place, (precision, score) in enumerate(zip(wanted, chosen, strict=True))
    ]


def apply_thresholds(judged: JudgedScores, chosen: Mapping[float, float], by: RelevanceMap) -> list[Threshold]:
    """What thresholds (wanted precision -> score) that were chosen on other queries give on these."""
    import numpy as np

    return [
        Threshold(
            wanted,
            Estimated(score, math.nan, math.nan),
            float(relevance_of(np.array([score]), by)[0]),
            *_kept(judged, judged.scores >= score, SEED),
        )
        for wanted, score in chosen.items()
    ]


def _chosen_on(judged: JudgedScores, weights: np.ndarray, wanted: Sequence[float], method: str) -> np.ndarray:
    """(wanted,) lowest scores by the map of the weighted pairs."""
    import numpy as np

    used = weights > 0
    scores, relevant, weights = judged.scores[used], judged.relevant[used], weights[used]
    if not 0 < relevant.mean() < 1:
        return np.full(len(wanted), math.inf)
    by = METHODS[method](scores, relevant, weights)
    return _lowest_scores(scores, relevance_of(scores, by), weights, wanted)


def _lowest_scores(
    scores: np.ndarray, relevance: np.ndarray, weights: np.ndarray, wanted: Sequence[float]
) -> np.ndarray:
    """(wanted,) the lowest score above which the mean relevance is as wanted; infinite if there is none."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    mean = np.cumsum((weights * relevance)[order]) / np.cumsum(weights[order])
    last = np.r_[scores[1:] != scores[:-1], True]  # of equal scores: all or none
    found = [scores[last & (mean >= precision)] for precision in wanted]
    return np.array([float(one.min(initial=math.inf)) for one in found])


def _kept(judged: JudgedScores, keep: np.ndarray, seed: int) -> tuple[Estimated, float, float]:
    """Precision of the kept pairs, pairs kept per query, and recall."""
    import numpy as np

    kept, relevant = judged.sums(keep.astype(float)), judged.sums(keep * judged.relevant)
    if not kept.sum():
        return Estimated(math.nan, math.nan, math.nan), 0.0, 0.0
    drawn = resampled_queries(judged.queries, np.random.default_rng(seed))
    precision = estimated(relevant.sum() / kept.sum(), ratio(drawn, relevant, kept))
    return precision, float(kept.sum() / judged.queries), float(relevant.sum() / judged.relevant.sum())
