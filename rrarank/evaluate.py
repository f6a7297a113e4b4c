"""Did it help? Runs and judgments in, a table of measures out. `python -m rrarank.evaluate`"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rrarank.cli import Arguments, Parser, run_verb, say
from rrarank.data import Run
from rrarank.errors import RrarankError, shown
from rrarank.files import STDIO, atomic_write, find, stem
from rrarank.measures import MEASURES, Evaluation, evaluate_runs
from rrarank.trec import read_qrels, read_run


def main(arguments: Arguments = None) -> int:
    return run_verb(_evaluate, _parser().parse_args(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = Parser("evaluate", "Measure runs against judgments, and test them against a baseline.")
    parser.add_argument(
        "--qrels", required=True, help="TREC qrels; a bare name is looked up in ./, ./qrels/, the package"
    )
    parser.add_argument("--runs", required=True, nargs="+", metavar="RUN", help="runs; bare names likewise in ./runs/")
    parser.add_argument("--baseline", metavar="RUN", help="the run to test against (default: the first)")
    parser.add_argument("--measures", nargs="+", default=list(MEASURES), metavar="M", help="as ranx names them")
    parser.add_argument("--output", default=STDIO, help="file for the table: .md, .json, else text; - for stdout")
    return parser


def _evaluate(flags: argparse.Namespace) -> None:
    qrels = read_qrels(find(flags.qrels, "qrels"))
    runs = _named_runs(flags.runs)
    found = evaluate_runs(qrels, runs, measures=flags.measures, baseline=stem(flags.baseline) if flags.baseline else "")
    for name, qids in found.unanswered.items():
        say(f"{name}: no hits for {len(qids)} of {found.queries} judged queries, counted as 0 ({shown(qids)})")
    with atomic_write(flags.output) as file:
        file.write(_render(found, flags.measures, Path(flags.output).suffix))


def _named_runs(paths: Sequence[str]) -> dict[str, Run]:
    """Runs by file stem: a table, and ranx, know a run by its name alone."""
    runs: dict[str, Run] = {}
    for path in paths:
        name = stem(path)
        if name in runs:
            raise RrarankError(f"{path}: a second run named {name!r}; rename one, names tell the rows apart")
        runs[name] = read_run(path if path == STDIO else find(path, "runs"))
    return runs


def _render(found: Evaluation, measures: Sequence[str], suffix: str) -> str:
    if suffix == ".json":
        return json.dumps(asdict(found), indent=2) + "\n"
    return _tables(found, measures, "github" if suffix == ".md" else "simple")


def _tables(found: Evaluation, measures: Sequence[str], style: str) -> str:
    """The systems above, then each against the baseline."""
    from tabulate import tabulate

    floor = ["random order", *(_figure(found.floor[measure]) for measure in measures), ""]
    rows = [[row.name, *(_figure(row.means[m]) for m in measures), f"{row.judged:.0%}"] for row in found.rows]
    text: str = tabulate(
        [floor, *rows], headers=["system", *measures, "judged@10"], tablefmt=style, disable_numparse=True
    )
    text += f"\n\n{found.queries} queries; random order: of {found.baseline}'s candidates, expected value.\n"
    if not found.differences:
        return text
    by_system = {
        row.name: [f"{d.mean:+.4f} (p={d.p:.2g})" for d in found.differences if d.system == row.name]
        for row in found.rows
        if row.name != found.baseline
    }
    against = [[name, *cells] for name, cells in by_system.items()]
    text += "\n" + tabulate(against, headers=[f"minus {found.baseline}", *measures], tablefmt=style)
    return text + "\n\np: Student's paired t-test, two-sided, not corrected for several comparisons.\n"


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


if __name__ == "__main__":
    sys.exit(main())
