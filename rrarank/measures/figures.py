"""Figures for papers, drawn by matplotlib (imported only here): equal values give equal bytes."""

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
from rrarank.extras import importing
from rrarank.measures.measure import label
from rrarank.measures.significance import interval_of_values, mean_interval
from rrarank.storage.files import atomic_write_bytes

if TYPE_CHECKING:
    from rrarank.measures.calibration import Reliability
    from rrarank.measures.evaluation import Evaluation
    from rrarank.measures.sequential import Look

SUFFIXES = (".png", ".svg", ".pdf")
BLUE, ORANGE, GREEN = "#2b6cb0", "#c05621", "#2f855a"


@dataclass(frozen=True)
class Estimate:
    """A mean with the bounds of its 95% interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """The mean of per-query values and its interval."""
        return cls(fmean(values), *interval_of_values(values))

    @classmethod
    def of_differences(cls, differences: Sequence[float]) -> Estimate:
        """The same of differences, which may be below 0."""
        return cls(fmean(differences), *mean_interval(differences))

    def offsets(self) -> list[list[float]]:
        """The distance of each bound from the mean, as matplotlib takes it; a NaN bound is not drawn."""
        return [[self.mean - self.low], [self.high - self.mean]]


# -- differences, query by query --------------------------------------------------------------------------------------


def plot_differences(found: Evaluation, measure: str, path: Path) -> None:
    """Draw one panel per system: its per-query differences from the baseline on that measure, sorted.

    Raises:
        RrarankError: there is only one system.
    """
    if len(found.rows) < 2:
        raise RrarankError(f"{path}: a plot of differences needs a second run beside {found.baseline}")
    save(_differences(found, measure), path)


def differences_svg(found: Evaluation, measure: str) -> str:
    """The same plot as an SVG element for an HTML page: transparent, its words kept as text."""
    return _element(_differences(found, measure))


def _differences(found: Evaluation, measure: str) -> Any:  # a matplotlib Figure; matplotlib has no types here
    others = [row for row in found.rows if row.name != found.baseline]
    [reference] = [row for row in found.rows if row.name == found.baseline]
    columns = min(len(others), 3)
    rows = -(-len(others) // columns)
    figure = new_figure(4.0 * columns, 3.2 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
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
        panel.set_ylabel(f"difference in {label(measure)}")
    return figure


# -- efficiency -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class System:
    """A system with its inference time (in any unit that all systems share) and its quality."""

    name: str
    time: float
    quality: Estimate


def plot_efficiency(systems: Sequence[System], baseline: str, measure: str, path: Path) -> None:
    """Draw inference time, as a multiple of the baseline's on a log scale, against quality with its interval.

    Raises:
        RrarankError: no system has the baseline's name, or a time is not above 0.
    """
    times = {system.name: system.time for system in systems}
    if baseline not in times:
        raise RrarankError(f"{path}: no system named {baseline!r} to compare times with (known: {', '.join(times)})")
    if odd := [name for name, time in times.items() if not 0 < time < math.inf]:
        raise RrarankError(f"{path}: {shown(odd)} has no time above 0; a ratio needs one")
    ratios = [replace(system, time=system.time / times[baseline]) for system in systems]
    save(_efficiency(ratios, baseline, measure), path)


def _efficiency(systems: Sequence[System], baseline: str, measure: str) -> Any:
    """Times are multiples of the baseline's."""
    figure = new_figure(6.4, 5.0)
    panel = figure.subplots()
    panel.set_xscale("log")
    panel.margins(x=0.1, y=0.1)
    for system, (color, marker) in zip(systems, looks(), strict=False):
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
    """1, 2, 5, 10, … where the range is small, else powers of ten; labelled as multiples."""
    steps = (1, 2, 5) if high / low < 1e3 else (1,)
    ticks = sorted(step * 10.0**power for step, power in product(steps, range(-6, 10)))
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside, [f"{tick:,.6g}×" for tick in inside]


# -- reliability ------------------------------------------------------------------------------------------------------


def plot_reliability(found: Mapping[str, Reliability], path: Path) -> None:
    """Draw one panel per name: predicted relevance against the relevant share, with intervals over queries.

    The size of a point is its share of the pairs (DeGroot & Fienberg, 1983).
    """
    columns = min(len(found), 3)
    rows = -(-len(found) // columns)
    figure = new_figure(3.4 * columns, 3.4 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel, (name, one) in zip(panels.flat, found.items(), strict=False):
        panel.plot([0, 1], [0, 1], color="#a0aec0", linewidth=0.8)
        for part in one.bins:
            observed = part.observed
            offsets = Estimate(observed.value, observed.low, observed.high).offsets()
            size = 3 + 9 * math.sqrt(part.pairs / one.pairs)
            panel.errorbar(
                part.predicted, observed.value, offsets, fmt="o", color=BLUE, markersize=size, capsize=2, lw=1
            )
        panel.set_title(f"{name}\nECE {one.ece.value:.3f}".strip(), fontsize=9, parse_math=False)
        panel.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted relevance", ylabel="relevant share")
    for unused in panels.flat[len(found) :]:
        unused.remove()
    save(figure, path)


# -- tuning -----------------------------------------------------------------------------------------------------------


def plot_weights(curves: Mapping[str, Mapping[float, Estimate]], chosen: float, measure: str, path: Path) -> None:
    """Draw the mean difference from the reranker alone over its weight, one line per name, with 95% intervals.

    Args:
        curves: name -> weight -> difference.
        chosen: the weight that is marked.
    """
    figure = new_figure(6.4, 4.0)
    panel = figure.subplots()
    for (name, curve), (color, marker) in zip(curves.items(), looks(), strict=False):
        weights, found = list(curve), list(curve.values())
        panel.plot(weights, [one.mean for one in found], color=color, marker=marker, markersize=3, label=name)
        panel.fill_between(weights, [e.low for e in found], [e.high for e in found], color=color, alpha=0.15, lw=0)
    panel.axhline(0, color="black", linewidth=0.8)
    panel.axvline(chosen, color="black", linewidth=0.8, linestyle=":", label=f"chosen: {chosen:g}")
    panel.set_xlabel("weight of the reranker (0: the first stage alone, 1: the reranker alone)")
    panel.set_ylabel(f"{label(measure)} minus the reranker alone")
    panel.legend(fontsize=8)
    save(figure, path)


# -- online experiments ------------------------------------------------------------------------------------------------


def plot_looks(looks: Mapping[str, Sequence[Look]], measure: str, path: Path) -> None:
    """Draw each arm's difference from the baseline day by day, with intervals that hold at every look.

    Raises:
        RrarankError: there are no looks: an interleaving experiment, or a single day.
    """
    if not any(looks.values()):
        raise RrarankError(f"{path}: nothing to draw day by day; interleaving has no arms, and a look needs users")
    save(_looks(looks, measure), path)


def looks_svg(looks: Mapping[str, Sequence[Look]], measure: str) -> str:
    """The same plot as an SVG element for an HTML page."""
    return _element(_looks(looks, measure))


def _looks(found: Mapping[str, Sequence[Look]], measure: str) -> Any:  # a matplotlib Figure
    figure = new_figure(6.4, 4.0)
    panel = figure.subplots()
    for (name, own), (color, marker) in zip(found.items(), looks(), strict=False):
        days = [one.when for one in own]
        panel.plot(days, [one.difference for one in own], color=color, marker=marker, markersize=3, label=name)
        panel.fill_between(days, [one.low for one in own], [one.high for one in own], color=color, alpha=0.15, lw=0)
        for bound in ("naive_low", "naive_high"):
            panel.plot(days, [getattr(one, bound) for one in own], color=color, linewidth=0.7, linestyle=":")
    panel.axhline(0, color="black", linewidth=0.8)
    panel.set_ylabel(f"difference in {measure}")
    panel.tick_params("x", rotation=45, labelsize=8)
    panel.legend(fontsize=8, title="band: always valid; dots: if looked at once", title_fontsize=7)
    return figure


# -- training ---------------------------------------------------------------------------------------------------------


def training_curves(stages: Sequence[Sequence[Mapping[str, float]]]) -> str:
    """An SVG file of losses and dev measures over the training steps, one panel per stage's log."""
    figure = new_figure(4.5 * len(stages), 3.2)
    for panel, log in zip(figure.subplots(1, len(stages), squeeze=False)[0], stages, strict=True):
        names = sorted({name for entry in log for name in entry if "loss" in name or "pairs" in name} - _NOT_PLOTTED)
        for name in [*names, *sorted({name for entry in log for name in entry if name.startswith("eval_")})]:
            points = [(entry["step"], entry[name]) for entry in log if name in entry]
            panel.plot(*zip(*points, strict=True), label=name.replace("_", " "), marker="o" if "eval" in name else "")
        panel.set_xlabel("steps")
        if panel.lines:  # a short stage may log nothing
            panel.legend(fontsize=7)
    return _picture(figure, "svg").decode("utf-8")


_NOT_PLOTTED = {"pairs_per_second", "train_loss"}


# -- all figures ------------------------------------------------------------------------------------------------------


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure, in inches."""
    with importing():
        from matplotlib.figure import Figure  # without pyplot: no global state, no display
    return Figure(figsize=(width, height), layout="constrained")


def looks() -> Iterator[tuple[str, str]]:
    """(color, marker) pairs; the first 35 differ, and markers tell neighbours apart without color."""
    return zip(cycle((BLUE, ORANGE, GREEN, "#6b46c1", "#2d3748")), cycle("os^DvPX"), strict=False)


def save(figure: Any, path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise RrarankError(f"{path}: unknown kind of picture (known: {' '.join(SUFFIXES)})")
    atomic_write_bytes(path, _picture(figure, path.suffix[1:]))


_DATES = {"svg": "Date", "pdf": "CreationDate"}


def _element(figure: Any) -> str:
    """An SVG element for an HTML page: transparent, its words kept as text."""
    picture = _picture(figure, "svg", {"svg.fonttype": "none"}, transparent=True).decode("utf-8")
    return re.sub("<metadata>.*?</metadata>", "", picture[picture.index("<svg") :], flags=re.DOTALL)


def _picture(figure: Any, kind: str, settings: Mapping[str, str] | None = None, *, transparent: bool = False) -> bytes:
    """Without random ids and dates, so that equal figures give equal bytes."""
    import matplotlib

    picture = io.BytesIO()
    metadata = {_DATES[kind]: None} if kind in _DATES else {}
    with matplotlib.rc_context({"svg.hashsalt": "rrarank", **(settings or {})}):
        figure.savefig(picture, dpi=150, format=kind, metadata=metadata, transparent=transparent)
    return picture.getvalue()
