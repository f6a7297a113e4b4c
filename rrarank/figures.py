"""Figures for papers (the only file with matplotlib)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rrarank.errors import RrarankError
from rrarank.files import atomic_write_bytes

if TYPE_CHECKING:
    from rrarank.measures import Evaluation

SUFFIXES = (".png", ".svg", ".pdf")


def plot_differences(found: Evaluation, measure: str, path: Path) -> None:
    """One panel a system: its per-query differences from the baseline on that measure, sorted.

    Raises:
        RrarankError: there is nothing to compare.
    """
    others = [row for row in found.rows if row.name != found.baseline]
    if not others:
        raise RrarankError(f"{path}: a plot of differences needs a second run beside {found.baseline}")
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    [reference] = [row for row in found.rows if row.name == found.baseline]
    figure = Figure(figsize=(4.0 * len(others), 3.2), layout="constrained")
    panels = figure.subplots(1, len(others), sharey=True, squeeze=False)[0]
    for panel, row in zip(panels, others, strict=True):
        base = reference.per_query[measure]
        values = sorted((row.per_query[measure][qid] - base[qid] for qid in found.queries), reverse=True)
        panel.bar(range(len(values)), values, width=1.0, color=["#2b6cb0" if v >= 0 else "#c05621" for v in values])
        panel.axhline(0, color="black", linewidth=0.8)
        better, worse = sum(v > 0 for v in values), sum(v < 0 for v in values)
        panel.set_title(f"{row.name} - {found.baseline}\n{better} better, {worse} worse", fontsize=9)
        panel.set_xlabel("queries, sorted")
    panels[0].set_ylabel(f"difference in {measure}")
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150, format=path.suffix[1:])
    atomic_write_bytes(path, picture.getvalue())


def training_curves(stages: Sequence[Sequence[Mapping[str, float]]]) -> str:
    """The losses over the steps of each stage's log, one panel a stage, and dev's measure beside them; SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(stages), 3.2), layout="constrained")
    for panel, log in zip(figure.subplots(1, len(stages), squeeze=False)[0], stages, strict=True):
        names = sorted({name for entry in log for name in entry if "loss" in name or "pairs" in name} - _NOT_PLOTTED)
        for name in [*names, *sorted({name for entry in log for name in entry if name.startswith("eval_")})]:
            points = [(entry["step"], entry[name]) for entry in log if name in entry]
            panel.plot(*zip(*points, strict=True), label=name.replace("_", " "), marker="o" if "eval" in name else "")
        panel.set_xlabel("steps")
        if panel.lines:  # not so in a stage too short for its log
            panel.legend(fontsize=7)
    picture = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "rrarank"}):  # no random ids, no date: equal logs give equal bytes
        figure.savefig(picture, format="svg", metadata={"Date": None})
    return picture.getvalue()


_NOT_PLOTTED = {"pairs_per_second", "train_loss"}
