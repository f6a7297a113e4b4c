"""The least score or relevance of a document that is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rrarank.data.frames import is_real
from rrarank.errors import RrarankError


@dataclass(frozen=True)
class Floor:
    """Documents below it are left out, and so are those that the reranker did not score.

    Args:
        score: least score of the reranker itself, whatever it is joined with; None for no limit.
        relevance: least probability of relevance, from 0 to 1; None for no limit.

    Raises:
        RrarankError: a score that is not finite, or a relevance outside of 0 to 1.
    """

    score: float | None = None
    relevance: float | None = None

    def __post_init__(self) -> None:
        if self.score is not None and not (is_real(self.score) and math.isfinite(self.score)):
            raise RrarankError(f"min_score {self.score!r}, expected a finite number")
        if self.relevance is not None and not (is_real(self.relevance) and 0 <= self.relevance <= 1):
            raise RrarankError(f"min_relevance {self.relevance!r}, expected a number from 0 to 1")

    def __bool__(self) -> bool:
        return self.score is not None or self.relevance is not None

    def check(self, *, scores_all: bool) -> None:
        """
        Raises:
            RrarankError: there is a floor, and the reranker scores only the best documents itself.
        """
        if self and not scores_all:
            named = "min_relevance" if self.score is None else "min_score"
            raise RrarankError(
                f"{named}: the second reranker of a cascade scores only the best documents, so nothing is known of the "
                "others; use it alone, with fewer documents"
            )

    def keeps(self, score: float, relevance: float | None) -> bool:
        """Whether a document is kept; without a relevance, only one without a least relevance keeps it."""
        if self.score is not None and score < self.score:
            return False
        return self.relevance is None or (relevance is not None and relevance >= self.relevance)
