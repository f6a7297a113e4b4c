"""Learn the rule of `rerank --interpolate auto`, and what it would have cost on first stages and sets left out.

    python -m benchmarks quality interpolation_rule STUDENT=CELLS … [--output interpolation.json]

CELLS are files of `quality interpolation --cells`: a line a query with nDCG@10 at 21 weights and the agreement of the
two rankings. A cell is one student over one first stage on one set; each counts the same, however many queries it has.
The rule's numbers are those with the least mean regret (the nDCG@10 of a cell's best weight minus that of the
rule's) plus the largest loss of any cell against the better of the first stage and the student alone: the weights of
the two kinds of first stages over the cells of that kind, threshold and weights by agreement over all cells, because
they are for first stages of which nothing is known.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import show
from rrarank.engine.interpolation import LEARNED, LEXICAL, Rule
from rrarank.engine.interpolation_files import FORMAT

THRESHOLDS = [place / 100 for place in range(30, 71)]
AGREEING = [place / 20 for place in range(6, 14)]
DIFFERING = [place / 20 for place in range(14, 21)]
GRID = [place / 20 for place in range(21)]


@dataclass(frozen=True)
class Cell:
    """
    Args:
        kind: of the first stage; empty: unknown.
        curve: (21,) nDCG@10 by weight.
        agreement: mean over the queries.
    """

    student: str
    data: str
    first: str
    kind: str
    queries: int
    curve: np.ndarray
    agreement: float

    def at(self, weight: float) -> float:
        return float(self.curve[round(weight * 20)])

    def by(self, rule: Rule) -> float:
        weight = rule.by_kind(self.kind)
        return self.by_agreement(rule) if weight is None else self.at(weight)

    def by_agreement(self, rule: Rule) -> float:
        """As for a first stage of which nothing is known."""
        return self.at(rule.weight(self.agreement))

    @property
    def better(self) -> float:
        """The first stage or the student alone."""
        return max(self.at(0.0), self.at(1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn the rule of --interpolate auto.")
    parser.add_argument("cells", nargs="+", metavar="STUDENT=CELLS")
    parser.add_argument("--output", type=Path)
    flags = parser.parse_args()
    cells = [cell for one in flags.cells for cell in read_cells(*one.split("=", 1))]
    rule = learn(cells)
    print(f"the rule of all {len(cells)} cells: {asdict(rule)}\n")
    show([line(cell, cells, rule) for cell in cells], {"agreement": ".2f"}, default=".3f")
    show([regrets(cells, rule)], {}, default=".4f")
    if flags.output:
        learnt_on = [f"{cell.student}, {cell.data}, {cell.first}" for cell in cells]
        content = {"format": FORMAT, "rule": asdict(rule), "norm": "z-score", "chosen_on": {"cells": learnt_on}}
        flags.output.write_text(json.dumps(content, indent=2) + "\n")


def read_cells(student: str, path: str) -> Iterable[Cell]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for text in Path(path).read_text(encoding="utf-8").splitlines():
        record = json.loads(text)
        found.setdefault((record["set"], record["first"]), []).append(record)
    for (data, first), rows in found.items():
        curve = np.mean([row["values"] for row in rows], axis=0)
        yield Cell(
            student, data, first, rows[0]["kind"], len(rows), curve, float(np.mean([row["agreement"] for row in rows]))
        )


def learn(cells: Sequence[Cell]) -> Rule:
    """The rule with the least cost; of equally good thresholds and weights the middle one."""
    rules = [Rule(*one) for one in product(THRESHOLDS, AGREEING, DIFFERING)]
    rule = rules[cheapest([[cell.by_agreement(rule) for cell in cells] for rule in rules], cells)]
    return replace(rule, lexical=weight_over(cells, LEXICAL), learned=weight_over(cells, LEARNED))


def weight_over(cells: Sequence[Cell], kind: str) -> float | None:
    """The weight with the least cost over first stages of this kind; None: there are none."""
    own = [cell for cell in cells if cell.kind == kind]
    return GRID[cheapest([[cell.at(weight) for cell in own] for weight in GRID], own)] if own else None


def cheapest(values: Sequence[Sequence[float]], cells: Sequence[Cell]) -> int:
    """Of some ways, each with its nDCG@10 for every cell, the place of the one with the least cost."""
    cost = [round(costs(cells, own), 6) for own in values]
    places = [place for place, value in enumerate(cost) if value == min(cost)]
    return places[len(places) // 2]


def costs(cells: Sequence[Cell], values: Sequence[float]) -> float:
    regret = np.mean([float(cell.curve.max()) - value for cell, value in zip(cells, values, strict=True)])
    return float(regret) + max(0.0, *(cell.better - value for cell, value in zip(cells, values, strict=True)))


def weight_of(cells: Sequence[Cell]) -> float:
    """The single weight with the highest mean over cells."""
    return float(np.mean([cell.curve for cell in cells], axis=0).argmax()) / 20


def line(cell: Cell, cells: Sequence[Cell], rule: Rule) -> Mapping[str, object]:
    """The cell under the rule, and under the rules and the weight learnt without its set or without its first stage."""
    sets, stages = without(cell, cells)
    left_out = [cell.by(learn(sets)), cell.by(learn(stages))]
    return {
        "student": cell.student,
        "set": cell.data,
        "first stage": cell.first,
        "kind": cell.kind,
        "queries": cell.queries,
        "agreement": cell.agreement,
        "itself": cell.at(0.0),
        "alone": cell.at(1.0),
        "W .5": cell.at(0.5),
        "best W": float(cell.curve.max()),
        "at": f"{cell.curve.argmax() / 20:g}",
        "auto": cell.by(rule),
        "auto - better": f"{cell.by(rule) - cell.better:+.3f}",
        "by agreement": cell.by_agreement(rule),
        "without the set": left_out[0],
        "without the stage": left_out[1],
        "W of other sets": cell.at(weight_of(sets)),
        "worst - better": f"{min(left_out) - cell.better:+.3f}",
    }


def without(cell: Cell, cells: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
    """The cells of other sets, and those of other first stages."""
    return [one for one in cells if one.data != cell.data], [one for one in cells if one.first != cell.first]


def regrets(cells: Sequence[Cell], rule: Rule) -> Mapping[str, float]:
    """Mean nDCG@10 below each cell's best weight."""

    def mean(values: Iterable[float]) -> float:
        return float(np.mean([float(cell.curve.max()) - value for cell, value in zip(cells, values, strict=True)]))

    return {
        "regret of auto": mean(cell.by(rule) for cell in cells),
        "without the set": mean(cell.by(learn(without(cell, cells)[0])) for cell in cells),
        "without the stage": mean(cell.by(learn(without(cell, cells)[1])) for cell in cells),
        "by agreement": mean(cell.by_agreement(rule) for cell in cells),
        "by agreement, without the set": mean(cell.by_agreement(learn(without(cell, cells)[0])) for cell in cells),
        "by agreement, without the stage": mean(cell.by_agreement(learn(without(cell, cells)[1])) for cell in cells),
        "W .5": mean(cell.at(0.5) for cell in cells),
        "alone": mean(cell.at(1.0) for cell in cells),
        "W of other sets": mean(cell.at(weight_of(without(cell, cells)[0])) for cell in cells),
    }


if __name__ == "__main__":
    main()
