"""How far the model's probabilities of relevance can be trusted on other sets, and what its thresholds give there.

    python -m benchmarks quality calibration --set NAME RUN QRELS GRADE UNJUDGED … [--model MODEL] [--figure FILE]

RUN is a run of candidates (one that the model re-ranked is not scored again), GRADE the lowest relevant grade, UNJUDGED
`leave-out` or `irrelevant`. The map and its thresholds are those in the model's folder; none is fitted here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.common import show
from rrarank import CalibrateJob, JudgedRun, calibrate_model
from rrarank.calibrate.job import Calibrated
from rrarank.measures.calibration import Estimated
from rrarank.measures.figures import plot_reliability
from rrarank.measures.numbers import interval


def main() -> None:
    parser = argparse.ArgumentParser(description="Reliability of a calibrated model, and precision wanted and got.")
    names = ("NAME", "RUN", "QRELS", "GRADE", "UNJUDGED")
    parser.add_argument("--set", dest="sets", nargs=5, action="append", required=True, metavar=names)
    parser.add_argument("--model", default="")
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--figure", type=Path)
    flags = parser.parse_args()
    settings = {"model": flags.model} if flags.model else {}
    found = {
        name: calibrate_model(
            CalibrateJob(
                [JudgedRun(run, qrels, int(grade), unjudged)], settings=settings, depth=flags.depth, check=True
            )
        )
        for name, run, qrels, grade, unjudged in flags.sets
    }
    show([trust(name, one) for name, one in found.items()], {}, default=".3f")
    show([row for name, one in found.items() for row in thresholds(name, one)], {"recall": ".2f"}, default=".2f")
    if flags.figure:
        plot_reliability({name: one.reliability for name, one in found.items()}, flags.figure)


def trust(name: str, found: Calibrated) -> dict[str, object]:
    one = found.reliability
    return {
        "set": name,
        "queries": one.queries,
        "pairs": f"{one.pairs:,}",
        "relevant share": one.share,
        "ECE": cell(one.ece),
        "by chance": one.ece_of_noise,
        "Brier": cell(one.brier),
        "of the share alone": one.brier_of_share,
    }


def thresholds(name: str, found: Calibrated) -> list[dict[str, object]]:
    return [
        {
            "set": name,
            "precision wanted": row.wanted,
            "lowest score": row.score.value,
            "got": cell(row.got),
            "kept per query": row.kept,
            "recall": row.recall,
        }
        for row in found.thresholds
    ]


def cell(one: Estimated) -> str:
    return f"{one.value:.3f} {interval(one.low, one.high, '.3f')}"


if __name__ == "__main__":
    main()
