"""What the arms' values say: differences with intervals over queries and seeds, what may be said of them, as tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from tabulate import tabulate

from rrarank.measures.numbers import json_values
from rrarank.measures.significance import ALPHA, RESAMPLES, SEED, Comparison, compare

PRECISIONS = (100, 80, 60, 40)
"""Per cent of the documents that are taken out of a list that were missing before."""
LISTS, CURVES = (20, 40), ("A", "C", "D")
"""Of how many lists, and for which arms, students are trained beside those of all lists."""
DIFFERENCES = (
    *(("B", "A"), ("C", "B"), ("D", "C"), ("D", "D1"), ("D", "D2"), ("D", "D3"), ("D", "A"), ("A", "naive")),
    *(("C", "drop"), ("C", "random")),  # treatments of what is missing; B re-appends it
    *((f"tied-{share}", f"{other}-{share}") for share in PRECISIONS for other in ("re-append", "drop", "random")),
    *((arm, f"{arm}-{lists}") for arm in CURVES for lists in LISTS),
    *((f"D-{lists}", f"A-{lists}") for lists in LISTS),
)
NO_LOSS = 0.01  # the interval of (sum - s_base) must lie so near to 0

Report = dict[str, Any]  # JSON values


@dataclass(frozen=True)
class Measured:
    """One student on one set.

    Args:
        values: `s_base`, and with a term control `s_TCL` and `sum` -> (queries,).
        judged: share of the top 10 by s_base that has a judgment.
        correlation: of s_TCL and s_base, Pearson's within a query, the mean over queries; NaN without s_TCL.
    """

    values: Mapping[str, np.ndarray]
    judged: float
    correlation: float = math.nan


Grid = Mapping[str, Mapping[int, Measured]]
"""arm -> seed -> values."""


@dataclass(frozen=True)
class Board:
    """All that was measured on one set.

    Args:
        floor: expected value of a random order of the candidates.
        texts: how many of the judged passages have one.
        references: `bm25` and `base`, which have no seeds.
    """

    name: str
    measure: str
    qids: Sequence[str]
    floor: float
    texts: str
    references: Mapping[str, Measured]
    grid: Grid


def pooled(one: Board, other: Board) -> Board:
    """Two sets of one measure as one: the more queries, the smaller a difference that shows."""
    sizes = len(one.qids), len(other.qids)
    return Board(
        f"{one.name} and {other.name} pooled",
        one.measure,
        [f"{board.name} {qid}" for board in (one, other) for qid in board.qids],
        float(np.average([one.floor, other.floor], weights=sizes)),
        f"{one.name}: {one.texts}; {other.name}: {other.texts}",
        {name: _pool(found, other.references[name], sizes) for name, found in one.references.items()},
        {
            arm: {s: _pool(found, other.grid[arm][s], sizes) for s, found in seeds.items() if s in other.grid[arm]}
            for arm, seeds in one.grid.items()
        },
    )


def _pool(one: Measured, other: Measured, sizes: tuple[int, int]) -> Measured:
    values = {name: np.concatenate([found, other.values[name]]) for name, found in one.values.items()}
    both = [(one.judged, one.correlation), (other.judged, other.correlation)]
    return Measured(values, *np.average(both, axis=0, weights=sizes).tolist())


# -- differences ------------------------------------------------------------------------------------------------------


def difference(name: str, measure: str, ours: np.ndarray, theirs: np.ndarray) -> Comparison:
    """`compare` of the means over seeds, with an interval over queries and seeds; (seeds, queries) each."""
    found = compare(name, measure, ours.mean(0).tolist(), theirs.mean(0).tolist())
    low, high = interval(ours, theirs)
    return replace(found, low=low, high=high)


def interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """95 % percentile bootstrap of the mean difference: each resample takes the same queries of both, and of each seeds
    of its own."""
    draw = np.random.default_rng(SEED)
    queries = _shares(draw, ours.shape[1])
    mine, yours = ((_shares(draw, len(values)) * (queries @ values.T)).sum(1) for values in (ours, theirs))
    low, high = np.percentile(mine - yours, [100 * ALPHA / 2, 100 * (1 - ALPHA / 2)])
    return float(low), float(high)


def _shares(draw: np.random.Generator, size: int) -> np.ndarray:
    """(resamples, size): how much of each resample is which of `size` things."""
    return draw.multinomial(size, [1 / size] * size, size=RESAMPLES) / size


def differences(board: Board) -> dict[str, Comparison]:
    stacks = {arm: _stack(seeds) for arm, seeds in board.grid.items() if seeds}
    found = {}
    for ours, theirs in DIFFERENCES:
        if ours in stacks and theirs in stacks:
            name = f"{ours} - {theirs}"
            found[name] = difference(name, board.measure, stacks[ours]["s_base"], stacks[theirs]["s_base"])
    if "D" in stacks:  # two scores of one graph: a seed is drawn for both
        apart = stacks["D"]["sum"] - stacks["D"]["s_base"]
        found[_DROPPED] = difference(_DROPPED, board.measure, apart, np.zeros((1, apart.shape[1])))
    return found


_DROPPED = "D: sum - s_base"


def _stack(seeds: Mapping[int, Measured]) -> dict[str, np.ndarray]:
    """Score -> (seeds, queries)."""
    first = next(iter(seeds.values()))
    return {name: np.stack([one.values[name] for one in seeds.values()]) for name in first.values}


# -- what may be said -------------------------------------------------------------------------------------------------


def resolved(found: Comparison) -> bool:
    """No smaller than what so many queries show with 80 % power, and its interval without 0; NaN is not."""
    return abs(found.mean) >= found.detectable and (found.low > 0 or found.high < 0)


def reading(found: Comparison) -> str:
    if found.mean == found.detectable == 0:
        return "equal on every query"
    if not resolved(found):
        return "not resolved"
    return "above" if found.mean > 0 else "below"


def verdicts(found: Mapping[str, Comparison]) -> Iterator[str]:
    yield credit(found)
    if dropped := found.get(_DROPPED):
        within = dropped.low > -NO_LOSS and dropped.high < NO_LOSS
        lies = "lies inside" if within else "does not lie inside"
        bounds = f"[{dropped.low:+.4f}, {dropped.high:+.4f}]"
        yield f"Dropping TS and TCL: {'no loss' if within else 'not shown'}; the interval {bounds} {lies} ±{NO_LOSS}."


def credit(found: Mapping[str, Comparison]) -> str:
    """Whether what D gains over C is owed to terms: only if D3 is worse than D."""
    if not {"D - C", "D - D3"} <= found.keys():
        return "Terms: D - C and D - D3 are not both there; nothing is credited to terms."
    if reading(found["D - C"]) != "above":
        return "Terms: D is not shown to be above C; nothing is credited to terms."
    if reading(found["D - D3"]) != "above":
        return "Terms: D is above C, but D3 is not shown to be worse than D; the effect is not credited to terms."
    return "Terms: D is above C, and D3 is worse than D; the effect is credited to terms."


# -- as JSON values ---------------------------------------------------------------------------------------------------


def board_facts(board: Board) -> Report:
    found = differences(board)
    return {
        "set": board.name,
        "measure": board.measure,
        "qids": board.qids,
        "texts": board.texts,
        "random": board.floor,
        "rows": [
            *(_row(name, {0: one}) | {"seeds": []} for name, one in board.references.items()),
            *(_row(arm, seeds) for arm, seeds in board.grid.items() if seeds),
        ],
        "differences": [{**asdict(one), "reading": reading(one)} for one in found.values()],
        "verdicts": list(verdicts(found)),
    }


def _row(arm: str, seeds: Mapping[int, Measured]) -> Report:
    stacked = _stack(seeds)
    means = {name: values.mean(1) for name, values in stacked.items()}  # (seeds,)
    return {
        "arm": arm,
        "seeds": list(seeds),
        **{name: float(values.mean()) for name, values in means.items()},
        "deviation": float(means["s_base"].std(ddof=1)) if len(seeds) > 1 else math.nan,
        "correlation": fmean(one.correlation for one in seeds.values()),
        "judged": fmean(one.judged for one in seeds.values()),
        "per_query": {name: values.tolist() for name, values in stacked.items()},
    }


def as_json(found: Report) -> str:
    return json.dumps(json_values(found), indent=1) + "\n"


# -- as Markdown ------------------------------------------------------------------------------------------------------


def markdown(found: Report) -> str:
    parts = [_grid_line(found), _sets_table(found), _arms_table(found)]
    for board in found["boards"]:
        parts += [f"## {board['set']}, {board['measure']}", _rows_table(board, found["arms"])]
        parts += [_differences_table(board), "\n".join(f"- {line}" for line in board["verdicts"])]
    return "\n\n".join(part for part in parts if part)


def _grid_line(found: Report) -> str:
    ran = "; ".join(f"{arm} seeds {' '.join(map(str, seeds))}" for arm, seeds in found["grid"].items() if seeds)
    absent = ", ".join(arm for arm, seeds in found["grid"].items() if not seeds)
    trial = f"TRIAL on {found['trial']} queries of everything: no figure means anything. " if found["trial"] else ""
    whole = "PARTIAL GRID" if found["partial"] else "Grid"
    return f"{trial}{whole}: {ran or 'nothing'}{f'; not run: {absent}' if absent else ''}."


def _sets_table(found: Report) -> str:
    head = ["set", "teacher", "queries", "listed a query", "missing", "unknown", "listed > listed", "listed > missing"]
    rows = []
    for name, one in found["sets"].items():
        means = [f"{one[kind]['mean']:.1f}" for kind in ("listed", "missing", "unknown")]
        counts = [f"{one[kind]:,}" for kind in ("listed_pairs", "missing_pairs")]
        rows.append([name, one["teacher"], one["queries"], *means, *counts])
    return _table(head, rows)


def _arms_table(found: Report) -> str:
    head = ["arm", "what it is", "teacher", "set", "missing", "lists", "pairs", "documents read", "steps"]
    rows = []
    for arm, one in found["arms"].items():
        counts = [f"{one[name]:,}" for name in ("lists", "pairs", "documents_read")]
        steps = ", ".join(map(str, one["steps"]))
        rows.append([arm, one["what"], one["teacher"], one["set"], one["missing"], *counts, steps])
    note = "One list for each query, about as many steps; pairs differ with set and treatment."
    return f"{_table(head, rows)}\n\n{note}"


def _rows_table(board: Report, arms: Report) -> str:
    head = ["arm", "teacher", "seeds", "s_base", "± seeds", "s_TCL", "sum", "corr(s_TCL, s_base)", "judged@10"]
    rows = [["random order", "", "", _figure(board["random"])]]
    for one in board["rows"]:
        seeds = str(len(one["seeds"]))
        who = [one["arm"], arms[one["arm"]]["teacher"], seeds] if one["seeds"] else [one["arm"], "", ""]
        means = [_figure(one.get(name)) for name in ("s_base", "deviation", "s_TCL", "sum", "correlation")]
        rows.append([*who, *means, f"{one['judged']:.0%}"])
    note = (
        f"{len(board['qids'])} queries, means over queries and seeds; {board['texts']}. Random order: of BM25's "
        "candidates, expected value. base: the warm-up as it is, before it learns from these lists. ± seeds: standard "
        "deviation of the seeds' means. corr: Pearson's within a query, mean over queries."
    )
    return f"{_table(head, rows)}\n\n{note}"


def _differences_table(board: Report) -> str:
    if not board["differences"]:
        return ""
    rows = []
    for one in board["differences"]:
        bounds = f"[{one['low']:+.4f}, {one['high']:+.4f}]"
        rows.append([one["system"], f"{one['mean']:+.4f}", bounds, _figure(one["detectable"]), one["reading"]])
    smallest = [one["detectable"] for one in board["differences"] if one["detectable"]] or [math.nan]
    note = (
        f"Of s_base unless said. Intervals: bootstrap over queries and seeds, {RESAMPLES:,} resamples; not corrected "
        "for the number of differences. Smallest detectable difference (80% power, "
        f"alpha {ALPHA}, paired, {len(board['qids'])} queries): {_figure(min(smallest))} to {_figure(max(smallest))}, "
        "each with its own deviation; what is below it is not resolved."
    )
    if any(len(one["seeds"]) == 1 for one in board["rows"]):
        note += " An arm of one seed brings no variation of training into its intervals."
    return f"{_table(['difference', 'mean', '95% interval', 'detectable', ''], rows)}\n\n{note}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return str(tabulate(rows, headers=head, tablefmt="github", disable_numparse=True))


def _figure(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"
