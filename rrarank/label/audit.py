"""Audit: are the documents that a teacher left out judged irrelevant, or overlooked?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from rrarank.data.types import LabelledRanking, Qrels
from rrarank.measures.significance import ALPHA

FEWEST = 30  # judged documents that a verdict needs
LAST = 5


@dataclass(frozen=True)
class Share:
    """P(relevant) over `judged` documents, with its 95 % interval (Wilson)."""

    relevant: float
    low: float
    high: float
    judged: int


@dataclass(frozen=True)
class Audit:
    """People's judgments of the documents that a teacher listed and left out.

    Args:
        missing: the documents that the teacher left out.
        listed_there: the listed documents of lists with missing ones, weighted to the prompt positions of the missing
            ones, so that a teacher that overlooks the end of its prompt is not taken for a judge.
        last_listed: the last five listed documents of the same lists.
        unknown: the documents that the answer does not judge.
        orders: lists of at least two documents.
        echoed: how many of these repeat the prompt's order from its start past its middle.
        echo_tau: mean Kendall's tau between the order shown and the order listed.
    """

    missing: Share
    listed_there: Share
    last_listed: Share
    unknown: Share
    orders: int
    echoed: int
    echo_tau: float

    @property
    def echoes(self) -> bool:
        """More than half of the lists repeat the order that was shown: the teacher does not read."""
        return 2 * self.echoed > self.orders

    @property
    def verdict(self) -> str:
        """`a judgment` if the interval of the missing documents is below that of the listed ones at the same places."""
        if min(self.missing.judged, self.listed_there.judged) < FEWEST:
            return (
                f"not enough to say what missing means: {self.missing.judged} missing and {self.listed_there.judged} "
                f"listed documents are judged, {FEWEST} of each are needed"
            )
        word = "a judgment" if self.missing.high < self.listed_there.low else "a slip"
        return (
            f"missing is {word}: {self.missing.relevant:.0%} of the missing are relevant, "
            f"{self.listed_there.relevant:.0%} of those listed at the same places"
        )


def audit(labels: Iterable[LabelledRanking], qrels: Qrels, level: int = 2) -> Audit:
    """Compare labels with judgments.

    Documents of one query are not independent, so the intervals are somewhat too narrow.

    Args:
        level: lowest relevant grade.
    """
    labels = list(labels)
    gappy = [label for label in labels if label.missing]
    missing = _judged(gappy, lambda label: label.missing, qrels, level)
    listed = _judged(gappy, lambda label: label.listed, qrels, level)
    taus = [_echo_tau(label) for label in labels if len(label.listed) > 1]
    return Audit(
        missing=_share(missing),
        listed_there=_standardised(listed, like=missing),
        last_listed=_share(_judged(gappy, lambda label: label.listed[-LAST:], qrels, level)),
        unknown=_share(_judged(labels, lambda label: label.unknown, qrels, level)),
        orders=len(taus),
        echoed=sum(_is_echo(label) for label in labels),
        echo_tau=fmean(taus) if taus else math.nan,
    )


def table(found: Audit) -> list[list[str]]:
    """Rows for tabulate: documents, P(relevant), its interval, number of judged documents."""
    rows = {
        "missing": found.missing,
        "listed, at the same places": found.listed_there,
        f"last {LAST} listed": found.last_listed,
        "unknown": found.unknown,
    }
    return [[name, *_cells(share)] for name, share in rows.items()]


def _cells(share: Share) -> list[str]:
    if not share.judged:
        return ["", "", "0"]
    return [f"{share.relevant:.2f}", f"[{share.low:.2f}, {share.high:.2f}]", f"{share.judged:,}"]


# -- shares -----------------------------------------------------------------------------------------------------------

_Seen = Sequence[tuple[int, bool]]  # place in the prompt, relevant


def _judged(
    labels: Iterable[LabelledRanking],
    chosen: Callable[[LabelledRanking], Sequence[str]],
    qrels: Qrels,
    level: int,
) -> _Seen:
    seen = []
    for label in labels:
        grades, wanted = qrels.get(label.query.qid, {}), set(chosen(label))
        for place, candidate in enumerate(label.shown):
            if candidate.docid in wanted and candidate.docid in grades:
                seen.append((place, grades[candidate.docid] >= level))
    return seen


def _share(seen: _Seen) -> Share:
    return _weighted(seen, [1.0] * len(seen))


def _standardised(seen: _Seen, like: _Seen) -> Share:
    """The relevant share of `seen`, reweighted to the places of `like` (direct standardisation): a weight is the number
    of `like` divided by the number of `seen` at that place. Places that only one of them has get no weight.
    """
    have, want = Counter(place for place, _ in seen), Counter(place for place, _ in like)
    return _weighted(seen, [want[place] / have[place] for place, _ in seen])


def _weighted(seen: _Seen, weights: Sequence[float]) -> Share:
    """The interval uses the effective number of documents, (sum w)^2 / sum w^2 (Kish, Survey Sampling, 1965)."""
    total = math.fsum(weights)
    if not total:
        return Share(math.nan, 0.0, 1.0, 0)
    relevant = math.fsum(weight for weight, (_, good) in zip(weights, seen, strict=True) if good) / total
    effective = total**2 / math.fsum(weight**2 for weight in weights)
    return Share(relevant, *wilson(relevant, effective), sum(weight > 0 for weight in weights))


def wilson(share: float, n: float) -> tuple[float, float]:
    """95 % score interval of a share of n, possibly an effective number (Wilson, JASA 1927)."""
    z = NormalDist().inv_cdf(1 - ALPHA / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


# -- echoes -----------------------------------------------------------------------------------------------------------


def _is_echo(label: LabelledRanking) -> bool:
    """Whether the list repeats the first shown documents, more than half of them; fewer may be a judgment."""
    order = [candidate.docid for candidate in label.shown[: len(label.listed)]]
    return len(order) > 1 and 2 * len(order) > len(label.shown) and list(label.listed) == order


def _echo_tau(label: LabelledRanking) -> float:
    """Kendall's tau (1 - 2 inversions / pairs) between the order shown and the order listed; 1.0 for an echo."""
    places = {candidate.docid: place for place, candidate in enumerate(label.shown)}
    order = [places[docid] for docid in label.listed]
    inversions = sum(order[i] > later for i in range(len(order)) for later in order[i + 1 :])
    return 1 - 2 * inversions / math.comb(len(order), 2)
