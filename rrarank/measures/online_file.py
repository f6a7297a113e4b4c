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
        RrarankError: it is of another kind or of other arms, or malformed.
    """
    if not Path(path).is_file():
        raise MissingResource(f"{path}: no such file; rrarank.online --output FILE.json writes it")
    content = _content(path)
    try:
        return _lifts(path, content, arm, baseline)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RrarankError(
            f"{path}: malformed ({type(error).__name__} {error}); write it anew by rrarank.online"
        ) from error


def _lifts(path: str | Path, content: Mapping[str, Any], arm: str, baseline: str) -> OnlineLifts:
    if not content["lifts"]:
        raise RrarankError(f"{path}: of interleaved lists, which give preferences; expected lifts of an A/B test")
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
    numbers = [one.name for one in fields(Lift) if one.name != "measure"]
    known = {name: math.nan if values[name] is None else float(values[name]) for name in numbers}
    return Lift(str(values["measure"]), **known)
