"""What a ranker that was never shown would have earned, from the clicks on other rankers' lists.

A click counts by how much more often the new ranker would have had its document looked at: inverse propensities under
a position-based model (Joachims, Swaminathan & Schnabel, WSDM 2017; Li et al., KDD 2018), averaged over what the log's
rankers showed (policy-aware: Oosterhuis & de Rijke, SIGIR 2020).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rrarank.data.impressions import Impression
from rrarank.data.types import Run
from rrarank.errors import RrarankError
from rrarank.measures.click_models import Pair
from rrarank.measures.lifts import Array, percentiles, resampled_sums, sums
from rrarank.measures.significance import SEED

CLIP = 10.0


@dataclass(frozen=True)
class OffPolicy:
    """An estimate of clicks per query, of a ranker that was not shown.

    Args:
        ips: by inverse propensities; `ips_low` and `ips_high` bound it (95%, resampled users).
        snips: the same, normalised by the looks that the weights expect (Swaminathan & Joachims, NIPS 2015).
        logged: clicks per query of what was shown.
        clicks: on documents that the ranker would show; `effective` is how many equally weighted ones they are worth.
        clipped: the share of them whose weight was cut.
        covered: the share of the ranker's looks that fall on documents that were shown at all; the rest counts as 0.
        queries: impressions used; `left_out`, those of queries without a list of the ranker.
    """

    ips: float
    ips_low: float
    ips_high: float
    snips: float
    snips_low: float
    snips_high: float
    logged: float
    clicks: int
    effective: float
    clipped: float
    covered: float
    queries: int
    left_out: int


def estimate(
    found: Sequence[Impression],
    run: Run,
    examination: Sequence[float],
    *,
    shares: Mapping[str, float] | None = None,
    clip: float = CLIP,
    seed: int = SEED,
) -> OffPolicy:
    """Estimate the clicks per query that the run would get.

    Args:
        run: query's name -> the new ranker's hits, best first.
        examination: of each place from 1 (`click_models.fit`); as many documents are taken from the run.
        shares: arm -> share of the users that it was given; where every arm's list of a query is in the log, this is
            the propensity, and else the shares of the query's impressions.
        clip: the largest weight.

    Raises:
        RrarankError: the run has no list for any query.
    """
    usable = [one for one in found if one.name in run and one.query.shown]
    if not usable:
        raise RrarankError("none of the logged queries is in the run; its qids must be the log's qids or texts")
    looks = np.asarray(examination, dtype=np.float64)
    wanted = {name: _looks_of([hit.docid for hit in run[name]], looks) for name in {one.name for one in usable}}
    logged = _logged_looks(usable, looks, shares)
    weights = {
        (name, docid): want / logged[name, docid]
        for name, own in wanted.items()
        for docid, want in own.items()
        if logged.get((name, docid), 0.0) > 0
    }
    rows = np.array([_row(one, weights, wanted[one.name], looks, clip) for one in usable])
    used = [weights[one.name, c.docid] for one in usable for c in one.clicks if weights.get((one.name, c.docid))]
    ips, snips = _estimates(rows.sum(axis=0))
    bounds = _intervals([one.user for one in usable], rows, seed)
    reach = sum(sum(wanted[one.name].values()) for one in usable)
    cut = np.minimum(used, clip) if used else np.zeros(1)
    return OffPolicy(
        float(ips),
        *bounds[0],
        float(snips),
        *bounds[1],
        sum(len(one.clicks) for one in usable) / len(usable),
        len(used),
        float(cut.sum() ** 2 / max((cut**2).sum(), 1e-12)),
        float(np.mean(np.asarray(used) > clip)) if used else math.nan,
        float(rows[:, 2].sum() / reach) if reach else math.nan,
        len(usable),
        len(found) - len(usable),
    )


def _looks_of(docids: Sequence[str], looks: Array) -> dict[str, float]:
    return dict(zip(docids[: len(looks)], looks.tolist(), strict=False))


def _logged_looks(found: Sequence[Impression], looks: Array, shares: Mapping[str, float] | None) -> dict[Pair, float]:
    """Pair -> how often its document is looked at in a logged list of the query, on average."""
    lists: defaultdict[str, Counter[tuple[str, tuple[str, ...]]]] = defaultdict(Counter)
    for one in found:
        lists[one.name][one.query.arm, one.query.shown] += 1
    expected: defaultdict[Pair, float] = defaultdict(float)
    for name, counts in lists.items():
        known = {arm for arm, _ in counts}
        by_design = shares is not None and known == set(shares) and len(counts) == len(known)
        whole = sum(shares.values()) if by_design and shares else sum(counts.values())
        for (arm, shown), count in counts.items():
            share = (shares[arm] if by_design and shares else count) / whole
            for docid, look in _looks_of(shown, looks).items():
                expected[name, docid] += share * look
    return expected


def _row(
    one: Impression, weights: Mapping[Pair, float], wanted: Mapping[str, float], looks: Array, clip: float
) -> tuple[float, float, float, float]:
    """An impression's weighted clicks, weighted looks, the looks that its weights expect, and 1."""
    cut = {docid: min(weights.get((one.name, docid), 0.0), clip) for docid in one.query.shown}
    clicks = sum(cut[click.docid] for click in one.clicks)
    looked = sum(cut[docid] * look for docid, look in _looks_of(one.query.shown, looks).items())
    reached = sum(want for docid, want in wanted.items() if (one.name, docid) in weights)
    return clicks, looked, reached, 1.0


def _estimates(sums: Array) -> tuple[Array, Array]:
    """(…, 4) -> IPS and SNIPS, (…,) each."""
    clicks, looked, reached, queries = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return clicks / queries, clicks / looked * (reached / queries)


def _intervals(users: Sequence[str], rows: Array, seed: int) -> list[tuple[float, float]]:
    who, numbers = np.unique(users, return_inverse=True)
    columns = np.column_stack([sums(numbers, column, len(who)) for column in rows.T])
    return [percentiles(one) for one in _estimates(resampled_sums(columns, np.random.default_rng(seed)))]
