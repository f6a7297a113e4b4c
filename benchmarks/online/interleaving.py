"""How many times fewer queries does team-draft interleaving need than an A/B test, for the same verdict?

    python -m benchmarks online interleaving --data DL21 --runs bm25 splade-pp

For each pair of rankers: the queries that 80% power needs, by interleaving and by each measure of an A/B test (the best
one is the divisor); then the power of simulated experiments of these sizes. Chapelle et al. (TOIS 2012) found 10 to
100 times on real search engines.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.common import conclude, show
from benchmarks.online.crowd import (
    MEASURES,
    Drafts,
    World,
    drafts,
    interleaved,
    is_gain_found,
    load,
    many,
    mixed,
    parser,
)
from rrarank.data.types import Run
from rrarank.measures.lifts import Totals, delta_interval, users_needed


def main() -> None:
    flags = parser("Queries that interleaving and A/B tests need.", 300)
    flags.add_argument("--share", type=float, nargs="+", default=[0.3, 1.0], help="queries with the second run")
    given = flags.parse_args()
    whole, runs, qrels, qids = load(given)
    first, second = list(runs)[:2]
    rng = np.random.default_rng(given.seed)
    before, rows = many(whole, first, 50_000), []
    for share in given.share:
        world = mixed(whole, first, second, share)
        blend = Run({q: runs[second if n < share * len(qids) else first][q] for n, q in enumerate(qids)})
        drafted = drafts({first: runs[first], "mixed": blend}, qrels, qids)
        voices = interleaved(world, drafted, 50_000, rng)
        shared = users_needed(voices.deviation, voices.value, share=1)
        after = many(world, "mixed", 50_000)
        apart = {m: _needed(before.totals(m), after.totals(m)) for m in MEASURES}
        best = min(apart, key=lambda m: apart[m])
        rows.append(
            {
                "queries changed": f"{share:.0%}",
                "preference": voices.value,
                "interleaving, queries": shared * world.queries,
                "best of A/B": best,
                "A/B, queries": apart[best] * world.queries,
                "times fewer": apart[best] / shared,
                "power, interleaving": _power_shared(world, drafted, shared, given.repetitions, rng),
                "power, A/B": _power_apart(world, first, best, apart[best] // 2, given.repetitions, rng),
            }
        )
    forms = {"preference": "+.3f", "times fewer": ".1f", "power, interleaving": ".0%", "power, A/B": ".0%"}
    show(rows, forms, default=",.0f")
    facts = {"runs": " ".join(runs), "repetitions": given.repetitions, "users": given.users, "seed": given.seed}
    conclude(given.output, facts, rows=rows)


def _needed(before: Totals, after: Totals) -> int:
    deviation = math.sqrt((before.deviation**2 + after.deviation**2) / 2)
    return users_needed(deviation, after.value - before.value)


def _power_shared(world: World, drafted: Drafts, users: int, repetitions: int, rng: np.random.Generator) -> float:
    found = 0
    for _ in range(repetitions):
        one = interleaved(world, drafted, max(users, 2), rng)
        found += delta_interval(one.value, one.error)[0] > 0
    return found / repetitions


def _power_apart(
    world: World, first: str, measure: str, users: int, repetitions: int, rng: np.random.Generator
) -> float:
    return sum(is_gain_found(world, first, measure, max(users, 2), rng) for _ in range(repetitions)) / repetitions


if __name__ == "__main__":
    main()
