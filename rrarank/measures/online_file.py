"""The JSON file of an analysed online experiment: its format, and the lifts of one arm read back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rrarank.errors import MissingResource, RrarankError, shown
from rrarank.measures.lifts import Lift
from rrarank.storage.files import read_text

FORMAT = "rrarank.online/1"


@dataclass(frozen=True)
class OnlineLifts:
    """The lifts of one arm over another.

    Args:
        lifts: measure -> lift.
        users: of both arms.
        simulated: whether the users are.
        mismatched: whether the split of the users was not as meant.
    """

    lifts: Mapping[str, Lift]
    users: int
    days: int
    simulated: bool
    mismatched: bool


def read_lifts(path: str | Path, arm: str, baseline: str) -> OnlineLifts:
    """Read what `rrarank.online --output FILE.json` wrote.

    Raises:
        MissingResource: no such file.
        RrarankError: it is of another kind, or of other arms.
    """
    if not Path(path).is_file():
        raise MissingResource(f"{path}: no such file; rrarank.online --output FILE.json writes it")
    content = _content(path)
    arms = {str(one["name"]): int(one["users"]) for one in content["arms"]}
    if content["baseline"] != baseline or arm not in content["lifts"]:
        seen = f"{shown(content['lifts'])} with {content['baseline']!r}"
        raise RrarankError(f"{path}: compares {seen}, expected {arm!r} with {baseline!r}")
    found = [_lift(one) for one in content["lifts"][arm]]
    p = content["split_p"]
    return OnlineLifts(
        {one.measure: one for one in found},
        arms[arm] + arms[baseline],
        int(content["days"]),
        bool(content["simulated"]),
        p is not None and p < MISMATCH,
    )


MISMATCH = 0.001
"""A split of the users less likely than this is a fault of the experiment, and its lifts are not to be trusted."""


def _content(path: str | Path) -> dict[str, Any]:  # JSON values
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise RrarankError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RrarankError(f"{path}: not a file of rrarank.online (its format is not {FORMAT!r})")
    return content


def _lift(values: Mapping[str, Any]) -> Lift:
    """JSON has no NaN."""
    found: dict[str, Any] = {one.name: values[one.name] for one in fields(Lift)}
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in found.items()}
    return Lift(**known)
