"""Judgments made from a teacher's rankings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

from rrarank.data.types import LabelledRanking, Qrels
from rrarank.errors import RrarankError


@dataclass(frozen=True)
class Steps:
    """How many of the listed documents get which grade, from the first on; the other listed documents get 0.

    Args:
        counts: (grade, number of documents), with falling grades; a number of None means all that are left.
    """

    counts: Sequence[tuple[int, int | None]] = ((3, 1), (2, 3), (1, 5))

    @classmethod
    def parse(cls, text: str) -> Steps:
        """`3:1,2:3,1:5`: the first listed document gets 3, the next three 2, the next five 1. `2:3,1:*`: all after
        three get 1, which suits a teacher that lists only relevant documents."""
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
    """Judgments: listed documents by `steps`, missing ones 0; unknown ones stay unjudged."""
    return {label.query.qid: _grades(label, steps) for label in labels}


def _grades(label: LabelledRanking, steps: Steps) -> dict[str, int]:
    each = (repeat(grade) if number is None else repeat(grade, number) for grade, number in steps.counts)
    ladder = chain(chain.from_iterable(each), repeat(0))
    return dict(zip(label.listed, ladder, strict=False)) | dict.fromkeys(label.missing, 0)
