"""One process, and workers of Ray, on the same run: the same bytes, and how long each takes.

    python -m benchmarks scale workers --data DL19 [--queries 16] [--depth 100] [--workers 1 2] [--threads 1]

DL19 holds corpus.jsonl.gz, topics.tsv and runs/bm25.trec. Each job is `python -m rrarank.rerank` with the model that
ships, in a process of its own; a worker has as many threads as the one process. The times hold what Ray takes to start.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from tabulate import tabulate

from benchmarks.common import conclude, machine
from rrarank.cli.parser import positive
from rrarank.data.trec import read_run, write_run
from rrarank.data.types import Run


def main() -> None:
    parser = argparse.ArgumentParser(description="One process beside workers of Ray.")
    parser.add_argument("--data", type=Path, required=True, metavar="DL19")
    parser.add_argument("--queries", type=positive, default=16)
    parser.add_argument("--depth", type=positive, default=100)
    parser.add_argument("--workers", type=positive, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=positive, default=1, help="of the process, and of each worker")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        jobs = {"one process": ["--engine", "local"]}
        jobs |= {f"Ray, {n} workers": ["--engine", "ray", "--workers", str(n)] for n in flags.workers}
        prepare(flags, Path(folder))
        seconds = {name: timed(flags, more, Path(folder, f"{n}.trec")) for n, (name, more) in enumerate(jobs.items())}
        runs = [Path(folder, f"{n}.trec").read_bytes() for n in range(len(jobs))]
    rows = [
        [name, took, "same" if run == runs[0] else "OTHER"]
        for (name, took), run in zip(seconds.items(), runs, strict=True)
    ]
    print(tabulate(rows, ["", "seconds", "bytes"], floatfmt=".1f"))
    faults = [name for name, _, bytes_ in rows if bytes_ == "OTHER"]
    conclude(flags.output, machine(flags.threads), seconds=seconds, faults=faults)
    sys.exit(f"other bytes: {faults}" if faults else 0)


def prepare(flags: argparse.Namespace, folder: Path) -> None:
    run = read_run(flags.data / "runs" / "bm25.trec")
    write_run(folder / "bm25.trec", Run({qid: run[qid] for qid in islice(run, flags.queries)}, run.tag))


def timed(flags: argparse.Namespace, more: list[str], output: Path) -> float:
    places = ["--topics", flags.data / "topics.tsv", "--collection", flags.data / "corpus.jsonl.gz"]
    command = [sys.executable, "-m", "rrarank.rerank", "--run", output.parent / "bm25.trec", *places, *more]
    command += ["--depth", flags.depth, "--threads", flags.threads, "--output", output]
    started = time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
