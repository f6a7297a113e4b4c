"""Learn the rule that a model carries, and what it would have cost on first stages and sets left out.

    python -m benchmarks quality interpolation_rule STUDENT=CELLS … [--output interpolation.json]

CELLS are files of `quality interpolation --cells`: a line a query with nDCG@10 at 21 weights and the agreement of the
two rankings. A cell is one student over one first stage on one set; each counts the same, however many queries it has.
The rule's numbers are those with the least mean regret (the nDCG@10 of a cell's best weight minus that of the
rule's) plus the largest loss of any cell against the better of the first stage and the student alone: the weights of
the two kinds of first stages over the cells of that kind, threshold and weights by agreement over all cells, because
they are for first stages of which nothing is known.

Four ways are measured: the default of `rerank` (the rule's weight over learned first stages, else the student alone),
by kind (`--interpolate auto` where the kind is known), by agreement (where it is not), and the student alone; the first
three also as learnt without the cell's set, without its first stage, and without its student. Beside them stands one
weight for all first stages, which the other sets chose.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from operator import attrgetter
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

    def by_default(self, rule: Rule) -> float:
        """As `rerank` does unless it is told otherwise."""
        return self.at(1.0 if self.kind != LEARNED or rule.learned is None else rule.learned)

    def by_kind(self, rule: Rule) -> float:
        weight = rule.by_kind(self.kind)
        return self.by_agreement(rule) if weight is None else self.at(weight)

    def by_agreement(self, rule: Rule) -> float:
        """As for a first stage of which nothing is known."""
        return self.at(rule.weight(self.agreement))

    @property
    def better(self) -> float:
        """The first stage or the student alone."""
        return max(self.at(0.0), self.at(1.0))


WAYS: Mapping[str, Callable[[Cell, Rule], float]] = {
    "default": Cell.by_default,
    "by kind": Cell.by_kind,
    "by agreement": Cell.by_agreement,
}
LEFT_OUT: Mapping[str, Callable[[Cell], str]] = {
    "set": attrgetter("data"),
    "first stage": attrgetter("first"),
    "student": attrgetter("student"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn the rule that a model carries.")
    parser.add_argument("cells", nargs="+", metavar="STUDENT=CELLS")
    parser.add_argument("--output", type=Path)
    flags = parser.parse_args()
    cells = [cell for one in flags.cells for cell in read_cells(*one.split("=", 1))]
    rule = learn(cells)
    print(f"the rule of all {len(cells)} cells: {asdict(rule)}")
    print(f"one weight for all of them: {one_weight(cells):g}\n")
    show([line(cell, cells, rule) for cell in cells], {"agreement": ".2f"}, default=".3f")
    show(summary(cells, rule), {"mean regret": ".4f"}, default=".3f")
    show(weights_left_out(cells), {}, default=".2f")
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
    return one_weight(own) if own else None


def one_weight(cells: Sequence[Cell]) -> float:
    """The one weight for all of them with the least cost."""
    return GRID[cheapest([[cell.at(weight) for cell in cells] for weight in GRID], cells)]


def cheapest(values: Sequence[Sequence[float]], cells: Sequence[Cell]) -> int:
    """Of some ways, each with its nDCG@10 for every cell, the place of the one with the least cost."""
    cost = [round(costs(cells, own), 6) for own in values]
    places = [place for place, value in enumerate(cost) if value == min(cost)]
    return places[len(places) // 2]


def costs(cells: Sequence[Cell], values: Sequence[float]) -> float:
    regret = np.mean([float(cell.curve.max()) - value for cell, value in zip(cells, values, strict=True)])
    return float(regret) + max(0.0, *(cell.better - value for cell, value in zip(cells, values, strict=True)))


def line(cell: Cell, cells: Sequence[Cell], rule: Rule) -> Mapping[str, object]:
    """The cell under the rule, and the default under the rules learnt without its set and without its first stage."""
    left_out = [cell.by_default(learn(without(name, cell, cells))) for name in ("set", "first stage")]
    return {
        "student": cell.student,
        "set": cell.data,
        "first stage": cell.first,
        "queries": cell.queries,
        "agreement": cell.agreement,
        "itself": cell.at(0.0),
        "alone": cell.at(1.0),
        "best W": float(cell.curve.max()),
        "at": f"{cell.curve.argmax() / 20:g}",
        **{name: way(cell, rule) for name, way in WAYS.items()},
        "default - better": f"{cell.by_default(rule) - cell.better:+.3f}",
        "without the set": left_out[0],
        "without the stage": left_out[1],
        "W of other sets": cell.at(one_weight(without("set", cell, cells))),
        "worst - better": f"{min(left_out) - cell.better:+.3f}",
    }


def without(name: str, cell: Cell, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that share neither set, first stage nor student, as `name` says, with this one."""
    key = LEFT_OUT[name]
    return [one for one in cells if key(one) != key(cell)]


def summary(cells: Sequence[Cell], rule: Rule) -> list[dict[str, object]]:
    """What each way costs: the mean regret, and the largest loss to the better of first stage and student."""
    rows = [about("alone", [cell.at(1.0) for cell in cells], cells)]
    others = [one_weight(without("set", cell, cells)) for cell in cells]
    rows.append(about("one weight of other sets", [c.at(w) for c, w in zip(cells, others, strict=True)], cells))
    for way, value in WAYS.items():
        rows.append(about(way, [value(cell, rule) for cell in cells], cells))
        for name in LEFT_OUT:
            left = [(cell, without(name, cell, cells)) for cell in cells]
            values = [value(cell, learn(others)) if others else cell.at(1.0) for cell, others in left]
            rows.append(about(f"{way}, learnt without the {name}", values, cells))
    return rows


def about(way: str, values: Sequence[float], cells: Sequence[Cell]) -> dict[str, object]:
    below = [cell.better - value for cell, value in zip(cells, values, strict=True)]
    worst = cells[int(np.argmax(below))]
    return {
        "way": way,
        "mean regret": float(np.mean([float(c.curve.max()) - v for c, v in zip(cells, values, strict=True)])),
        "largest loss": max(below),
        "of": f"{worst.student}, {worst.data}, {worst.first}",
        "cells below by more than .01": sum(round(one, 4) > 0.01 for one in below),
    }


def weights_left_out(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """The weights by kind that are learnt without each set, first stage and student."""
    rows: list[dict[str, object]] = []
    for name, key in LEFT_OUT.items():
        for left in dict.fromkeys(map(key, cells)):
            others = [cell for cell in cells if key(cell) != left]
            found = {kind: weight_over(others, kind) for kind in (LEARNED, LEXICAL)}
            rows.append({"learnt without": f"{name} {left}", **found})
    return rows


if __name__ == "__main__":
    main()
