"""What a request may ask for beyond an order: the first stage's share of the score, a floor, a time to score in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from rrarank.data.trec import best_first, falling_docid, place_of
from rrarank.data.types import Hit, is_blank
from rrarank.engine.floor import Floor
from rrarank.engine.interpolation import Interpolation, interpolate
from rrarank.errors import RrarankError
from rrarank.serve.events import Asking
from rrarank.serve.scoring import Asked, Ranked

Share = Annotated[float, Field(strict=True, ge=0, le=1)]


class Options(Asking):
    """Fields of a request; absent ones change nothing."""

    interpolate: Share | None = Field(
        default=None,
        description="weight of the reranker's score; 1 - weight is that of the first stage's, which documents hold",
    )
    norm: Literal["z-score", "min-max", "rank"] | None = Field(
        default=None,
        description="how interpolate normalises both; z-score if absent. rank without scores: by the order sent",
    )
    min_score: Annotated[float, Field(strict=True)] | None = Field(
        default=None, description="leave out documents for which the reranker's own score is lower"
    )
    min_relevance: Share | None = Field(
        default=None, description="leave out documents less likely to be relevant; needs a calibrated model"
    )
    relevance_score: Literal["calibrated", "sigmoid"] | None = Field(
        default=None,
        description="what relevance_score is; calibrated if the model is. sigmoid is for clients that sort by it: "
        "a calibrated model may give scores that are near each other one probability",
    )
    budget_ms: Annotated[float, Field(strict=True, gt=0, lt=1e9)] | None = Field(
        default=None,
        description="most milliseconds to score in, about: the first documents that fit; the others are left out",
    )

    @property
    def joins(self) -> bool:
        """Whether the first stage has a share in the score."""
        return self.interpolate is not None and self.interpolate < 1

    def floor(self, *, scores_all: bool) -> Floor:
        """
        Raises:
            RrarankError: there is a floor, and the model scores only the best documents itself.
        """
        found = Floor(self.min_score, self.min_relevance)
        found.check(scores_all=scores_all)
        return found

    def check(self, *, calibrated: bool, pointwise: bool) -> None:
        """
        Raises:
            RrarankError: an option that this server cannot follow, or that means nothing alone.
        """
        if self.norm and self.interpolate is None:
            raise RrarankError("norm: means nothing without interpolate; send both or neither")
        if self.min_relevance is not None and not calibrated:
            raise RrarankError(
                "min_relevance: the model has no calibration, so no probabilities; send min_score instead"
            )
        if self.relevance_score == "calibrated" and not calibrated:
            raise RrarankError("relevance_score: the model has no calibration; send sigmoid or leave it out")
        if self.budget_ms is not None and not pointwise:
            raise RrarankError("budget_ms: this reranker does not score each document on its own; leave it out")


@dataclass(frozen=True)
class Arranged:
    """An answer as the options want it.

    Args:
        ranked: the documents that stay, in their order, with the scores that made it.
        own: position -> the reranker's own score.
    """

    ranked: Ranked
    own: Mapping[int, float]


def check_scores(asked: Asked, options: Options) -> None:
    """
    Raises:
        RrarankError: the first stage's scores tell no document from another.
    """
    if options.joins and options.norm != "rank" and len(asked.scores) > 1 and len(set(asked.scores)) == 1:
        raise RrarankError("interpolate: the first stage's scores are all equal; send its scores, or norm rank")


def within_budget(asked: Asked, options: Options, characters_s: float) -> Asked:
    """The first documents, by the first stage, that can be scored in time; at least one.

    Args:
        characters_s: characters that the server has scored a second, recently.
    """
    if options.budget_ms is None:
        return asked
    room, kept = options.budget_ms / 1000 * characters_s, 0
    order = by_first_stage(asked)
    while kept < len(order) and (room := room - len(asked.query) - len(asked.texts[order[kept]])) >= 0:
        kept += 1
    places = sorted(order[: max(kept, 1)])
    scores = [asked.scores[place] for place in places] if asked.scores else ()
    return Asked(asked.query, [asked.texts[place] for place in places], scores, places)


def arranged(ranked: Ranked, asked: Asked, options: Options, floor: Floor, relevance: Mapping[int, float]) -> Arranged:
    """The answer with the first stage's scores joined in, and without the documents below the floor.

    Args:
        relevance: position -> probability of relevance; empty if the model has no calibration.
    """
    own, order = dict(ranked.order), ranked.order
    if options.interpolate is not None:
        order = _joined(ranked.order, asked, Interpolation(options.interpolate, options.norm or "z-score"))
    if floor:
        blank = {place for place, text in enumerate(asked.texts) if is_blank(text)}
        kept = {place for place in own if place not in blank and floor.keeps(own[place], relevance.get(place))}
        order = [(place, score) for place, score in order if place in kept]
    if asked.places:
        order = [(asked.places[place], score) for place, score in order]
        own = {asked.places[place]: score for place, score in own.items()}
    return Arranged(replace(ranked, order=order), own)


def _joined(order: Sequence[tuple[int, float]], asked: Asked, how: Interpolation) -> list[tuple[int, float]]:
    """Texts that are blank stay at the end, each a whole score below the one before it."""
    blank = [place for place, _ in order if is_blank(asked.texts[place])]
    ours = [Hit(falling_docid(place), score) for place, score in order if not is_blank(asked.texts[place])]
    scores = asked.scores or [-float(place) for place in range(len(asked.texts))]
    first = [Hit(falling_docid(place), scores[place]) for place in by_first_stage(asked)]
    joined = [(place_of(hit.docid), hit.score) for hit in interpolate(ours, first, how)]
    last = joined[-1][1] if joined else 0.0
    return [*joined, *((place, last - number) for number, place in enumerate(blank, start=1))]


def by_first_stage(asked: Asked) -> list[int]:
    """The positions, best first; without scores, as they came."""
    if not asked.scores:
        return list(range(len(asked.texts)))
    hits = best_first(Hit(falling_docid(place), score) for place, score in enumerate(asked.scores))
    return [place_of(hit.docid) for hit in hits]
