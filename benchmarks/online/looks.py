"""How often does looking every day find a difference that is not there, and how soon one that is?

    python -m benchmarks online looks --data DL21 [--days 28] [--arm-users 1000]

Users come again on other days. A look is taken after every day; the experiment ends at the first significant one.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.common import conclude, show
from benchmarks.online.crowd import World, arm, load, mixed, parser
from rrarank.measures.sequential import Estimate, Look, looks


def main() -> None:
    flags = parser("False positives of daily looks.")
    flags.add_argument("--days", type=int, default=28)
    flags.add_argument("--arm-users", type=int, default=1000)
    flags.add_argument("--measure", default="ctr")
    flags.add_argument("--share", type=float, default=0.3, help="of the queries that the second run answers, in A/B")
    given = flags.parse_args()
    world, runs, *_ = load(given)
    first, second = list(runs)[:2]
    world = mixed(world, first, second, given.share)
    rows = []
    for name, other in (("A/A", first), ("A/B", "mixed")):
        rng = np.random.default_rng([given.seed, int(name == "A/B")])
        taken = [_looks(world, first, other, given, rng) for _ in range(given.repetitions)]
        rows.append({"": name, **_row(taken)})
    show(rows, {"median day": ".0f"}, default=".1%")
    facts = {"repetitions": given.repetitions, "days": given.days, "users an arm": given.arm_users}
    conclude(given.output, facts | {"measure": given.measure, "users": given.users}, rows=rows)


def _looks(world: World, first: str, other: str, flags: object, rng: np.random.Generator) -> list[Look]:
    given = vars(flags)
    ours, theirs = (arm(world, one, given["arm_users"], rng, given["days"]) for one in (other, first))
    estimates = []
    for day in range(given["days"]):
        one, two = ours.totals(given["measure"], day), theirs.totals(given["measure"], day)
        estimates.append(
            Estimate(str(day), one.users + two.users, one.value - two.value, math.hypot(one.error, two.error))
        )
    return looks(estimates)


def _row(taken: list[list[Look]]) -> dict[str, object]:
    valid = [next((day for day, look in enumerate(own, 1) if look.p < 0.05), 0) for own in taken]
    found = [day for day in valid if day]
    return {
        "one look, at the end": np.mean([own[-1].naive_low > 0 or own[-1].naive_high < 0 for own in taken]),
        "daily looks, p < .05": np.mean([any(one.naive_low > 0 or one.naive_high < 0 for one in own) for own in taken]),
        "daily looks, always valid": len(found) / len(taken),
        "median day": float(np.median(found)) if found else math.nan,
    }


if __name__ == "__main__":
    main()
