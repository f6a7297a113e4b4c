"""An online experiment from end to end: a real server, simulated users, its log, the analysis, and nDCG's verdict.

    python -m benchmarks serving online [--data DIR] [--design team-draft] [--users 60] [--output F.json] [--log DIR]

Starts `python -m rrarank.serve` with an experiment of BM25 and the model that ships. Users ask over HTTP and click by
the judgments. Midway the server is killed by SIGKILL and started again on the same log. Then `rrarank.online` reads the
log. It fails if an acknowledged event is not in the log, or if the users prefer another ranker than nDCG@10 does.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.common import conclude, load_rankings, machine
from rrarank.cli.parser import positive
from rrarank.data.trec import read_qrels
from rrarank.data.types import Hit, Qrels, Ranking, Run
from rrarank.data.ubi_files import read_log
from rrarank.engine.registry import load_reranker
from rrarank.errors import say
from rrarank.measures.scores import evaluate_runs
from rrarank.online.analysis import OnlineResult
from rrarank.online.driver import Driven, Endpoint, drive
from rrarank.online.job import OnlineJob, analyse_experiment
from rrarank.online.simulator import Crowd
from rrarank.online.users import USERS, user_model
from rrarank.sources.sample import sample_rankings
from rrarank.storage.files import find

NAME = "bm25-against-student"
MEASURE = "nDCG@10"


def main() -> None:
    parser = argparse.ArgumentParser(description="An online experiment from end to end.")
    parser.add_argument("--data", type=Path, help="folder with topics, corpus, qrels and runs (default: the sample)")
    parser.add_argument("--design", choices=["ab", "team-draft"], default="team-draft")
    parser.add_argument("--users", type=positive, default=60)
    parser.add_argument("--queries", type=float, default=3.0, help="mean of a user's")
    parser.add_argument("--kind", choices=list(USERS), default="navigational", help="of users")
    parser.add_argument("--depth", type=positive, default=20, help="candidates of a query")
    parser.add_argument("--at-once", type=positive, default=4, help="users")
    parser.add_argument("--no-kill", action="store_true", help="let the server live")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="keep the log here")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    rankings, qrels = load(flags.data, flags.depth)
    crowd = Crowd(flags.users, flags.queries, seed=flags.seed)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(flags.log or Path(folder, "log"), flags.design, flags.kind, crowd, flags.at_once, not flags.no_kill)
        figures, faults = run(job, rankings, qrels, Path(folder))
    conclude(flags.output, machine(1), **figures)
    sys.exit("\n".join(faults) if faults else 0)


@dataclass(frozen=True)
class Job:
    log: Path
    design: str = "team-draft"
    kind: str = "navigational"
    crowd: Crowd = field(default_factory=Crowd)
    at_once: int = 4
    kill: bool = True


def load(data: Path | None, depth: int) -> tuple[list[Ranking], Qrels]:
    if data is None:
        return sample_rankings(depth), read_qrels(find("sample.txt", "qrels"))
    return load_rankings(data, 0, depth), read_qrels(data / "qrels.txt")


def run(job: Job, rankings: Sequence[Ranking], qrels: Qrels, folder: Path) -> tuple[dict[str, object], list[str]]:
    """The figures, and what failed."""
    began = time.monotonic()
    seen = asked_by_users(job, rankings, qrels, folder)
    seconds = time.monotonic() - began
    log = read_log(job.log)
    result = analyse_experiment(OnlineJob(job.log, simulated=True, output=["-"]))
    wanted, truth = preferred_offline(rankings, qrels)
    found, said = preferred_online(result)
    lost = lost_events(seen, job.log)
    figures = {
        "design": job.design,
        "users": job.crowd.users,
        "impressions": len(log.queries),
        "events acknowledged": len(seen.events),
        "events in the log": len(log.events),
        "events lost": len(lost),
        "sent again": seen.again,
        "repeated": log.repeated,
        "torn": log.torn,
        "seconds": round(seconds, 1),
        "users prefer": found,
        "by": said,
        f"{MEASURE} prefers": wanted,
        "by how much": truth,
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    faults = [f"{len(lost)} acknowledged events are not in the log, such as {lost[0]}"] if lost else []
    if found != wanted:
        faults.append(f"users prefer {found}, {MEASURE} prefers {wanted}")
    return figures, faults


def asked_by_users(job: Job, rankings: Sequence[Ranking], qrels: Qrels, folder: Path) -> Driven:
    """Drive the server; once half of the expected answers were seen, kill it and start another on its log and port."""
    seen, port, flags = Driven(), free_port(), server_flags(job, folder)
    half = job.crowd.users * job.crowd.queries / 2
    with ThreadPoolExecutor(1) as pool, serving(port, flags) as first:
        endpoint = Endpoint(f"http://127.0.0.1:{port}", patience_s=600, timeout_s=600)
        users = pool.submit(drive, endpoint, rankings, qrels, user_model(job.kind), job.crowd, job.at_once, seen)
        while job.kill and not users.done() and len(seen.impressions) < half:
            time.sleep(0.05)
        if users.done() or not job.kill:
            return users.result()
        first.send_signal(signal.SIGKILL)
        first.wait()
        say(f"killed after {len(seen.events):,} acknowledged events")
        with serving(port, flags):
            return users.result()


def server_flags(job: Job, folder: Path) -> list[str]:
    """With the files that they name."""
    rankers = {"bm25": {"model": "first-stage"}, "student": {"model": "student"}}
    experiment = {
        "name": NAME,
        "design": job.design,
        "rankers": rankers,
        "timeout_ms": 300_000,
    }  # a slow machine is no result
    Path(folder, "experiment.yaml").write_text(json.dumps(experiment))
    Path(folder, "models.toml").write_text('[student]\nreranker = "rra-bert"\n')
    files = {"models": folder / "models.toml", "experiment": folder / "experiment.yaml", "log": job.log}
    named = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    return [*named, "--threads", "1", "--timeout", "600"]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def serving(port: int, flags: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "rrarank.serve", "--port", str(port), *flags]
    say(f"python -m rrarank.serve --port {port} {' '.join(flags)}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline().startswith("http"):
                sys.exit("the server did not start")
            yield process
        finally:
            process.terminate()


def lost_events(seen: Driven, log: Path) -> list[tuple[str, str, str]]:
    """What was acknowledged and is not in the log."""
    kept = {(event.query_id, event.action_name, event.docid) for event in read_log(log).events}
    return [event for event in seen.events if event not in kept]


def preferred_offline(rankings: Sequence[Ranking], qrels: Qrels) -> tuple[str, str]:
    """The ranker with the higher nDCG@10, and both values."""
    ranked = load_reranker("rra-bert", threads=1).rerank_block(rankings)
    runs = {"bm25": _run(rankings), "student": _run(ranked)}
    rows = {row.name: row for row in evaluate_runs(qrels, runs, measures=[MEASURE], baseline="bm25").rows}
    means: Mapping[str, float] = {name: rows[name].means[MEASURE] for name in runs}
    best = max(means, key=lambda name: means[name])
    return best, ", ".join(f"{name} {value:.4f}" for name, value in means.items())


def _run(rankings: Sequence[Ranking]) -> Run:
    return Run({one.query.qid: [Hit(c.docid, c.score) for c in one.candidates] for one in rankings})


def preferred_online(result: OnlineResult) -> tuple[str, str]:
    """The ranker that users prefer by a resolved test, or `neither`, and what says so."""
    if result.design == "ab":
        lift = next(one for one in result.lifts["student"] if one.measure == "ctr")
        said = f"click-through rate {lift.relative:+.1%} [{lift.relative_low:+.1%}, {lift.relative_high:+.1%}]"
        return _resolved(lift.low, lift.high), said
    [one] = [one for one in result.preferences if one.part == "all" and one.ranker == "student"]
    return _resolved(one.low, one.high), f"preference {one.preference:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"


def _resolved(low: float, high: float) -> str:
    return "student" if low > 0 else "bm25" if high < 0 else "neither"


if __name__ == "__main__":
    main()
