"""Interpolation: a reranker's scores and the first stage's, normalised per query and added with weights.

A reranker can be worse than a strong first stage on its own and still know what the first stage does not. The convex
combination of normalised scores is analysed by Bruch et al. (An Analysis of Fusion Functions for Hybrid Retrieval,
TOIS 2023); Askari et al. (Injecting the BM25 Score as Text Improves BERT-Based Re-rankers, ECIR 2023) measure it for
cross-encoders over BM25.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import mul
from statistics import fmean, pstdev

from rrarank.data.trec import best_first
from rrarank.data.types import Hit
from rrarank.errors import RrarankError, did_you_mean, say

_LOG = logging.getLogger(__name__)


def z_scores(scores: Sequence[float]) -> list[float]:
    """(s - mean) / standard deviation; zeros where all scores are equal."""
    mean, spread = fmean(scores), pstdev(scores)
    return [(score - mean) / spread if spread else 0.0 for score in scores]


def min_max(scores: Sequence[float]) -> list[float]:
    """(s - min) / (max - min); zeros where all scores are equal."""
    low, width = min(scores), max(scores) - min(scores)
    return [(score - low) / width if width else 0.0 for score in scores]


def ranks(scores: Sequence[float]) -> list[float]:
    """From 1 for the first to 0 for the last, by place: the scores must be in falling order."""
    return [1 - place / max(len(scores) - 1, 1) for place in range(len(scores))]


NORMS: Mapping[str, Callable[[Sequence[float]], list[float]]] = {
    "z-score": z_scores,
    "min-max": min_max,
    "rank": ranks,
}


LEXICAL, LEARNED = "lexical", "learned"
"""Kinds of first stages: BM25 and such; dense and learned-sparse."""


@dataclass(frozen=True)
class Rule:
    """The weight for a whole run: by the kind of its first stage, or if that is unknown by how much the rankings agree.

    Agreement is Spearman's rank correlation of the two scores over the re-ranked candidates of a query, from -1 to 1,
    and its mean over the queries. A single query's value is too uncertain to choose a weight by.

    Args:
        threshold: of the mean agreement.
        agreeing: the reranker's weight from the threshold on.
        differing: its weight below the threshold.
        lexical: its weight over a lexical first stage; None: by the agreement. So too `learned`.

    Raises:
        RrarankError: a weight outside of 0 to 1, or a threshold that is no number.
    """

    threshold: float
    agreeing: float
    differing: float
    lexical: float | None = None
    learned: float | None = None

    def __post_init__(self) -> None:
        for weight in (self.agreeing, self.differing, self.lexical, self.learned):
            if weight is not None:
                _check_weight(weight)
        if not math.isfinite(self.threshold):
            raise RrarankError(f"threshold {self.threshold} of a rule, expected a number")

    def by_kind(self, kind: str) -> float | None:
        """The weight for this kind of first stage; None if it is unknown, or the rule does not say it."""
        return {LEXICAL: self.lexical, LEARNED: self.learned}.get(kind)

    def weight(self, agreement: float) -> float:
        return self.agreeing if agreement >= self.threshold else self.differing


def _check_weight(weight: float) -> None:
    if not 0 <= weight <= 1:
        raise RrarankError(f"interpolation weight {weight}, expected a number from 0 to 1")


def mean_agreement(reranked: Mapping[str, Sequence[Hit]], first_stage: Mapping[str, Sequence[Hit]]) -> float:
    """The mean rank correlation over the queries with at least two re-ranked candidates; 0 if there are none.

    Args:
        reranked: qid -> candidates with the reranker's scores.
        first_stage: qid -> hits, which hold at least these candidates.
    """
    found = []
    for qid, hits in reranked.items():
        if len(hits) > 1:
            first = dict(first_stage[qid])
            found.append(rank_correlation([hit.score for hit in hits], [first[hit.docid] for hit in hits]))
    return fmean(found) if found else 0.0


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rho, with mean ranks for ties; 0 where either list is constant."""
    ones, others = z_scores(mean_ranks(one)), z_scores(mean_ranks(other))
    return fmean(map(mul, ones, others))


def mean_ranks(scores: Sequence[float]) -> list[float]:
    """The place of each score from the lowest, 0; equal scores share the mean of their places."""
    from scipy.stats import rankdata

    return [place - 1.0 for place in rankdata(scores).tolist()]


@dataclass(frozen=True)
class Interpolation:
    """How the two scores are joined.

    Args:
        weight: of the reranker, from 0 to 1; 1 keeps the reranker's own scores, 0 the first stage's order.
        norm: `z-score`, `min-max` or `rank`.
        rule: decides the weight instead of `weight`.
        first_stage: the kind that the rule may decide by, LEXICAL or LEARNED; empty: unknown.

    Raises:
        RrarankError: a weight outside of 0 to 1, or an unknown norm.
    """

    weight: float = 1.0
    norm: str = "z-score"
    rule: Rule | None = None
    first_stage: str = ""

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        if self.norm not in NORMS:
            raise RrarankError(
                f"no norm named {self.norm!r}{did_you_mean(self.norm, NORMS)} (known: {', '.join(NORMS)})"
            )

    @property
    def needs_agreement(self) -> bool:
        """Whether the weight is known only when all queries are re-ranked."""
        return self.rule is not None and self.rule.by_kind(self.first_stage) is None

    @property
    def is_reranker_alone(self) -> bool:
        return self.weight == 1 and self.rule is None

    def settled(self, reranked: Mapping[str, Sequence[Hit]], first_stage: Mapping[str, Sequence[Hit]]) -> Interpolation:
        """The same with the weight that the rule gives for this run."""
        if self.rule is None:
            return self
        if (weight := self.rule.by_kind(self.first_stage)) is not None:
            return replace(self, weight=weight, rule=None)
        agreement = mean_agreement(reranked, first_stage)
        weight = self.rule.weight(agreement)
        _LOG.info("weight of the reranker %g: the two rankings agree by %.2f (rank correlation)", weight, agreement)
        return replace(self, weight=weight, rule=None)


def say_weight(how: Interpolation, alone: str) -> None:
    """Say the weight that a rule gives for this kind of first stage.

    Args:
        alone: how the caller has the reranker decide alone.
    """
    if how.rule and (weight := how.rule.by_kind(how.first_stage)) is not None:
        kind = {LEXICAL: "lexical", LEARNED: "dense or learned-sparse"}[how.first_stage]
        say(f"the first stage is {kind}, so the reranker's weight is {weight:g}; for the reranker alone: {alone}")


def interpolate(reranked: Sequence[Hit], first_stage: Sequence[Hit], how: Interpolation) -> list[Hit]:
    """weight x N(reranker) + (1 - weight) x N(first stage), over the re-ranked candidates of one query; best first.

    Args:
        reranked: candidates with the reranker's scores, best first.
        first_stage: hits of the same query, best first; those that were not re-ranked do not count.
    """
    if how.is_reranker_alone or not reranked:
        return list(reranked)
    norm, docids = NORMS[how.norm], {hit.docid for hit in reranked}
    before = [hit for hit in first_stage if hit.docid in docids]
    first = dict(zip((hit.docid for hit in before), norm([hit.score for hit in before]), strict=True))
    ours = norm([hit.score for hit in reranked])
    return best_first(
        Hit(hit.docid, how.weight * own + (1 - how.weight) * first[hit.docid])
        for hit, own in zip(reranked, ours, strict=True)
    )


def check_first_stage(run: Mapping[str, Sequence[Hit]], depth: int, how: Interpolation) -> str:
    """Whether the run's scores can be interpolated; returns a warning where they say no more than the ranks do.

    Raises:
        RrarankError: all scores of every query are equal, and a weight was given.
    """
    if how.is_reranker_alone or how.norm == "rank":
        return ""
    scores = [[hit.score for hit in run[qid][:depth]] for qid in run]
    if any(len(one) > 1 for one in scores) and all(len(set(one)) < 2 for one in scores):
        if how.rule:
            return "the first stage's scores are equal for all documents of a query, so the reranker alone decides"
        raise RrarankError(
            "interpolation (--interpolate): the first stage's scores are equal for all documents of a query; give "
            "a run with scores, norm rank (--norm rank), or no interpolation"
        )
    longest = max(scores, key=len, default=[])
    if len(scores) > 1 and len(longest) > 2 and all(one == longest[: len(one)] for one in scores):
        return "the first stage's scores are the same for every query, so they are ranks; --norm rank may fit better"
    return ""
