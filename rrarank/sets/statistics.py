"""Statistics of a distillation set."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rrarank.data.distillation_set import one_line
from rrarank.data.types import LabelledRanking
from rrarank.data.words import words


@dataclass(frozen=True)
class Spread:
    """Mean, minimum and maximum of a count."""

    mean: float
    least: int
    most: int

    @classmethod
    def of(cls, counts: Sequence[int]) -> Spread:
        return cls(fmean(counts), min(counts), max(counts)) if counts else cls(math.nan, 0, 0)


@dataclass(frozen=True)
class Statistics:
    """Counts over a set.

    Args:
        labelled: queries with at least one training pair.
        verdicts: gravest fault of the answer, or `ok` -> queries.
        listed, missing, unknown: documents per query.
        listed_pairs, missing_pairs: pairs of two listed documents, and of a listed and a missing one.
        documents: number of shown documents; `texts` counts equal texts once, ignoring white space.
        words: words per shown document.
    """

    queries: int
    labelled: int
    verdicts: Mapping[str, int]
    listed: Spread
    missing: Spread
    unknown: Spread
    listed_pairs: int
    missing_pairs: int
    documents: int
    texts: int
    words: Spread


def statistics(labels: Sequence[LabelledRanking]) -> Statistics:
    texts = [one_line(candidate.text) for label in labels for candidate in label.shown]
    sizes = [(len(label.listed), len(label.missing)) for label in labels]
    return Statistics(
        queries=len(labels),
        labelled=sum(listed > 0 and listed + missing > 1 for listed, missing in sizes),
        verdicts=dict(Counter(label.verdict for label in labels).most_common()),
        listed=Spread.of([listed for listed, _ in sizes]),
        missing=Spread.of([missing for _, missing in sizes]),
        unknown=Spread.of([len(label.unknown) for label in labels]),
        listed_pairs=sum(math.comb(listed, 2) for listed, _ in sizes),
        missing_pairs=sum(listed * missing for listed, missing in sizes),
        documents=len(texts),
        texts=len(set(texts)),
        words=Spread.of([len(words(text)) for text in texts]),
    )
