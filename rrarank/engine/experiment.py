"""An experiment online: which rankers compete, for whose queries, and what one user is shown for one query."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue

from rrarank.engine.interleaving import team_draft
from rrarank.storage.yaml_settings import STRICT, checked, read_yaml

FIRST_STAGE = "first-stage"
"""The model of a ranker that leaves the order as it comes."""

Name = Annotated[str, Field(min_length=1, max_length=100)]


@dataclass(frozen=True)
class Ranker:
    """One side of an experiment.

    Args:
        model: name of a model that the server holds, or `first-stage`.
        share: of the users in an A/B test, relative to the others'.
    """

    __pydantic_config__: ClassVar = STRICT

    model: Name
    share: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0


@dataclass(frozen=True)
class Experiment:
    """Rankers that compete, and how.

    Args:
        name: salts the hash of the user, so that two experiments divide users independently.
        design: `ab`: each user sees one ranker's lists; `team-draft`: each list is drafted from all rankers'.
        rankers: name in the log -> ranker; the order of the file does not count.
        traffic: the share of users in the experiment.
        timeout_ms: a ranker that needs longer is replaced by the first stage for that query.
        depth: documents that `/v1/search` fetches and re-ranks.
    """

    __pydantic_config__: ClassVar = STRICT

    name: Name
    design: Literal["ab", "team-draft"]
    rankers: Annotated[Mapping[Name, Ranker], Field(min_length=2, max_length=10)]
    traffic: Annotated[float, Field(gt=0, le=1)] = 1.0
    timeout_ms: Annotated[float, Field(gt=0, lt=1e6)] = 2_000.0
    depth: Annotated[int, Field(ge=1, le=1_000)] = 100

    def takes(self, user: str) -> bool:
        """Whether a user is in the experiment."""
        return _fraction(self.name, "traffic", user) < self.traffic

    def arm(self, user: str) -> str:
        """The ranker of an A/B test's user."""
        names = sorted(self.rankers)
        ends = list(accumulate(self.rankers[name].share for name in names))
        at = _fraction(self.name, "arm", user) * ends[-1]
        return next((name for name, end in zip(names, ends, strict=True) if at < end), names[-1])

    def needed(self, user: str) -> list[str]:
        """The rankers whose lists a user's answer is made of."""
        return [self.arm(user)] if self.design == "ab" else list(self.rankers)


@dataclass(frozen=True)
class Shown:
    """What one user is shown for one query.

    Args:
        docids: the first on top.
        arm: the ranker of an A/B test; empty otherwise.
        teams: the ranker behind each document; empty in an A/B test.
        fallback: ranker -> why the first stage stood in for it.
    """

    docids: Sequence[str]
    arm: str = ""
    teams: Sequence[str] = ()
    fallback: Mapping[str, str] = field(default_factory=dict)

    def named(self, docids: Sequence[str]) -> Shown:
        """The same of a list whose ids are positions, with the documents' own ids."""
        return replace(self, docids=[docids[int(place)] for place in self.docids])

    def attributes(self, experiment: Experiment) -> dict[str, JsonValue]:
        """What the log's `query_attributes` say of it."""
        given: dict[str, JsonValue] = {
            "experiment": experiment.name,
            "design": experiment.design,
            "arm": self.arm,
            "teams": list(self.teams),
            "fallback": dict(self.fallback),
        }
        return {name: value for name, value in given.items() if value}


def show(
    experiment: Experiment,
    user: str,
    query: str,
    rankings: Mapping[str, Sequence[str]],
    fallback: Mapping[str, str] | None = None,
    length: int | None = None,
) -> Shown:
    """The list for a user in the experiment: always the same for one user, query and rankings.

    Args:
        rankings: of each ranker in `needed`, docids, best first.
        length: most documents; None for all.
    """
    failed = dict(fallback or {})
    if experiment.design == "ab":
        arm = experiment.arm(user)
        return Shown(list(rankings[arm])[:length], arm=arm, fallback=failed)
    rng = random.Random(_digest(experiment.name, "draft", user, query))
    picks = team_draft({name: rankings[name] for name in sorted(experiment.rankers)}, rng, length)
    return Shown([pick.docid for pick in picks], teams=[pick.team for pick in picks], fallback=failed)


def read_experiment(path: str | Path) -> Experiment:
    """
    Raises:
        RrarankError: not YAML, an unknown key, or a value that is not of its kind.
    """
    return checked(Experiment, read_yaml(path, such_as="rankers"), str(path))


def _fraction(*parts: str) -> float:
    """From 0 to below 1, evenly over users."""
    return int.from_bytes(_digest(*parts)[:6]) / 2**48


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
