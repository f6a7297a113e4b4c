"""Seconds and peak memory to read, check and write a run of a million lines: rrarank beside ranx and pandas.

python -m benchmarks scale lines [--output FILE.json]

Each step has a fresh process (its peak holds libraries and, before a write, the read). Seconds leave out imports and a
first go at one query, in which numba compiles for ranx: see (start s). The work differs: rrarank refuses faults and
settles ties, ranx sorts, pandas holds columns. On Linux, where peaks come in KiB.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median

STEPS = [("rrarank", "read"), ("rrarank", "check"), ("rrarank", "write")]
STEPS += [(tool, step) for tool in ("ranx", "pandas") for step in ("read", "write")]
DEPTH, PASSAGES = 1000, 8_841_823  # hits a query; the docids of MS MARCO v1 are the numbers below the second
COLUMNS = {0: str, 1: str, 2: str, 3: int, 4: float, 5: str}


def main() -> None:
    parser = argparse.ArgumentParser(description="Read, check and write a million lines: rrarank, ranx, pandas.")
    parser.add_argument("--output", type=Path, help="also write the figures, step by step, as JSON")
    parser.add_argument("--queries", type=int, default=1000, help=f"queries in the run, {DEPTH} hits each")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder, "run.trec"), flags.queries, random.Random(13))
        generate(Path(folder, "first.trec"), 1, random.Random(13))
        figures = medians(folder, rounds=3)
    show(figures)
    machine = {"cores": os.cpu_count(), "python": sys.version.split()[0], **{tool: version(tool) for tool, _ in STEPS}}
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    if flags.output:
        flags.output.write_text(json.dumps({**machine, "lines": flags.queries * DEPTH, **figures}, indent=2) + "\n")


def generate(path: Path, queries: int, rng: random.Random) -> None:
    """A run without faults: scores fall, about 12 of 1,000 tie with the one before, tied docids fall."""
    with path.open("w") as file:
        for qid in range(1_000_000, 1_000_000 + queries):
            hits = zip(rng.choices(range(40_000), k=DEPTH), map(str, rng.sample(range(PASSAGES), DEPTH)), strict=True)
            for rank, (score, docid) in enumerate(sorted(hits, reverse=True), start=1):
                file.write(f"{qid} Q0 {docid} {rank} {score / 1000:.3f} bm25\n")


def medians(folder: str, rounds: int) -> dict[str, dict[str, float]]:
    """Medians by "tool step". Nothing large is imported before: Linux hands a parent's peak on to its children."""
    found: dict[str, list[dict[str, float]]] = {f"{tool} {step}": [] for tool, step in STEPS}
    for tool, step in STEPS * rounds:  # interleaved, so that a slow moment hits all alike
        command = [sys.executable, "-m", "benchmarks.scale.lines", "measure", tool, step, folder]
        found[f"{tool} {step}"].append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    return {name: {key: median(one[key] for one in seen) for key in seen[0]} for name, seen in found.items()}


def measure(tool: str, step: str, folder: str) -> None:
    first, run, output = (Path(folder, f"{name}.trec") for name in ("first", "run", tool))
    begun = time.perf_counter()
    prepare(tool, step, first, output)()
    started = time.perf_counter()
    call = prepare(tool, step, run, output)
    ready = time.perf_counter()
    call()
    seconds, peak = time.perf_counter() - ready, getrusage(RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "start_s": started - begun}))


def prepare(tool: str, step: str, path: Path, output: Path) -> Callable[[], object]:
    """The call to be timed; for a write, the run has been read."""
    if tool == "ranx":
        from ranx import Run

        read = partial(Run.from_file, str(path), kind="trec")
        return read if step == "read" else partial(read().save, str(output), kind="trec")
    if tool == "pandas":
        from pandas import read_csv

        read = partial(read_csv, path, sep=" ", header=None, dtype=COLUMNS, keep_default_na=False)
        return read if step == "read" else partial(read().to_csv, output, sep=" ", header=False, index=False)
    from rrarank.data import submission, trec

    if step == "check":
        return partial(submission.check_submission, path, {line.split()[0] for line in path.open()})
    return partial(trec.read_run, path) if step == "read" else partial(trec.write_run, output, trec.read_run(path))


def show(figures: dict[str, dict[str, float]]) -> None:
    from tabulate import tabulate

    rows = []
    for tool in dict(STEPS):
        steps = [figures.get(f"{tool} {step}", {}) for step in ("read", "check", "write")]
        most = [max(step.get(key, 0) for step in steps) for key in ("peak_mb", "start_s")]
        rows.append([tool, *(step.get("seconds") for step in steps), *most])
    headers = ["tool", "read s", "check s", "write s", "peak MB", "(start s)"]
    print(tabulate(rows, headers, floatfmt=("", ".2f", ".2f", ".2f", ",.0f", ".1f"), missingval="-"))


if __name__ == "__main__":
    measure(*sys.argv[2:]) if sys.argv[1:2] == ["measure"] else main()
