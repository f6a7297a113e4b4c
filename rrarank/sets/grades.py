"""Judgments made from a teacher's rankings, and how well they agree with people's."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from statistics import fmean
from typing import TYPE_CHECKING

from rrarank.data.distillation_set import levels
from rrarank.data.trec import best_first
from rrarank.data.types import Hit, LabelledRanking, Qrels
from rrarank.errors import RrarankError
from rrarank.measures.significance import SEED, bootstrap

if TYPE_CHECKING:
    import numpy as np

# -- grades -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Steps:
    """How many of the listed documents get which grade, from the first on; the listed ones after them get 0.

    Args:
        counts: (grade, number of documents), grades falling; a number of None is all that are left.
    """

    counts: Sequence[tuple[int, int | None]] = ((3, 1), (2, 3), (1, 5))

    @classmethod
    def parse(cls, text: str) -> Steps:
        """`3:1,2:3,1:5`: the first listed gets 3, the next three 2, the next five 1. `2:3,1:*`: all after three get 1,
        which suits a teacher that lists only what is relevant."""
        counts = []
        for part in text.split(","):
            found = re.fullmatch(r"([0-9]{1,3}):([1-9][0-9]{0,5}|\*)", part.strip())
            if not found:
                raise RrarankError(f"grades {text!r}: {part!r}, expected grade:number or grade:*, as in 3:1,2:3,1:5")
            counts.append((int(found[1]), None if found[2] == "*" else int(found[2])))
        grades = [grade for grade, _ in counts]
        if grades != sorted(set(grades), reverse=True) or None in [number for _, number in counts[:-1]]:
            raise RrarankError(f"grades {text!r}: expected falling grades, and * only in the last place")
        return cls(tuple(counts))

    def __str__(self) -> str:
        return ",".join(f"{grade}:{'*' if number is None else number}" for grade, number in self.counts)


def grade(labels: Iterable[LabelledRanking], steps: Steps = Steps()) -> Qrels:
    """Judgments: listed documents by `steps`, missing ones 0; unknown ones stay unjudged.

    Several labels of one query are merged first.
    """
    return {label.query.qid: _grades(label, steps) for label in merge_windows(labels)}


def _grades(label: LabelledRanking, steps: Steps) -> dict[str, int]:
    each = (repeat(grade) if number is None else repeat(grade, number) for grade, number in steps.counts)
    ladder = chain(chain.from_iterable(each), repeat(0))
    return dict(zip(label.listed, ladder, strict=False)) | dict.fromkeys(label.missing, 0)


def merge_windows(labels: Iterable[LabelledRanking]) -> list[LabelledRanking]:
    """One label a query, from one or several windows over its candidates.

    A document that some window lists is listed, at its mean Borda count: the share of a window's other listed and
    missing documents that stand below it, ties half (Borda, 1781; over partial lists: Dwork et al., WWW 2001), over
    the windows that list or miss it. The windows should be drawn alike: of windows that slide from the bottom up, the
    last order is the answer, not their mean.
    """
    windows: dict[str, list[LabelledRanking]] = {}
    for label in labels:
        windows.setdefault(label.query.qid, []).append(label)
    return [found[0] if len(found) == 1 else _merged(found) for found in windows.values()]


def _merged(windows: Sequence[LabelledRanking]) -> LabelledRanking:
    counts: dict[str, list[float]] = defaultdict(list)
    for window in windows:
        for docid, count in _borda(levels(window)).items():
            counts[docid].append(count)
    shown = {candidate.docid: candidate for window in windows for candidate in window.shown}
    listed = {docid for window in windows for docid in window.listed}
    return replace(
        windows[0],
        shown=tuple(shown.values()),
        listed=tuple(hit.docid for hit in best_first(Hit(docid, fmean(counts[docid])) for docid in listed)),
        missing=tuple(docid for docid in shown if docid in counts and docid not in listed),
        unknown=tuple(docid for docid in shown if docid not in counts),
        not_shown=tuple({docid: 0 for window in windows for docid in window.not_shown if docid not in shown}),
        faults=tuple({fault: 0 for window in windows for fault in window.faults}),
        answer="\n".join(window.answer for window in windows),
        reasons={docid: reason for window in windows for docid, reason in window.reasons.items()},
        provenance={**windows[0].provenance, "windows": len(windows)},
    )


def _borda(level: Mapping[str, int]) -> dict[str, float]:
    values, others = list(level.values()), len(level) - 1
    return {
        docid: (sum(own > value for value in values) + (values.count(own) - 1) / 2) / others if others else 0.5
        for docid, own in level.items()
    }


# -- agreement, query by query ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A mean over queries, with its 95 % interval (percentile bootstrap over queries)."""

    mean: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True)
class Agreement:
    """Our order against people's grades.

    Args:
        pairwise: share of the pairs with different grades that our order has right, ties half.
        tau: Kendall's tau-b; over the queries where both tell documents apart.
        pairs: how many pairs `pairwise` rests on.
    """

    pairwise: Estimate
    tau: Estimate
    pairs: int


def agreement(ours: Mapping[str, Mapping[str, float]], nist: Qrels, *, seed: int = SEED) -> Agreement:
    """How far an order agrees with judgments, over the documents that both hold.

    Args:
        ours: qid -> docid -> score, higher is better: levels, grades or a run's scores.

    Raises:
        RrarankError: no query has two such documents of different grades.
    """
    import numpy as np

    shares, taus, pairs = [], [], 0
    for qid, scores in ours.items():
        both = [docid for docid in scores if docid in nist.get(qid, {})]
        own = np.array([scores[docid] for docid in both], dtype=float)
        theirs = np.array([nist[qid][docid] for docid in both], dtype=float)
        right, compared = _pairs_right(own, theirs)
        if compared:
            pairs += compared
            shares.append(right / compared)
            taus.append(_tau_b(own, theirs))
    if not shares:
        raise RrarankError("no query has two documents that both sides judged and people graded differently")
    return Agreement(_estimate(shares, seed), _estimate([tau for tau in taus if not math.isnan(tau)], seed), pairs)


def _pairs_right(own: np.ndarray, theirs: np.ndarray) -> tuple[float, int]:
    """Pairs in our order, ties half, of those that people told apart: (1 + Somers' D) / 2 is their share (American
    Sociological Review, 1962)."""
    import numpy as np

    apart = theirs[:, None] > theirs  # (n, n): row better than column
    ahead = np.sign(own[:, None] - own)[apart]
    return float((1 + ahead).sum() / 2), int(apart.sum())


def _tau_b(own: np.ndarray, theirs: np.ndarray) -> float:
    """Kendall's tau-b (Biometrika, 1945); NaN where either ties all."""
    from scipy.stats import kendalltau

    return float(kendalltau(own, theirs).statistic)


def _estimate(values: Sequence[float], seed: int) -> Estimate:
    if not values:
        return Estimate(math.nan, math.nan, math.nan, 0)
    return Estimate(fmean(values), *bootstrap(values, seed=seed), len(values))
