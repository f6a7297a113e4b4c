"""Seconds to evaluate two runs of 43 queries, cold and warm, beside ir_measures and ranx.

    python -m benchmarks speed evaluate [--rounds 5] [--output FILE.json]

Each command has a fresh process and 43 made-up queries with 1,000 hits each. Cold: with an empty HOME and an empty
numba cache; warm: the same command again. `rrarank evaluate` also tests the differences; ir_measures reads one run and
does not, and ranx tests them with 1,000 permutations and without intervals. Medians over the rounds; CPU seconds are of
all threads.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.common import conclude, interleaved, machine, show
from rrarank.cli.parser import positive

QUERIES, HITS, JUDGED = 43, 1000, 200
MEASURES = {"nDCG@5": "ndcg@5", "nDCG@10": "ndcg@10", "AP": "map", "RR": "mrr", "R@100": "recall@100"}
RANX = f"""
import ranx
qrels = ranx.Qrels.from_file("qrels.txt", kind="trec")
runs = [ranx.Run.from_file(name, kind="trec") for name in ("a.trec", "b.trec")]
print(ranx.compare(qrels, runs, {list(MEASURES.values())}, stat_test="fisher"))
"""
COMMANDS = {
    "rrarank evaluate": ["-m", "rrarank.evaluate", "--qrels", "qrels.txt", "--runs", "a.trec", "b.trec"],
    "ir_measures, one run": ["-m", "ir_measures", "qrels.txt", "a.trec", " ".join(MEASURES)],
    "ranx.compare": ["-c", RANX],
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds to evaluate two runs of 43 queries.")
    parser.add_argument("--rounds", type=positive, default=5, help="interleaved; medians are shown")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        make_files(Path(place), random.Random(0))
        found = interleaved(COMMANDS, flags.rounds, lambda name, _: cold_and_warm(COMMANDS[name], Path(place)))
    rows = [
        {"command": name} | {kind: median(one[kind] for one in all_) for kind in all_[0]}
        for name, all_ in found.items()
    ]
    show(rows, {})
    facts = machine(1, ("rrarank", "ir_measures", "ranx", "numba")) | {"rounds": flags.rounds}
    conclude(flags.output, facts, seconds={row.pop("command"): row for row in rows})


def make_files(folder: Path, rng: random.Random) -> None:
    """Judgments and two runs that rank the relevant documents higher than chance."""
    qrels, runs = [], {"a": list[str](), "b": list[str]()}
    for qid in range(QUERIES):
        grades = {f"d{number}": rng.choice([0, 0, 1, 2, 3]) for number in range(JUDGED)}
        qrels += [f"{qid} 0 {docid} {grade}" for docid, grade in grades.items()]
        for name, lines in runs.items():
            scores = {f"d{number}": rng.gauss(grades.get(f"d{number}", 0), 2) for number in range(HITS)}
            ranked = sorted(scores, key=scores.__getitem__, reverse=True)
            lines += [f"{qid} Q0 {docid} {rank} {scores[docid]:.6f} {name}" for rank, docid in enumerate(ranked, 1)]
    for name, lines in {"qrels.txt": qrels, **{f"{run}.trec": lines for run, lines in runs.items()}}.items():
        (folder / name).write_text("\n".join(lines) + "\n")


def cold_and_warm(command: Sequence[str], folder: Path) -> dict[str, float]:
    """Seconds and CPU seconds of the first run with empty caches, and of the second."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"HOME": home, "XDG_CACHE_HOME": f"{home}/cache", "NUMBA_CACHE_DIR": f"{home}/numba"}
        for kind in ("cold", "warm"):
            found |= {f"{kind}{unit}": value for unit, value in _seconds(command, folder, environment).items()}
    return found


def _seconds(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> dict[str, float]:
    start = time.perf_counter()
    with open(os.devnull, "wb") as silence:
        actions = [(os.POSIX_SPAWN_DUP2, silence.fileno(), stream) for stream in (1, 2)]
        shell = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(folder), sys.executable, *command]
        child = os.posix_spawn(shell[0], shell, environment, file_actions=actions)
        _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: exit {os.waitstatus_to_exitcode(status)}")
    return {", s": time.perf_counter() - start, ", CPU s": used.ru_utime + used.ru_stime}


if __name__ == "__main__":
    main()
