"""Write the log of simulated users in an A/B test or an interleaving of runs.

    python -m benchmarks online log --data DL21 --runs bm25 rra-bert.trec --log users

The users click by the judgments of DATA. `rrarank.online --log users --simulated` analyses the log.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.online.crowd import load, parser
from rrarank.data.ubi_files import write_log
from rrarank.engine.experiment import Experiment, Ranker
from rrarank.online.simulator import Crowd, simulate
from rrarank.online.users import USERS


def main() -> None:
    flags = parser("Write the log of simulated users.")
    flags.add_argument("--design", default="ab", choices=["ab", "team-draft"])
    flags.add_argument("--crowd", type=int, default=1500, help="users")
    flags.add_argument("--places", type=int, default=10, help="documents shown")
    flags.add_argument("--qrels", default="", help="judgments, if not those of DATA")
    flags.add_argument("--log", type=Path, required=True, help="folder to write")
    given = flags.parse_args()
    _, runs, qrels, _ = load(given)
    experiment = Experiment("simulated", given.design, {name: Ranker(name) for name in runs})
    crowd = Crowd(users=given.crowd, places=given.places, seed=given.seed)
    sample = simulate(experiment, runs, qrels, USERS[given.users], crowd)
    queries = sample.queries()
    write_log(given.log, queries, sample.events(queries))
    print(f"{given.log}: {len(queries):,} queries of {given.crowd:,} users")


if __name__ == "__main__":
    main()
