"""Does an experiment of the planned size find the effect that it was planned for, four times in five?

    python -m benchmarks online power --data DL21 [--share 0.3]

The plan knows only a log of the first run (2,000 users) and the effect; the power is that of simulated experiments of
the planned size.
"""

from __future__ import annotations

import numpy as np

from benchmarks.common import conclude, show
from benchmarks.online.crowd import MEASURES, arm, is_gain_found, load, many, mixed, parser
from rrarank.measures.lifts import users_needed


def main() -> None:
    flags = parser("Power against the plan.", 200)
    flags.add_argument("--share", type=float, nargs="+", default=[0.2, 0.4], help="of the queries with other lists")
    given = flags.parse_args()
    whole, runs, *_ = load(given)
    first, second = list(runs)[:2]
    rng = np.random.default_rng(given.seed)
    pilot, before = arm(whole, first, 2000, rng), many(whole, first)
    rows = []
    for share in given.share:
        world = mixed(whole, first, second, share)
        after = many(world, "mixed")
        for measure in MEASURES:
            reference = before.totals(measure).value
            effect = after.totals(measure).value - reference
            planned = users_needed(pilot.totals(measure).deviation, effect)
            found = np.mean([is_gain_found(world, first, measure, planned // 2, rng) for _ in range(given.repetitions)])
            rows.append(
                {
                    "queries changed": f"{share:.0%}",
                    "measure": measure,
                    "true lift": effect / reference,
                    "users, planned": planned,
                    "power": found,
                }
            )
    show(rows, {"users, planned": ",.0f", "power": ".1%", "true lift": "+.1%"})
    conclude(given.output, {"repetitions": given.repetitions, "users": given.users, "seed": given.seed}, rows=rows)


if __name__ == "__main__":
    main()
