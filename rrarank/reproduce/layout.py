"""A measured table of systems by test sets, as Markdown to read and as LaTeX for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import nan

from rrarank.measures.clicks import MEASURES
from rrarank.measures.evaluation import compared_name, legend, shown_value
from rrarank.measures.latex import latex
from rrarank.measures.lifts import Lift
from rrarank.measures.measure import label, parse_measure
from rrarank.measures.numbers import figure, interval
from rrarank.measures.online_file import OnlineLifts
from rrarank.measures.significance import rests_on
from rrarank.measures.tables import Cell, bold_best, cells, markdown_table
from rrarank.measures.tables import Table as Grid
from rrarank.reproduce.table import Column, Table


def as_markdown(table: Table) -> str:
    """The overview, then a table a test set with what it rests on."""
    parts = [f"# {table.config.title}", markdown_table(_overview(table))]
    parts += [f"{_heading(column)}\n\n{_column(name, column, table)}" for name, column in table.columns.items()]
    parts += [_online_part(table)] if table.config.online else []
    return "\n\n".join([*parts, *filter(None, [table.config.remark.strip()])]) + "\n"


def as_latex(table: Table) -> str:
    """The overview, then a table a measured test set: scores, differences and p."""
    note = f"{_measures(table)}. -: not reached."
    grids = {"overview": replace(_overview(table), title=f"{table.config.title}.", note=note)}
    for name, column in table.columns.items():
        if column.found:
            whole = _measured(name, column, table, brief=True)
            shown = len(table.config.measures) + 1
            grids[name] = whole.only([*whole.head[:shown], *whole.head[shown + 2 : shown + 4]])
    if table.online.found:
        grids["online"] = _online(table, table.online.found)
    return latex(grids)


def _heading(column: Column) -> str:
    return f"## {column.config.title}, {column.config.label}"


def _overview(table: Table) -> Grid:
    measures, columns = table.config.measures, table.columns.values()
    group = _online_group(table)
    head = ["", *(f"{column.config.title} ({column.config.label})" for column in columns), *group, "teacher"]
    rows = [cells(["random order", *(_floor(column, measures) for column in columns), *("" for _ in group), ""])]
    for name, row in table.config.rows.items():
        values = ["/".join(_figure(one.value(name, m)) for m in measures) for one in columns]
        values += [lifts.get(name, "") for lifts in group.values()]
        rows.append(cells([row.title, *values, table.models[name].teacher]))
    note = f"{_measures(table)}. -: not reached, for the reason in the tables below."
    return Grid(head, rows, words=frozenset({0, len(head) - 1}), note=note)


def _online_group(table: Table) -> dict[str, dict[str, str]]:
    """Head -> row -> lifts over the online test's baseline, ours and the paper's; none without a file, or a row."""
    config, found = table.config.online, table.online.found
    if not config or not found or config.row not in table.config.rows:
        return {}
    base = table.config.rows[config.baseline].title if config.baseline in table.config.rows else config.baseline
    ours = {name: found.lifts[name].relative if name in found.lifts else nan for name in config.paper}
    told = {"simulated": found.simulated, "SAMPLE-RATIO MISMATCH": found.mismatched}
    kinds = {", ".join(["online", *(word for word in told if told[word])]): ours, "online, paper": config.paper}
    about = f"{'/'.join(config.paper)} over {base}"
    return {
        f"{kind} ({about})": {config.row: "/".join(figure(lift, "+.2%") or "-" for lift in lifts.values())}
        for kind, lifts in kinds.items()
    }


def _measures(table: Table) -> str:
    return "/".join(map(label, table.config.measures))


def _floor(column: Column, measures: Sequence[str]) -> str:
    return "/".join(_figure(column.found.floor[m]) if column.found else "-" for m in measures)


def _column(name: str, column: Column, table: Table) -> str:
    """The measured test set, or why there is no score."""
    if column.found:
        return markdown_table(_measured(name, column, table))
    if column.why:
        return f"{column.why[0].upper()}{column.why[1:]}."
    return "\n".join(f"- {table.config.rows[row].title}: {cell.why}" for row, cell in column.cells.items() if cell.why)


def _measured(name: str, column: Column, table: Table, *, brief: bool = False) -> Grid:
    """A row a row of the table; brief: the note has no more than a paper needs."""
    measures, baseline = table.config.measures, table.config.rows[table.config.baseline].title
    head = ["", *map(label, measures), "paper", "judged@10", f"minus {baseline}, {compared_name(label(measures[-1]))}"]
    head += ["p", "detectable", "parameters", "s/query", "remarks"]
    rows = bold_best([_row(name, row, column, table) for row in table.config.rows], _tested(measures))
    marked = any(cell.marks for row in rows for cell in row)
    return Grid(
        head,
        rows,
        words=frozenset({0, len(head) - 1}),
        title=f"{column.config.title}, {column.config.label}.",
        note=f"{_facts(column)} {_rests_on(column, brief)}".strip(),
        legend=legend({baseline: "a"} if marked else {}) if any(cell.best for row in rows for cell in row) else "",
    )


def _tested(measures: Sequence[str]) -> list[int]:
    """The places of measures that make a system better."""
    return [place for place, measure in enumerate(measures, start=1) if not parse_measure(measure).is_judged]


def _row(name: str, row: str, column: Column, table: Table) -> list[Cell]:
    config, measures = table.config.rows[row], table.config.measures
    compared, model, cell = column.comparison(row, measures[-1]), table.models[row], column.cells[row]
    return [
        Cell(config.title),
        *(_value(row, measure, column) for measure in measures),
        *cells(
            [
                "/".join(f"{value:.3f}" for value in config.paper.get(name, ())),
                figure(column.judged(row), ".0%"),
                f"{figure(compared.mean, '+.4f')} {interval(compared.low, compared.high, '+.4f')}" if compared else "",
                figure(compared.fisher_holm, ".2g") if compared else "",
                figure(compared.detectable) if compared else "",
                f"{model.parameters / 1e6:,.1f}M" if model.parameters else "",
                figure(cell.seconds, ".3g"),
                "; ".join(filter(None, _remarks(name, row, column, table))),
            ]
        ),
    ]


def _value(row: str, measure: str, column: Column) -> Cell:
    compared = column.comparison(row, measure)
    differs = compared is not None and compared.reading in ("better", "worse")
    return Cell(shown_value(label(measure), column.value(row, measure)) or "-", marks="a" if differs else "")


def _remarks(name: str, row: str, column: Column, table: Table) -> list[str]:
    """Why there is no score, the table's own note, the mark of an expected score, and what was not resolved."""
    compared = column.comparison(row, table.config.measures[-1])
    marks = [ok for at, of, *_, ok in table.marks() if (at, of) == (name, row)]
    mark = "" if not marks else "[OK]" if all(marks) else "[FAIL]"
    reading = compared.reading if compared and compared.reading not in ("better", "worse") else ""
    return [column.cells[row].why, table.config.rows[row].notes.get(name, ""), mark, reading]


def _facts(column: Column) -> str:
    facts, floor = column.facts, column.found.floor if column.found else {}
    sample = f" of {facts['queries']:,}, drawn by seed {column.config.seed}" if column.config.sample else ""
    floors = ", ".join(f"{label(measure)} {_figure(value)}" for measure, value in floor.items())
    return (
        f"{facts['judged_queries']:,} queries{sample}; {facts['with_text']:,} of {facts['judged']:,} judged passages "
        f"have text; a random order of the same candidates: {floors}."
    )


# -- the online test --------------------------------------------------------------------------------------------------


def _online_part(table: Table) -> str:
    found = table.online.found
    inner = markdown_table(_online(table, found)) if found else f"Not reached: {table.online.absent}."
    return f"## Online test{', simulated users' if found and found.simulated else ''}\n\n{inner}"


def _online(table: Table, found: OnlineLifts) -> Grid:
    """A row a measure of the paper's: its lift beside ours, each relative to the baseline."""
    config = table.config.online
    assert config
    whose = "SIMULATED users, who click by the judgments, not people" if found.simulated else "users"
    note = f"{found.users:,} {whose}; {found.days} days. Relative lifts; intervals resample users, p by Holm."
    note += " SAMPLE-RATIO MISMATCH: not to be trusted." if found.mismatched else ""
    ours = "ours, simulated" if found.simulated else "ours"
    return Grid(
        [f"{config.row} over {config.baseline}", "paper", ours, "95% interval", "p", ""],
        [_online_row(name, paper, found.lifts.get(name)) for name, paper in config.paper.items()],
        words=frozenset({0, 5}),
        title="Online test.",
        note=note,
    )


def _online_row(name: str, paper: float, one: Lift | None) -> list[Cell]:
    title = MEASURES[name].title if name in MEASURES else name
    if one is None:
        return cells([title, f"{paper:+.2%}", "-", "", "", "not in the file"])
    bounds = interval(one.relative_low, one.relative_high, "+.2%")
    return cells([title, f"{paper:+.2%}", figure(one.relative, "+.2%"), bounds, figure(one.holm, ".2g"), one.reading])


def _rests_on(column: Column, brief: bool) -> str:
    found = column.found
    return rests_on(found.comparisons, len(found.queries), brief=brief) if found and found.comparisons else ""


def _figure(value: float) -> str:
    return figure(value) or "-"
