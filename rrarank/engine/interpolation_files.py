"""Files that say how to interpolate: `rrarank.tune` writes one, and a model folder may hold one.

YAML or JSON with the fields of `Stored`; the reader refuses a file that was made for another reranker or model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rrarank.engine.interpolation import Interpolation, Rule
from rrarank.engine.reranker import Pointwise, Reranker
from rrarank.errors import RrarankError
from rrarank.storage.model_folders import interpolation_of
from rrarank.storage.yaml_settings import STRICT, checked, read_yaml

FORMAT = "rrarank.interpolation/1"


@dataclass(frozen=True)
class Stored:
    """The content of a file.

    Args:
        weight: of the reranker, from 0 to 1; None if `rule` decides.
        norm: `z-score`, `min-max` or `rank`.
        rule: decides the weight of each query.
        depth: candidates re-ranked when it was chosen; 0: not chosen.
        reranker: its registered name; empty: any.
        model: the sha256 of its files, as `files_of` reads them; empty: any.
        chosen_on: for people: how it was chosen, and what that gave.
    """

    __pydantic_config__: ClassVar = STRICT

    format: str
    weight: float | None = None
    norm: str = "z-score"
    rule: Rule | None = None
    depth: int = 0
    reranker: str = ""
    model: str = ""
    chosen_on: dict[str, object] | None = None

    def __post_init__(self) -> None:
        self.interpolation()  # checks weight and norm

    def interpolation(self) -> Interpolation:
        return Interpolation(1.0 if self.weight is None else self.weight, self.norm, self.rule)


def read_interpolation(path: str | Path) -> Stored:
    """Read such a file.

    Raises:
        RrarankError: no such file, another format, or a wrong field.
    """
    content = read_yaml(path)
    if content.get("format") != FORMAT:
        raise RrarankError(f"{path}: format {content.get('format')!r}, expected {FORMAT!r}, as rrarank.tune writes it")
    stored = checked(Stored, content, str(path))
    if (stored.weight is None) == (stored.rule is None):
        raise RrarankError(f"{path}: expected either weight or rule")
    if stored.depth < 0:
        raise RrarankError(f"{path}: depth {stored.depth}, expected 1 or more, or 0 for none")
    return stored


@dataclass(frozen=True)
class RuleOverLearned:
    """A model's own file, whose rule gives a weight over dense and learned-sparse first stages.

    Args:
        learned: this weight.
    """

    path: Path
    stored: Stored
    learned: float


def rule_over_learned(reranker: type[Reranker], model: str) -> RuleOverLearned | None:
    """The rule that decides where a caller says nothing; None if the model carries none for such first stages.

    It was learnt from scores on one scale, which those of a cascade are not: only a point-wise reranker follows it.
    """
    is_for = issubclass(reranker, Pointwise) and reranker.model_is_files
    path = interpolation_of(model) if is_for else None
    stored = read_interpolation(path) if path else None
    if path is None or stored is None or stored.rule is None or stored.rule.learned is None:
        return None
    return RuleOverLearned(path, stored, stored.rule.learned)


def files_of(fingerprint: str) -> str:
    """The part of a reranker's fingerprint that names its files, without settings such as threads and precision."""
    return " ".join(re.findall(r"\b[0-9a-f]{64}\b", fingerprint))


def check_reranker(stored: Stored, path: str | Path, reranker: str, fingerprint: str = "") -> None:
    """Refuse a file that was made for another reranker, or for other files of its model.

    Args:
        fingerprint: of the loaded reranker; empty: not loaded yet.
    """
    if stored.reranker and stored.reranker != reranker:
        raise RrarankError(
            f"{path}: tuned for the reranker {stored.reranker!r}, this job uses {reranker!r}; run rrarank.tune for it"
        )
    if fingerprint and stored.model and stored.model != files_of(fingerprint):
        raise RrarankError(f"{path}: tuned for a model with other files than this job's; run rrarank.tune for it")
