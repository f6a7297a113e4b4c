"""Simulated users: whether they look, click and stop, by judged grades, under three click models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rrarank.errors import RrarankError, did_you_mean
from rrarank.storage.yaml_settings import STRICT

Probability = Annotated[float, Field(ge=0, le=1)]
By = tuple[Probability, ...]
"""One probability for each grade, from the lowest to the highest that there is, at equal steps between."""


@dataclass(frozen=True)
class UserModel:
    """How users behave.

    Args:
        model: `position-based`: each place is looked at with its own probability, whatever was clicked above;
            `cascade`: from the top down to the first click; `dependent`: from the top down, and after a click the user
            stops with the probability `stop` of that document's grade.
        attraction: probability of a click on a document that is looked at.
        stop: of the dependent model: probability of stopping after a click.
        decay: of the position-based model: place k is looked at with probability 1 / k ** decay.
        go_on: of the other two: probability of going on from a document without a click.
        noise: share of decisions about a click that a coin makes.
        spread: standard deviation of what users differ in, on the logit of the attraction: some click more.
        dwell_s: median seconds on a clicked document.
    """

    __pydantic_config__: ClassVar = STRICT

    model: Literal["position-based", "cascade", "dependent"] = "position-based"
    attraction: By = (0.05, 0.3, 0.5, 0.7, 0.95)
    stop: By = (0.2, 0.3, 0.5, 0.7, 0.9)
    decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    go_on: Probability = 1.0
    noise: Probability = 0.0
    spread: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    dwell_s: tuple[Annotated[float, Field(gt=0)], ...] = (8.0, 20.0, 40.0, 60.0, 90.0)

    def by_grade(self, values: Sequence[float], highest: int) -> NDArray[np.float64]:
        """A value for each grade from 0 to the highest."""
        steps = np.linspace(0, 1, len(values))
        return np.interp(np.linspace(0, 1, highest + 1), steps, values)


# The click and stop probabilities of `perfect`, `navigational` and `informational` users are those of Schuth et al.
# (CIKM 2014) for five grades, who call the model cascade although users go on after a click: dependent here (Guo, Liu
# and Wang, WSDM 2009). The places' probabilities are those of Joachims, Swaminathan and Schnabel (WSDM 2017). The dwell
# times are made up: longer for better documents.
USERS = {
    "position-based": UserModel(),
    "cascade": UserModel("cascade", go_on=0.9),
    "perfect": UserModel("dependent", (0.0, 0.2, 0.4, 0.8, 1.0), (0.0,) * 5),
    "navigational": UserModel("dependent"),
    "informational": UserModel("dependent", (0.4, 0.6, 0.7, 0.8, 0.9), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "random": UserModel(noise=1.0),
}
"""Kinds of users by name; `random` ones click without regard to the grade, where they look."""


def user_model(name: str) -> UserModel:
    """
    Raises:
        RrarankError: no such kind of users.
    """
    if name not in USERS:
        raise RrarankError(f"no users {name!r}{did_you_mean(name, USERS)} (known: {', '.join(USERS)})")
    return USERS[name]


def clicks(
    grades: NDArray[np.int64], highest: int, model: UserModel, lean: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which documents are clicked.

    Args:
        grades: (impressions, places); -1 where a list has ended.
        highest: the highest grade that there is.
        lean: (impressions,): each user's own shift of the logit of the attraction.

    Returns:
        (impressions, places)
    """
    there = grades >= 0
    known = np.clip(grades, 0, highest)
    attracted = rng.random(grades.shape) < _attraction(known, highest, model, lean)
    attracted = np.where(rng.random(grades.shape) < model.noise, rng.random(grades.shape) < 0.5, attracted) & there
    places = np.arange(1, grades.shape[1] + 1)
    if model.model == "position-based":
        return attracted & (rng.random(grades.shape) < 1.0 / places**model.decay)
    stop = np.ones(highest + 1) if model.model == "cascade" else model.by_grade(model.stop, highest)
    ends = rng.random(grades.shape) < np.where(attracted, stop[known], 1 - model.go_on)
    before: NDArray[np.int64] = np.cumsum(ends, axis=1) - ends  # it is looked at if the user stopped at none above
    looked: NDArray[np.bool_] = before == 0
    return attracted & looked


def _attraction(
    grades: NDArray[np.int64], highest: int, model: UserModel, lean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Each document's, for its user; 0 and 1 stay what they are."""
    plain = model.by_grade(model.attraction, highest)[grades]
    weighted = plain * np.exp(lean)[:, None]
    return weighted / (1 - plain + weighted)


def leans(count: int, model: UserModel, rng: np.random.Generator) -> NDArray[np.float64]:
    """How much more than others each of so many users clicks."""
    return rng.normal(0, model.spread, count) if model.spread else np.zeros(count)


def dwell_times(
    grades: NDArray[np.int64], highest: int, model: UserModel, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Seconds on clicked documents of these grades: log-normal, as dwell times are."""
    medians = model.by_grade(model.dwell_s, highest)[np.clip(grades, 0, highest)]
    return medians * np.exp(rng.normal(0, _DWELL_SPREAD, grades.shape))


_DWELL_SPREAD = 0.8
