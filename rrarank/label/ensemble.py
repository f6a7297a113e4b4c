"""Several teachers as one: each one's scores normalised within the query, then averaged by weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from types import UnionType

from rrarank.data.frames import seen_value
from rrarank.data.trec import best_first
from rrarank.data.types import Hit, LabelledRanking, Run
from rrarank.engine import registry
from rrarank.engine.interpolation import z_scores
from rrarank.errors import RrarankError, did_you_mean
from rrarank.label.teacher import ScorerConfig, Teacher
from rrarank.llm.base import Answer, Failure

FIRST_STAGE = "first-stage"
UNFIT = ("bm25", "listwise-llm")  # they have no scores of their own: the pre-ranker's, or none
MEMBERS = ("reranker", "model", "fingerprint", "scores")  # what is known of each; a first stage has no fingerprint
MOST_DIGITS = 6  # of a z-score in the set


@dataclass(frozen=True)
class EnsembleConfig:
    """Several teachers that score every candidate.

    Args:
        members: rerankers; `first-stage` means the scores of the run.
        weights: of each member in the mean; empty: all equal.

    Raises:
        RrarankError: no members, an unknown one, or weights that do not fit.
    """

    members: Sequence[ScorerConfig]
    weights: Sequence[float] = ()

    def __post_init__(self) -> None:
        if not self.members:
            raise RrarankError("an ensemble needs members (--teachers)")
        if not _are(self.members, ScorerConfig):
            raise RrarankError(f"members {seen_value(self.members)}, expected a list of ScorerConfig(name, model)")
        if not _are(self.weights, int | float):
            raise RrarankError(f"weights {seen_value(self.weights)}, expected a list of numbers, one for each member")
        known = [FIRST_STAGE, *(name for name in registry.names() if name not in UNFIT)]
        for member in self.members:
            if member.name not in known:
                hint = did_you_mean(member.name, known)
                raise RrarankError(
                    f"members (--teachers): no teacher named {member.name!r}{hint} (known: {', '.join(known)})"
                )
        if self.weights and len(self.weights) != len(self.members):
            seen = f"{len(self.weights)} weights (--teacher-weights) for {len(self.members)} members (--teachers)"
            raise RrarankError(f"{seen}; give one each")
        if bad := [weight for weight in self.weights if not (isfinite(weight) and weight > 0)]:
            raise RrarankError(f"weights (--teacher-weights): {bad[0]:g}, expected numbers above zero")
        if not isfinite(sum(self.weights)):
            raise RrarankError("weights (--teacher-weights): their sum is too large; divide all by the same number")


def _are(values: object, kind: type | UnionType) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, kind) for value in values)


class FirstStageScores(Teacher):
    """The scores of the first stage."""

    kind = FIRST_STAGE
    rule = "every candidate has the first stage's score: nothing is missing"

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def label(self, shown: LabelledRanking) -> LabelledRanking:
        there = {candidate.docid for candidate in shown.shown}
        scores = {hit.docid: hit.score for hit in best_first(self.run[shown.query.qid]) if hit.docid in there}
        provenance = self.provenance(shown, reranker=self.kind, model=self.run.tag, scores=scores)
        return replace(shown, listed=tuple(scores), provenance=provenance)


class Ensemble(Teacher):
    """Teachers that score every candidate, ordered by the weighted mean of their z-scores within the query.

    Each member's answers stand in the journal under its own key: a job that continues asks only the members that are
    left, and an ensemble with a new member asks only that one.

    Args:
        members: teachers whose labels hold `scores` in their provenance.
        weights: of each member; empty: all equal.
    """

    kind = "ensemble"
    rule = (
        "every candidate is scored by several teachers; weighted mean of z-scores within the query; nothing is missing"
    )

    def __init__(self, members: Sequence[Teacher], weights: Sequence[float] = ()) -> None:
        super().__init__()
        self.members, self.weights = members, list(weights) or [1.0] * len(members)

    def ask(self, lists: Sequence[LabelledRanking]) -> Iterator[tuple[str, Answer | Failure | None]]:
        for member in self.members:  # one after the other, so that no two models compute at the same time
            yield from member.ask(lists)

    def label(self, shown: LabelledRanking) -> LabelledRanking | None:
        labels = [member.label(shown) for member in self.members]
        answered = [label.provenance for label in labels if label is not None]
        if len(answered) < len(labels):
            return None
        teachers = [
            {**{name: own[name] for name in MEMBERS if name in own}, "weight": weight}
            for own, weight in zip(answered, self.weights, strict=True)
        ]
        scores = dict(mean_z_scores([own["scores"] for own in answered], self.weights))  # type: ignore[misc]
        model = ", ".join(str(own["model"]) for own in answered)
        provenance = self.provenance(shown, model=model, teachers=teachers, scores=scores)
        return replace(shown, listed=tuple(scores), provenance=provenance)


def mean_z_scores(scores: Sequence[Mapping[str, float]], weights: Sequence[float]) -> list[Hit]:
    """The same documents with the weighted mean of their z-scores, best first."""
    normalised = [dict(zip(own, z_scores(list(own.values())), strict=True)) for own in scores]
    total = sum(weights)
    return best_first(
        Hit(docid, round(sum(w * own[docid] for w, own in zip(weights, normalised, strict=True)) / total, MOST_DIGITS))
        for docid in scores[0]
    )
