"""The scores of the arms of `benchmarks/ablation/arms.py` as one picture: s_base, s_TCL and their sum, one panel a set.

    python -m benchmarks ablation figure REPORT.json FIGURE.png

REPORT.json is what arms.py writes; FIGURE ends in .png, .svg or .pdf.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ablation.tables import interval
from rrarank.cli.verbs import run_verb
from rrarank.errors import RrarankError
from rrarank.measures.figures import Estimate, looks, new_figure, save
from rrarank.storage.files import find
from rrarank.storage.sidecar import check_output

SCORES = ("s_base", "s_TCL", "sum")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draw the arms' scores with their intervals.")
    parser.add_argument("report", help="JSON that benchmarks/ablation/arms.py wrote")
    parser.add_argument("figure", type=Path, help="by suffix: .png .svg .pdf")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing figure")
    return run_verb(_draw, parser, arguments)


def _draw(flags: argparse.Namespace) -> None:
    path = find(flags.report)
    check_output(flags.figure, flags.overwrite, [path])
    report = read_report(path)
    plot_scores([panel(board, report["trial"]) for board in report["boards"]], flags.figure)


def read_report(path: Path) -> Any:  # JSON
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        whole = all("per_query" in row for board in found["boards"] for row in board["rows"])
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise RrarankError(f"{path}: no report of arms, expected the JSON that benchmarks/ablation/arms.py writes")
    return found


def panel(board: Mapping[str, Any], trial: int | None) -> ScorePanel:
    """Rows with seeds are arms; those without are what the arms are set against."""
    arms = {row["arm"]: estimates(row["per_query"]) for row in board["rows"] if row["seeds"]}
    lines = {row["arm"]: row["s_base"] for row in board["rows"] if not row["seeds"]}
    title = f"{board['set']}, {len(board['qids'])} queries" + (" (trial: means nothing)" if trial else "")
    return ScorePanel(title, board["measure"], arms, lines)


def estimates(per_query: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Estimate]:
    """Score -> its mean, with an interval over queries and seeds; values are (seeds, queries)."""
    return {name: estimate(np.array(per_query[name])) for name in SCORES if name in per_query}


def estimate(values: np.ndarray) -> Estimate:
    low, high = interval(values, np.zeros((1, values.shape[1])))
    return Estimate(float(values.mean()), low, high)


@dataclass(frozen=True)
class ScorePanel:
    """What the scores of several students reach on one set.

    Args:
        groups: student -> score (`s_base`, …) -> estimate; not every student has every score.
        lines: name -> value, drawn across: what has no such scores, as the first stage.
    """

    title: str
    measure: str
    groups: Mapping[str, Mapping[str, Estimate]]
    lines: Mapping[str, float]


def plot_scores(panels: Sequence[ScorePanel], path: Path) -> None:
    """One panel a set: for each student, the measure of each of its scores with its interval.

    Raises:
        RrarankError: there is no student.
    """
    if not any(panel.groups for panel in panels):
        raise RrarankError(f"{path}: no student has been measured; nothing to draw")
    figure = new_figure(5.2 * len(panels), 3.6)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_scores(axes, panel)
    save(figure, path)


def _draw_scores(axes: Any, panel: ScorePanel) -> None:
    names = list(dict.fromkeys(name for scores in panel.groups.values() for name in scores))
    styles = dict(zip(names, looks(), strict=False))
    for name in names:
        color, marker = styles[name]
        for place, scores in enumerate(panel.groups.values()):
            if name in scores:
                at = place + 0.22 * (list(scores).index(name) - (len(scores) - 1) / 2)
                axes.errorbar(
                    at, scores[name].mean, scores[name].offsets(), fmt=marker, color=color, capsize=2, lw=1, ms=5
                )
        axes.plot([], [], marker, color=color, ms=5, label=name)  # once in the legend
    for style, (name, value) in zip(("--", ":", "-."), panel.lines.items(), strict=False):
        axes.axhline(value, color="#718096", linestyle=style, linewidth=0.9, label=name, zorder=0)
    axes.set_xticks(range(len(panel.groups)), panel.groups)
    axes.set_title(panel.title, fontsize=9, parse_math=False)
    axes.set_ylabel(panel.measure)
    axes.legend(fontsize=7, ncols=2)


if __name__ == "__main__":
    sys.exit(main())
