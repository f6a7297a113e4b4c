"""Long documents: split into passages, score each, merge the scores (FirstP, MaxP: Dai & Callan, SIGIR 2019)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from statistics import fmean

from rrarank.data.types import Candidate, Hit, Ranking
from rrarank.data.words import word_pieces
from rrarank.errors import RrarankError

_MERGE: dict[str, Callable[[list[float]], float]] = {"max": max, "first": itemgetter(0), "mean": fmean}
AGGREGATES = tuple(_MERGE)


@dataclass(frozen=True)
class Passages:
    """How documents are split.

    Args:
        words: words per passage; 0 leaves documents whole, and the model truncates them.
        stride: words from the start of one passage to the next; 0 for `words` (no overlap).
        aggregate: a document's score is the `max`, `first` or `mean` of its passages' scores.
    """

    words: int = 0
    stride: int = 0
    aggregate: str = "max"

    def __post_init__(self) -> None:
        if self.aggregate not in _MERGE:
            raise RrarankError(f"aggregate {self.aggregate!r}, expected one of {', '.join(AGGREGATES)}")
        if self.words < 0 or self.stride < 0:
            raise RrarankError(f"passages of {self.words} words with stride {self.stride}: neither may be negative")
        if self.stride and not self.words:
            raise RrarankError(f"passage stride {self.stride} without a length; give words (--passage-words) too")
        if self.stride > self.words:
            raise RrarankError(
                f"passages of {self.words} words with stride {self.stride} would skip words between them"
            )


WHOLE = Passages()
"""Documents are not split."""


def split_passages(ranking: Ranking, passages: Passages) -> Ranking:
    """The ranking of passages `docid#0`, `docid#1`, …; the same ranking if documents are not split."""
    if not passages.words:
        return ranking
    candidates = (
        Candidate(f"{candidate.docid}#{number}", text, candidate.score)
        for candidate in ranking.candidates
        for number, text in enumerate(_windows(candidate.text, passages))
    )
    return Ranking(ranking.query, tuple(candidates))


def _windows(text: str, passages: Passages) -> Iterator[str]:
    pieces = word_pieces(" ".join(text.split()))
    stride = passages.stride or passages.words
    for start in range(0, len(pieces), stride):
        yield "".join(pieces[start : start + passages.words]).strip()
        if start + passages.words >= len(pieces) or passages.aggregate == "first":
            return


def merge_passages(ranking: Ranking, passages: Passages) -> list[Hit]:
    """One hit per document, from the scores of its passages."""
    if not passages.words:
        return [Hit(candidate.docid, candidate.score) for candidate in ranking.candidates]
    scores: dict[str, list[float]] = defaultdict(list)
    for candidate in ranking.candidates:
        scores[candidate.docid.rpartition("#")[0]].append(candidate.score)
    return [Hit(docid, _MERGE[passages.aggregate](values)) for docid, values in scores.items()]
