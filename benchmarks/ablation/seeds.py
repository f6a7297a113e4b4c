"""Two ways to train a student, several seeds each: their values, and the difference over queries and seeds.

    python -m benchmarks ablation seeds --set QRELS OURS[,OURS…] THEIRS[,THEIRS…] [--set …] [--measure ndcg@10]

Each run is one seed's; sets are pooled query by query, and their runs are in the same order of seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import stdev

import numpy as np
from tabulate import tabulate

from benchmarks.ablation.tables import difference, reading
from rrarank.cli.verbs import run_verb
from rrarank.data.run_files import read_run_file
from rrarank.errors import RrarankError
from rrarank.measures.values import per_query_scores
from rrarank.sources.texts import load_qrels


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Differences over queries and seeds.")
    parser.add_argument(
        "--set",
        nargs=3,
        action="append",
        required=True,
        metavar=("QRELS", "OURS", "THEIRS"),
        help="runs: a.trec,b.trec",
    )
    parser.add_argument("--measure", default="ndcg@10")
    return run_verb(_compare, parser, arguments)


def _compare(flags: argparse.Namespace) -> None:
    sets = [[_values(qrels, runs.split(","), flags.measure) for runs in both] for qrels, *both in flags.set]
    if any(len({len(found[place]) for found in sets}) > 1 for place in (0, 1)):
        raise RrarankError("every --set needs the same seeds: as many runs of ours, and as many of theirs")
    ours, theirs = (np.concatenate([found[place] for found in sets], axis=1) for place in (0, 1))
    rows = [[name, len(found), found.mean(), _spread(found)] for name, found in (("ours", ours), ("theirs", theirs))]
    print(tabulate(rows, ["", "seeds", flags.measure, "deviation over seeds"], floatfmt=".4f"))
    found = difference("ours - theirs", flags.measure, ours, theirs)
    print(
        f"{ours.shape[1]} queries: {found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}] over queries and seeds, "
        f"detectable {found.detectable:.4f}: {reading(found)}"
    )


def _values(qrels: str, runs: Sequence[str], measure: str) -> np.ndarray:
    """(seeds, queries)."""
    known = load_qrels(Path(qrels))
    scores = [per_query_scores(known, read_run_file(Path(run)).run, [measure])[measure] for run in runs]
    return np.array([[one[qid] for qid in known] for one in scores])


def _spread(values: np.ndarray) -> float:
    means = values.mean(1).tolist()
    return stdev(means) if len(means) > 1 else float("nan")


if __name__ == "__main__":
    sys.exit(main())
