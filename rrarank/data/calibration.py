"""`calibration.json`: the map from a model's scores to the probability that a document is relevant."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

from rrarank.errors import RrarankError
from rrarank.storage.files import read_text

FORMAT = "rrarank.calibration/1"
MOST_CHARACTERS = 2**24


@dataclass(frozen=True)
class Platt:
    """P(relevant) = 1 / (1 + exp(-(slope x score + intercept))) (Platt, 1999)."""

    slope: float
    intercept: float

    def __call__(self, score: float) -> float:
        return sigmoid(self.slope * score + self.intercept)

    @property
    def is_monotone(self) -> bool:
        return self.slope > 0 and math.isfinite(self.slope) and math.isfinite(self.intercept)


@dataclass(frozen=True)
class Isotonic:
    """P(relevant) at rising scores; between two of them on a straight line, beyond the ends constant."""

    scores: tuple[float, ...]
    relevance: tuple[float, ...]

    def __call__(self, score: float) -> float:
        place = bisect_right(self.scores, score)
        if place in (0, len(self.scores)):
            return self.relevance[min(place, len(self.scores) - 1)]
        (left, right), (low, high) = self.scores[place - 1 : place + 1], self.relevance[place - 1 : place + 1]
        return low + (high - low) * (score - left) / (right - left)

    @property
    def is_monotone(self) -> bool:
        values = [*self.scores, *self.relevance]
        rising = all(a < b for a, b in pairwise(self.scores)) and all(a <= b for a, b in pairwise(self.relevance))
        return bool(values) and all(map(math.isfinite, values)) and rising and len(values) == 2 * len(self.scores)


RelevanceMap: TypeAlias = Platt | Isotonic
MAPS: Mapping[str, type[Platt] | type[Isotonic]] = {"platt": Platt, "isotonic": Isotonic}


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0  # below it exp overflows


@dataclass(frozen=True)
class Calibration:
    """A calibration file.

    Args:
        sha256: the fingerprint of the model folder whose scores it is for.
        content: the whole file.
    """

    map: RelevanceMap
    sha256: str
    content: Mapping[str, Any]


def read_calibration(path: Path) -> Calibration:
    """
    Raises:
        RrarankError: not a calibration file, or one of a newer format.
    """
    try:
        content = json.loads(read_text(path, MOST_CHARACTERS))
        is_ours = content["format"].startswith("rrarank.calibration/")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_ours = False
    if not is_ours:
        raise RrarankError(f"{path}: not a calibration file; write one with rrarank calibrate, or remove it")
    if content["format"] != FORMAT:
        raise RrarankError(f"{path}: format {content['format']!r}, this version reads {FORMAT!r}; update rrarank")
    try:
        return Calibration(_map(content["map"]), str(content["model"]["sha256"]), content)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RrarankError(
            f"{path}: its map is damaged, expected {' or '.join(MAPS)} with finite numbers that rise; calibrate again"
        ) from None


def _map(content: Mapping[str, Any]) -> RelevanceMap:
    numbers = {name: _numbers(value) for name, value in content.items() if name != "method"}
    found: RelevanceMap = MAPS[content["method"]](**numbers)
    if not found.is_monotone:
        raise ValueError
    return found


def _numbers(value: Any) -> Any:  # a field of a map: a number or a list of numbers
    return tuple(map(float, value)) if isinstance(value, list) else float(value)


def find_map(path: Path, fingerprint: str) -> RelevanceMap:
    """The map of a calibration file, for a reranker with this fingerprint.

    Raises:
        RrarankError: the file is not one, or was fitted to the scores of other weights.
    """
    found = read_calibration(path)
    if found.sha256 not in fingerprint:
        raise RrarankError(f"{path}: was fitted to the scores of other weights; calibrate this model, or remove it")
    return found.map
