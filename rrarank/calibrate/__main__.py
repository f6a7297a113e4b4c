"""Turn a model's scores into probabilities of relevance. `python -m rrarank.calibrate --run R --qrels Q`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TypeVar

from rrarank.calibrate.job import PRECISION, Calibrated, CalibrateJob, calibrate_model, formula
from rrarank.calibrate.judged import UNJUDGED, JudgedRun
from rrarank.cli.flags import add_reranker, add_sources, check_reranker_flags, origins_of, reranker_settings
from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.errors import RrarankError
from rrarank.measures.calibration import METHODS, Estimated, Reliability
from rrarank.measures.numbers import figure, interval
from rrarank.measures.significance import SEED
from rrarank.measures.thresholds import Threshold

T = TypeVar("T")


def main(arguments: Arguments = None) -> int:
    return run_verb(_calibrate, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("calibrate", "Fit the probability of relevance to a model's scores on judged queries.")
    judged = parser.add_argument_group("judged queries; several runs are pooled")
    judged.add_argument(
        "--run",
        required=True,
        nargs="+",
        metavar="RUN",
        help="runs of candidates; one that this model re-ranked is not scored again",
    )
    judged.add_argument("--qrels", required=True, nargs="+", metavar="QRELS", help="judgments, one for each run")
    judged.add_argument(
        "--rel-level",
        nargs="+",
        type=positive,
        default=[1],
        metavar="GRADE",
        help="lowest relevant grade, one or one for each run; 2 for TREC DL",
    )
    judged.add_argument(
        "--unjudged",
        nargs="+",
        choices=UNJUDGED,
        default=[UNJUDGED[0]],
        help="irrelevant: for judgments that name only relevant documents; one or one for each run",
    )
    add_sources(parser.add_argument_group("queries and texts (default: as the run's sidecar says)"))
    add_reranker(parser.add_argument_group("the model"))
    how = parser.add_argument_group("the map")
    how.add_argument("--method", choices=tuple(METHODS), default="platt", help="isotonic needs more judgments")
    how.add_argument("--depth", type=positive, default=100, help="candidates per query")
    how.add_argument(
        "--target-precision",
        nargs="+",
        type=float,
        default=PRECISION,
        metavar="P",
        help="precision for which to choose a threshold",
    )
    how.add_argument("--check", action="store_true", help="measure the map that the model has; write none")
    how.add_argument("--calibration", default="", metavar="FILE", help="--check: the map (default: the model folder's)")
    how.add_argument("--seed", type=int, default=SEED, help="of folds and resampling")
    out = parser.add_argument_group("output")
    out.add_argument("--output", default="", help="file to write (default: calibration.json in the model's folder)")
    out.add_argument("--figure", default="", metavar="FILE", help="reliability diagram: .png .svg .pdf")
    out.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    return parser


def _calibrate(flags: argparse.Namespace) -> None:
    check_reranker_flags(flags)
    if flags.check and flags.output:
        raise RrarankError("--output with --check, which writes no map; leave one of the two out")
    if flags.calibration and not flags.check:
        raise RrarankError("--calibration is the map that --check measures; give both or neither")
    job = CalibrateJob(
        sets=_sets(flags),
        origins=origins_of(flags),
        reranker=flags.reranker,
        settings=reranker_settings(flags),
        method=flags.method,
        depth=flags.depth,
        precision=flags.target_precision,
        check=flags.check,
        output=flags.output,
        figure=flags.figure,
        seed=flags.seed,
        overwrite=flags.overwrite,
    )
    found = calibrate_model(job)
    print(tables(found))
    if found.output:
        print(found.output)


def _sets(flags: argparse.Namespace) -> list[JudgedRun]:
    runs = flags.run
    columns = (_each(getattr(flags, name), len(runs), name) for name in ("qrels", "rel_level", "unjudged"))
    return [JudgedRun(*row) for row in zip(runs, *columns, strict=True)]


def _each(values: Sequence[T], count: int, name: str) -> Sequence[T]:
    """One value for each run; a single one is for all, except for judgments."""
    if len(values) == 1 and name != "qrels":
        return list(values) * count
    if len(values) != count:
        raise RrarankError(f"--{name.replace('_', '-')}: {len(values)} given for {count} runs; give one for each run")
    return values


# -- tables -----------------------------------------------------------------------------------------------------------


def tables(found: Calibrated) -> str:
    """The map, how far it can be trusted, and what thresholds give on held-out queries."""
    from tabulate import tabulate

    where = "held-out queries" if found.output else "these queries"
    parts = [
        formula(found.map),
        tabulate(_trust(found.reliability), ["", where, "95% interval"], disable_numparse=True),
    ]
    if found.thresholds:
        head = ["precision wanted", "lowest score", "95% interval", "relevance there", "got", "95% interval"]
        head += ["kept per query", "recall"]
        parts.append(tabulate(map(_row, found.thresholds), head, disable_numparse=True))
    return "\n\n".join(map(str, parts))


def _trust(found: Reliability) -> list[list[str]]:
    return [
        ["ECE", *_cells(found.ece)],
        ["  by chance, were the map perfect", figure(found.ece_of_noise, ".3f"), ""],
        ["Brier score", *_cells(found.brier)],
        ["  of the relevant share alone", figure(found.brier_of_share, ".3f"), ""],
        ["relevant share", figure(found.share, ".3f"), ""],
    ]


def _row(one: Threshold) -> list[str]:
    score = _cells(one.score, ".2f") if one.score.value < float("inf") else ["not reached", ""]
    relevance = figure(one.relevance, ".2f")
    return [f"{one.wanted:g}", *score, relevance, *_cells(one.got), f"{one.kept:.1f}", figure(one.recall, ".2f")]


def _cells(one: Estimated, form: str = ".3f") -> list[str]:
    return [figure(one.value, form), interval(one.low, one.high, form)]


if __name__ == "__main__":
    sys.exit(main())
