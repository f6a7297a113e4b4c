"""Do IPS and SNIPS find the clicks of a ranker that was never shown, and do their intervals hold the truth?

    python -m benchmarks online ips --data DL21 --runs bm25 splade-pp --new RUN.trec

The log is an A/B test of the first two runs; the third ranks the documents that they show. Places' probabilities are
known, or estimated from the same log by intervention.
"""

from __future__ import annotations

import numpy as np

from benchmarks.common import conclude, show
from benchmarks.online.crowd import PLACES, parser
from rrarank.data.impressions import impressions
from rrarank.data.trec import read_qrels, read_run
from rrarank.data.types import Hit, Qrels, Run
from rrarank.data.ubi import Log
from rrarank.engine.experiment import Experiment, Ranker
from rrarank.measures.click_models import fit
from rrarank.measures.counterfactual import OffPolicy, estimate
from rrarank.online.simulator import Crowd, simulate
from rrarank.online.users import USERS, UserModel, clicks


def main() -> None:
    flags = parser("IPS and SNIPS against the truth.", 100)
    flags.add_argument("--crowd", type=int, nargs="+", default=[200], help="users in a log")
    given = flags.parse_args()
    qrels = read_qrels(given.data / "qrels.txt")
    runs = {name: read_run(given.data / "runs" / f"{name}.trec") for name in given.runs[:2]}
    new, model = fused(runs, qrels), USERS[given.users]
    true = {name: _truth(run, qrels, model) for name, run in {**runs, "new": new}.items()}
    print("; ".join(f"{name}: {value:.4f} clicks per query" for name, value in true.items()))
    looks = (1 / np.arange(1.0, PLACES + 1) ** model.decay).tolist()
    rows = []
    for users in given.crowd:
        found: dict[str, list[OffPolicy]] = {"known": [], "estimated": []}
        for seed in range(given.repetitions):
            log = _log(runs, qrels, model, users, given.seed * 10_000 + seed)
            found["known"].append(estimate(log, new, looks, shares=dict.fromkeys(runs, 1.0), seed=seed))
            own = fit(log, "intervention").examination
            found["estimated"].append(estimate(log, new, own, shares=dict.fromkeys(runs, 1.0), seed=seed))
        rows += [_row(users, name, method, own, true["new"]) for name, own in found.items() for method in _METHODS]
    show(rows, {"users": ",.0f", "interval holds the truth": ".1%", "documents covered": ".1%"}, default="+.4f")
    conclude(given.output, {"repetitions": given.repetitions, "users": given.users}, truth=true, rows=rows)


_METHODS = ("ips", "snips")


def fused(runs: dict[str, Run], qrels: Qrels) -> Run:
    """A ranker that neither arm shows: documents of both by the sum of their reciprocal ranks."""
    made = {}
    for qid in qrels:
        score: dict[str, float] = {}
        for run in runs.values():
            for rank, hit in enumerate(run.get(qid, ())[:PLACES], start=1):
                score[hit.docid] = score.get(hit.docid, 0.0) + 1 / (60 + rank)
        made[qid] = [Hit(docid, score[docid]) for docid in sorted(score, key=lambda docid: (-score[docid], docid))]
    return Run(made)


def _truth(run: Run, qrels: Qrels, model: UserModel, users: int = 4000) -> float:
    """Clicks per query, by so many users for each query."""
    rng, total, count = np.random.default_rng(5), 0, 0
    highest = max(grade for grades in qrels.values() for grade in grades.values())
    for qid, grades in qrels.items():
        top = np.full((users, PLACES), -1)
        own = [max(grades.get(hit.docid, 0), 0) for hit in run.get(qid, ())[:PLACES]]
        top[:, : len(own)] = own
        lean = rng.normal(0, model.spread, users)
        total += int(clicks(top, highest, model, lean, rng).sum())
        count += users
    return total / count


def _log(runs: dict[str, Run], qrels: Qrels, model: UserModel, users: int, seed: int):  # type: ignore[no-untyped-def]
    experiment = Experiment(f"ips-{seed}", "ab", {name: Ranker("first-stage") for name in runs})
    sample = simulate(experiment, runs, qrels, model, Crowd(users=users, places=PLACES, seed=seed))
    queries = sample.queries()
    return impressions(Log(queries, list(sample.events(queries))))[0]


def _row(users: int, looks: str, method: str, found: list[OffPolicy], true: float) -> dict[str, object]:
    values = np.array([getattr(one, method) for one in found])
    bounds = [(getattr(one, f"{method}_low"), getattr(one, f"{method}_high")) for one in found]
    return {
        "users": users,
        "places": looks,
        "estimate": method.upper(),
        "truth": true,
        "mean": values.mean(),
        "error (root mean square)": float(np.sqrt(((values - true) ** 2).mean())),
        "interval holds the truth": np.mean([low <= true <= high for low, high in bounds]),
        "documents covered": np.mean([one.covered for one in found]),
    }


if __name__ == "__main__":
    main()
