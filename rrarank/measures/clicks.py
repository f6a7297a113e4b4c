"""What is measured in an online experiment: clicks, their places and times, per arm and user."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rrarank.data.impressions import Impression
from rrarank.measures.lifts import Totals, sums

Part = Callable[[Impression, float], tuple[float, float]]
"""What an impression adds to the top and to the bottom of a measure's ratio, given the cap of its times."""


@dataclass(frozen=True)
class OnlineMeasure:
    """A measure of clicks.

    Args:
        title: as tables show it.
        form: of its numbers.
        higher: whether more is better.
        conditional: whether it looks only at queries with a click, which the arm itself decides.
        most: its highest value.
    """

    title: str
    part: Part
    form: str = ".4f"
    higher: bool = True
    conditional: bool = False
    most: float = math.inf


def _clicked(one: Impression, cap: float) -> tuple[float, float]:
    return float(bool(one.clicks)), 1.0


def _first(one: Impression, cap: float) -> tuple[float, float]:
    return float(any(click.place == 1 for click in one.clicks)), 1.0


def _clicks(one: Impression, cap: float) -> tuple[float, float]:
    return float(len(one.clicks)), 1.0


def _reciprocal(one: Impression, cap: float) -> tuple[float, float]:
    return 1 / one.clicks[0].place if one.clicks else 0.0, 1.0


def _abandoned(one: Impression, cap: float) -> tuple[float, float]:
    return float(not one.clicks), 1.0


def _dwell(one: Impression, cap: float) -> tuple[float, float]:
    """A query whose stays are all unknown is left out; one without a click has 0 seconds."""
    known = [min(click.dwell, cap) for click in one.clicks if not math.isnan(click.dwell)]
    return (sum(known), 1.0) if known or not one.clicks else (0.0, 0.0)


def _wait(one: Impression, cap: float) -> tuple[float, float]:
    """Only of queries with a click whose time is known."""
    return (min(one.clicks[0].after, cap), 1.0) if one.clicks and not math.isnan(one.clicks[0].after) else (0.0, 0.0)


def _converted(one: Impression, cap: float) -> tuple[float, float]:
    return float(one.converted), 1.0


MEASURES: Mapping[str, OnlineMeasure] = {
    "ctr": OnlineMeasure("queries with a click", _clicked, most=1),
    "click@1": OnlineMeasure("click on the first document", _first, most=1),
    "clicks": OnlineMeasure("clicks per query", _clicks),
    "rr-click": OnlineMeasure("reciprocal rank of the first click", _reciprocal, most=1),
    "dwell": OnlineMeasure("dwell time per query, s", _dwell, ".2f"),
    "wait": OnlineMeasure("time to the first click, s", _wait, ".2f", higher=False, conditional=True),
    "abandonment": OnlineMeasure("queries without a click", _abandoned, higher=False, most=1),
    "conversion": OnlineMeasure("queries with a conversion", _converted, most=1),
}

SAME = ("abandonment",)
"""Not tested: it is one less the click-through rate."""


def totals(found: Sequence[Impression], names: Sequence[str], caps: Mapping[str, float]) -> dict[str, Totals]:
    """Measure -> each user's totals, the users in the same order for all measures.

    Args:
        caps: measure of times -> seconds; longer ones count as so many.
    """
    _, users = np.unique([one.user for one in found], return_inverse=True)
    count = int(users.max()) + 1 if len(users) else 0
    made = {}
    for name in names:
        part, cap = MEASURES[name].part, caps.get(name, math.inf)
        parts = np.array([part(one, cap) for one in found], dtype=np.float64).reshape(-1, 2)
        made[name] = Totals(sums(users, parts[:, 0], count), sums(users, parts[:, 1], count))
    return made


def measured(found: Sequence[Impression]) -> list[str]:
    """The measures that a log can tell: times and conversions only where some are logged."""
    clicks = [click for one in found for click in one.clicks]
    lacking = {"dwell"} if all(math.isnan(click.dwell) for click in clicks) else set()
    lacking |= {"wait"} if all(math.isnan(click.after) for click in clicks) else set()
    lacking |= set() if any(one.converted for one in found) else {"conversion"}
    return [name for name in MEASURES if name not in lacking]
