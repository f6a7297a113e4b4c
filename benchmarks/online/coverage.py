"""How often do 95% intervals of a lift cover the true one, and how often does a test of no difference find one?

    python -m benchmarks online coverage --data DL21 [--repetitions 1000]

A/A (both arms show the first run) and A/B (the second run in one arm), users as the unit; beside it the interval that
takes impressions for independent. Users differ in how readily they click, and ask 4 queries on average.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.common import conclude, show
from benchmarks.online.crowd import MEASURES, Crowd, World, arm, load, many, parser
from rrarank.measures.lifts import Totals, delta_interval, lifts

SIZES = (200,)
Row = dict[str, object]


def main() -> None:
    flags = parser("Coverage of 95% intervals of lifts, by simulation.").parse_args()
    world, runs, *_ = load(flags)
    first, second = list(runs)[:2]
    everyone = {ranker: many(world, ranker) for ranker in (first, second)}
    value = {ranker: {m: crowd.totals(m).value for m in MEASURES} for ranker, crowd in everyone.items()}
    rows = []
    for name, other in (("A/A", first), ("A/B", second)):
        true = {m: (value[other][m], value[first][m]) for m in MEASURES}
        for users in SIZES:
            rng = np.random.default_rng([flags.seed, users, int(name == "A/B")])
            rows += _rows(name, users, world, (first, other), true, rng, flags.repetitions)
    show(rows, {"users an arm": ",.0f", "true lift": "+.4f"}, default=".1%")
    conclude(flags.output, {"repetitions": flags.repetitions, "users": flags.users, "seed": flags.seed}, rows=rows)


def _rows(
    name: str,
    users: int,
    world: World,
    arms: tuple[str, str],
    true: dict[str, tuple[float, float]],
    rng: np.random.Generator,
    repetitions: int,
) -> list[Row]:
    held = {m: dict.fromkeys(("resampled", "relative", "delta", "by impression", "p < .05"), 0) for m in MEASURES}
    for number in range(repetitions):
        theirs, ours = (arm(world, one, users, rng) for one in arms)
        found = lifts(
            {m: ours.totals(m) for m in MEASURES},
            {m: theirs.totals(m) for m in MEASURES},
            seed=number,
            resamples=500,
            permutations=200,
        )
        for one in found:
            value, reference = true[one.measure]
            wanted, count = value - reference, held[one.measure]
            count["resampled"] += one.low <= wanted <= one.high
            count["relative"] += one.relative_low <= wanted / reference <= one.relative_high
            count["delta"] += one.delta_low <= wanted <= one.delta_high
            low, high = _by_impression(ours, theirs, one.measure)
            count["by impression"] += low <= wanted <= high
            count["p < .05"] += one.p < 0.05
    return [
        {"": name, "users an arm": users, "measure": m, "true lift": true[m][0] - true[m][1]}
        | {what: count / repetitions for what, count in held[m].items()}
        for m in MEASURES
    ]


def _by_impression(ours: Crowd, theirs: Crowd, measure: str) -> tuple[float, float]:
    """The interval of whoever takes each impression for a user."""
    first, second = (Totals(one.parts(measure), np.ones(len(one.user))) for one in (ours, theirs))
    return delta_interval(first.value - second.value, math.hypot(first.error, second.error))


if __name__ == "__main__":
    main()
