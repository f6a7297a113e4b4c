"""Figures for papers (the only file with matplotlib): plain values in, a picture out; equal values give equal bytes."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rrarank.errors import RrarankError, shown
from rrarank.measures.significance import bootstrap
from rrarank.storage.files import atomic_write_bytes

if TYPE_CHECKING:
    from rrarank.measures.scores import Evaluation

SUFFIXES = (".png", ".svg", ".pdf")
BLUE, ORANGE, GREEN = "#2b6cb0", "#c05621", "#2f855a"


@dataclass(frozen=True)
class Estimate:
    """A mean with the bounds of its 95 % interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """The mean of per-query values, its interval by bootstrap over queries."""
        return cls(fmean(values), *bootstrap(values))

    def offsets(self) -> list[list[float]]:
        """How far the bounds lie from the mean, as matplotlib takes them; a bound that is NaN draws nothing."""
        return [[self.mean - self.low], [self.high - self.mean]]


# -- differences, query by query --------------------------------------------------------------------------------------


def plot_differences(found: Evaluation, measure: str, path: Path) -> None:
    """One panel a system: its per-query differences from the baseline on that measure, sorted.

    Raises:
        RrarankError: there is nothing to compare.
    """
    if len(found.rows) < 2:
        raise RrarankError(f"{path}: a plot of differences needs a second run beside {found.baseline}")
    _write(_differences(found, measure), path)


def differences_svg(found: Evaluation, measure: str) -> str:
    """The same as an SVG element on no background, its words left as text: to stand inside a page."""
    return _svg(_differences(found, measure), words="none", transparent=True)


def _differences(found: Evaluation, measure: str) -> Any:  # a matplotlib Figure, which has no types here
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    others = [row for row in found.rows if row.name != found.baseline]
    [reference] = [row for row in found.rows if row.name == found.baseline]
    wide = min(len(others), 3)
    deep = -(-len(others) // wide)
    figure = Figure(figsize=(4.0 * wide, 3.2 * deep), layout="constrained")
    panels = figure.subplots(deep, wide, sharey=True, squeeze=False)
    for panel, row in zip(panels.flat, others, strict=False):
        base = reference.per_query[measure]
        values = sorted((row.per_query[measure][qid] - base[qid] for qid in found.queries), reverse=True)
        panel.bar(range(len(values)), values, width=1.0, color=[BLUE if v >= 0 else ORANGE for v in values])
        panel.axhline(0, color="black", linewidth=0.8)
        better, worse = sum(v > 0 for v in values), sum(v < 0 for v in values)
        panel.set_title(f"{row.name} - {found.baseline}\n{better} better, {worse} worse", fontsize=9, parse_math=False)
        panel.set_xlabel("queries, sorted")
    for unused in panels.flat[len(others) :]:
        unused.remove()
    for panel in panels[:, 0]:
        panel.set_ylabel(f"difference in {measure}")
    return figure


# -- efficiency -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class System:
    """What a system takes and what it reaches.

    Args:
        time: of inference, in any unit that all systems share.
    """

    name: str
    time: float
    quality: Estimate


def plot_efficiency(systems: Sequence[System], baseline: str, measure: str, path: Path) -> None:
    """Inference time as a multiple of the baseline's (log scale) against quality with its interval.

    Raises:
        RrarankError: no system has the baseline's name, or a time is not above 0.
    """
    times = {system.name: system.time for system in systems}
    if baseline not in times:
        raise RrarankError(f"{path}: no system named {baseline!r} to set times against (known: {', '.join(times)})")
    if odd := [name for name, time in times.items() if not 0 < time < math.inf]:
        raise RrarankError(f"{path}: {shown(odd)} has no time above 0; a ratio needs one")
    ratios = [replace(system, time=system.time / times[baseline]) for system in systems]
    _write(_efficiency(ratios, baseline, measure), path)


def _efficiency(systems: Sequence[System], baseline: str, measure: str) -> Any:
    """Times are multiples of the baseline's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.0), layout="constrained")
    panel = figure.subplots()
    panel.set_xscale("log")
    panel.margins(x=0.1, y=0.1)
    for system, (color, marker) in zip(systems, _looks(), strict=False):
        mean, offsets = system.quality.mean, system.quality.offsets()
        panel.errorbar(system.time, mean, offsets, fmt=marker, color=color, capsize=2, lw=1, label=system.name)
    panel.set_xticks(*_ratio_ticks(*panel.get_xlim()))
    panel.minorticks_off()
    panel.set_xlabel(f"inference time, {baseline} = 1", parse_math=False)
    panel.set_ylabel(measure)
    panel.grid(color="#e2e8f0", linewidth=0.6)
    panel.set_axisbelow(True)
    for text in figure.legend(loc="outside upper center", ncols=2, fontsize=8).get_texts():
        text.set_parse_math(False)
    return figure


def _ratio_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """1, 2, 5, 10, … where they are few enough, else powers of ten; written as multiples."""
    steps = (1, 2, 5) if high / low < 1e3 else (1,)
    ticks = sorted(step * 10.0**power for step, power in product(steps, range(-6, 10)))
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside, [f"{tick:,.6g}×" for tick in inside]


# -- scores of one graph ----------------------------------------------------------------------------------------------


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
    from matplotlib.figure import Figure

    if not any(panel.groups for panel in panels):
        raise RrarankError(f"{path}: no student has been measured; nothing to draw")
    figure = Figure(figsize=(5.2 * len(panels), 3.6), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_scores(axes, panel)
    _write(figure, path)


def _draw_scores(axes: Any, panel: ScorePanel) -> None:
    names = list(dict.fromkeys(name for scores in panel.groups.values() for name in scores))
    looks = dict(zip(names, _looks(), strict=False))
    for name in names:
        color, marker = looks[name]
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


def _looks() -> Iterator[tuple[str, str]]:
    """(color, marker), the first 35 of which differ; told apart without color too."""
    return zip(cycle((BLUE, ORANGE, GREEN, "#6b46c1", "#2d3748")), cycle("os^DvPX"), strict=False)


# -- training ---------------------------------------------------------------------------------------------------------


def training_curves(stages: Sequence[Sequence[Mapping[str, float]]]) -> str:
    """The losses over the steps of each stage's log, one panel a stage, and dev's measure beside them; SVG."""
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
    return _picture(figure, "svg").decode("utf-8")


_NOT_PLOTTED = {"pairs_per_second", "train_loss"}


# -- writing ----------------------------------------------------------------------------------------------------------


def _write(figure: Any, path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise RrarankError(f"{path}: no kind of picture (known: {' '.join(SUFFIXES)})")
    atomic_write_bytes(path, _picture(figure, path.suffix[1:]))


def _svg(figure: Any, *, words: str, transparent: bool) -> str:
    """The element alone, without what opens a file and what describes one."""
    text = _picture(figure, "svg", {"svg.fonttype": words}, transparent=transparent).decode("utf-8")
    return re.sub("<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


_DATES = {"svg": "Date", "pdf": "CreationDate"}


def _picture(figure: Any, kind: str, settings: Mapping[str, str] | None = None, *, transparent: bool = False) -> bytes:
    """No random ids, no date: equal figures give equal bytes."""
    import matplotlib

    picture = io.BytesIO()
    dated = {_DATES[kind]: None} if kind in _DATES else {}
    with matplotlib.rc_context({"svg.hashsalt": "rrarank", **(settings or {})}):
        figure.savefig(picture, dpi=150, format=kind, metadata=dated, transparent=transparent)
    return picture.getvalue()
