"""Fit a map from scores to the probability of relevance, and measure on held-out queries how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rrarank.data.calibration import Isotonic, Platt, RelevanceMap
from rrarank.errors import RrarankError
from rrarank.measures.significance import ALPHA, SEED

if TYPE_CHECKING:
    import numpy as np

FOLDS = 10
BINS = 10
RESAMPLES = 1_000
DRAWS = 100  # of labels, for `ece_of_noise`

Fit = Callable[["np.ndarray", "np.ndarray", "np.ndarray"], RelevanceMap]
"""(scores, 1 or 0 for relevant, weights), each (pairs,) -> the map."""


@dataclass(frozen=True)
class JudgedScores:
    """A model's scores of judged documents.

    Args:
        scores: (pairs,) the model's own.
        relevant: (pairs,) 1.0 or 0.0.
        query: (pairs,) the number of the pair's query, from 0.
    """

    scores: np.ndarray
    relevant: np.ndarray
    query: np.ndarray

    @property
    def queries(self) -> int:
        return int(self.query.max(initial=-1)) + 1

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(queries,) the sum of a value over each query's pairs."""
        import numpy as np

        return np.bincount(self.query, values, self.queries)


@dataclass(frozen=True)
class Estimated:
    """A value with the bounds of its 95% interval over resampled queries."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Pairs of similar predicted relevance: the mean prediction, and the share that is relevant."""

    predicted: float
    observed: Estimated
    pairs: int


@dataclass(frozen=True)
class Reliability:
    """How far predicted relevance can be trusted.

    Args:
        share: of the pairs that is relevant.
        ece: expected calibration error, see `measure_reliability`.
        ece_of_noise: the ECE that a perfect map would show on so many pairs, as labels are drawn by chance.
        brier: mean of (predicted - relevant)^2.
        brier_of_share: the Brier score of predicting `share` for every pair.
        bins: of a reliability diagram, each with about as many pairs expected to be relevant.
    """

    queries: int
    pairs: int
    share: float
    ece: Estimated
    ece_of_noise: float
    brier: Estimated
    brier_of_share: float
    bins: tuple[Bin, ...]


# -- maps -------------------------------------------------------------------------------------------------------------


def fit_platt(scores: np.ndarray, relevant: np.ndarray, weights: np.ndarray) -> Platt:
    """Logistic regression on the score, with Platt's smoothed targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2).

    Platt, Probabilistic Outputs for Support Vector Machines, 1999 (scipy.optimize.minimize).
    """
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import expit

    positive = float(weights @ relevant)
    negative = float(weights.sum()) - positive
    target = np.where(relevant > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))
    center, spread = float(scores.mean()), float(scores.std()) or 1.0
    x = (scores - center) / spread

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        z = at[0] * x + at[1]
        error = weights * (expit(z) - target)
        return float(weights @ (np.logaddexp(0, z) - target * z)), np.array([error @ x, error.sum()])

    start = np.array([1.0, math.log((positive + 1) / (negative + 1))])
    slope, intercept = minimize(loss, start, jac=True, method="BFGS").x
    return Platt(float(slope / spread), float(intercept - slope * center / spread))


def fit_isotonic(scores: np.ndarray, relevant: np.ndarray, weights: np.ndarray) -> Isotonic:
    """The rising steps of least squared error, on equal scores one value (scipy.optimize.isotonic_regression).

    Zadrozny & Elkan, Transforming Classifier Scores into Accurate Multiclass Probability Estimates, KDD 2002. The first
    and the last step often hold few pairs, all alike, which show no certainty: theirs is (relevant + 1) / (pairs + 2),
    Laplace's rule of succession, as far as the map still rises.
    """
    import numpy as np
    from scipy.optimize import isotonic_regression

    used = weights > 0
    scores, relevant, weights = scores[used], relevant[used], weights[used]
    distinct, place = np.unique(scores, return_inverse=True)
    weight = np.bincount(place, weights)
    share = np.bincount(place, weights * relevant) / weight
    steps = isotonic_regression(share, weights=weight).x
    for end, limit in ((steps == steps[-1], np.maximum), (steps == steps[0], np.minimum)):
        cautious = (weight[end] @ share[end] + 1) / (weight[end].sum() + 2)
        rest = steps[~end]
        steps[end] = limit(cautious, limit.reduce(rest)) if len(rest) else cautious
    corner = np.r_[True, steps[1:] != steps[:-1]] | np.r_[steps[1:] != steps[:-1], True]
    return Isotonic(tuple(distinct[corner].tolist()), tuple(steps[corner].tolist()))


METHODS: Mapping[str, Fit] = {"platt": fit_platt, "isotonic": fit_isotonic}


def relevance_of(scores: np.ndarray, by: RelevanceMap) -> np.ndarray:
    """(pairs,) the map's values."""
    import numpy as np
    from scipy.special import expit

    if isinstance(by, Platt):
        return np.asarray(expit(by.slope * scores + by.intercept))
    return np.asarray(np.interp(scores, by.scores, by.relevance))


def fit_map(judged: JudgedScores, method: str) -> RelevanceMap:
    """
    Raises:
        RrarankError: all pairs are relevant, or none is; or the scores do not rise with relevance.
    """
    import numpy as np

    found = METHODS[method](judged.scores, judged.relevant, np.ones_like(judged.scores))
    if found.is_monotone and (isinstance(found, Platt) or len(set(found.relevance)) > 1):
        return found
    raise RrarankError(
        "relevant documents do not have higher scores than others here, so no score says how relevant a document is; "
        "use another model, or more judgments"
    )


def cross_fitted(judged: JudgedScores, method: str, *, seed: int = SEED) -> np.ndarray:
    """(pairs,) each pair's relevance by the map of the other queries, in `FOLDS` folds of queries."""
    import numpy as np

    found = np.empty_like(judged.scores)
    for held_out in folds(judged, seed):
        rest = ~held_out
        by = METHODS[method](judged.scores[rest], judged.relevant[rest], np.ones(int(rest.sum())))
        found[held_out] = relevance_of(judged.scores[held_out], by)
    return found


def folds(judged: JudgedScores, seed: int) -> list[np.ndarray]:
    """Masks of pairs, (pairs,) each: the queries in random groups of about equal size."""
    import numpy as np

    order = np.random.default_rng(seed).permutation(judged.queries)
    groups = np.array_split(order, min(FOLDS, judged.queries))
    return [np.isin(judged.query, group) for group in groups]


# -- how far it can be trusted ----------------------------------------------------------------------------------------


def measure_reliability(judged: JudgedScores, relevance: np.ndarray, *, seed: int = SEED) -> Reliability:
    """ECE, Brier score (Brier, 1950) and a reliability diagram's bins.

    ECE = sum over bins of (pairs of the bin / all pairs) x |mean prediction - relevant share| (Guo et al., ICML 2017),
    over `BINS` bins of about as many pairs each (Nixon et al., 2019): most candidates are predicted near 0, where bins
    of equal width would put nearly all of them into one. Intervals resample queries. The ECE of few pairs is too high
    (compare it with `ece_of_noise`), and that of their resamples higher still: its interval is shifted by that.

    Args:
        relevance: (pairs,) predictions that were not fitted on the same queries.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    resampled, ones = resampled_queries(judged.queries, rng), np.ones((1, judged.queries))
    cells = _Cells(judged, relevance, _edges(relevance, np.ones_like(relevance)))
    count, predicted, observed = cells.sums()
    labels = ((rng.random(len(relevance)) < relevance).astype(float) for _ in range(DRAWS))
    noise = [float(_ece(ones, count, predicted, cells.sum(drawn))[0]) for drawn in labels]
    squares, pairs = judged.sums((relevance - judged.relevant) ** 2), count.sum(1)
    share = float(judged.relevant.mean())
    return Reliability(
        judged.queries,
        len(relevance),
        share,
        _shifted(_ece(ones, count, predicted, observed)[0], _ece(resampled, count, predicted, observed)),
        float(np.mean(noise)),
        estimated(squares.sum() / len(relevance), ratio(resampled, squares, pairs)),
        share * (1 - share),
        _diagram(_Cells(judged, relevance, _edges(relevance, relevance)), resampled),
    )


def _edges(relevance: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The inner bounds of `BINS` bins of about equal weight; fewer where many predictions are equal."""
    import numpy as np

    order = np.argsort(relevance, kind="stable")
    below = np.cumsum(weights[order])
    places = np.searchsorted(below, below[-1] * np.arange(1, BINS) / BINS)
    return np.unique(relevance[order][places])


class _Cells:
    """Sums over the pairs of each query in each bin."""

    def __init__(self, judged: JudgedScores, relevance: np.ndarray, edges: np.ndarray) -> None:
        import numpy as np

        self._judged, self._relevance, self._bins = judged, relevance, len(edges) + 1
        self._cell = judged.query * self._bins + np.searchsorted(edges, relevance, side="right")

    def sum(self, values: np.ndarray) -> np.ndarray:
        """(queries, bins) of (pairs,)."""
        import numpy as np

        size = self._judged.queries * self._bins
        return np.bincount(self._cell, values, size).reshape(self._judged.queries, self._bins)

    def sums(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(queries, bins) each: pairs, the sum of their predictions, relevant pairs."""
        import numpy as np

        return self.sum(np.ones_like(self._relevance)), self.sum(self._relevance), self.sum(self._judged.relevant)


def _diagram(cells: _Cells, resampled: np.ndarray) -> tuple[Bin, ...]:
    count, predicted, observed = cells.sums()
    return tuple(
        Bin(
            float(predicted[:, place].sum() / pairs),
            estimated(observed[:, place].sum() / pairs, ratio(resampled, observed[:, place], count[:, place])),
            int(pairs),
        )
        for place, pairs in enumerate(count.sum(0))
        if pairs
    )


def resampled_queries(queries: int, rng: np.random.Generator, times: int = RESAMPLES) -> np.ndarray:
    """(times, queries) how often each query is drawn, with replacement."""
    return rng.multinomial(queries, [1 / queries] * queries, size=times)


def _ece(drawn: np.ndarray, count: np.ndarray, predicted: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """(resamples,) of (resamples, queries) and three (queries, bins)."""
    import numpy as np

    return np.asarray(np.abs(drawn @ predicted - drawn @ observed).sum(1) / (drawn @ count).sum(1))


def _shifted(value: float, resampled: np.ndarray) -> Estimated:
    """The interval around the value itself, where resampled values lie above it on average; none is below 0."""
    found = estimated(value, resampled - resampled.mean() + value)
    return Estimated(found.value, max(found.low, 0.0), found.high)


def ratio(drawn: np.ndarray, above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """(resamples,) sums over the queries drawn, divided; NaN where nothing was drawn."""
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((drawn @ above) / (drawn @ below))


def estimated(value: float, resampled: np.ndarray) -> Estimated:
    """With the percentiles of the resampled values; one that is not defined in every resample has no interval."""
    import numpy as np

    if np.isnan(resampled).mean() > ALPHA / 2 or len(resampled) < 2:
        return Estimated(float(value), math.nan, math.nan)
    low, high = np.nanquantile(resampled, [ALPHA / 2, 1 - ALPHA / 2], method="inverted_cdf")
    return Estimated(float(value), float(low), float(high))
