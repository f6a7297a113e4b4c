"""A measured table of systems by test sets, as Markdown and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from rrarank.measures.measure import label
from rrarank.measures.numbers import figure, interval
from rrarank.measures.scores import Evaluation
from rrarank.measures.significance import Comparison, rests_on
from rrarank.reproduce.config import ColumnConfig, TableConfig


@dataclass(frozen=True)
class Cell:
    """A row in a column.

    Args:
        run: file name of its run, relative to the table's folder; empty if it has none.
        seconds: wall-clock time per query, without loading; NaN without a run.
        absent: why it has no run, in one line.
        failed: whether that is an error, and not something out of reach.
    """

    run: str = ""
    seconds: float = math.nan
    absent: str = ""
    failed: bool = False

    @property
    def why(self) -> str:
        return _why(self.absent, self.failed)


@dataclass(frozen=True)
class Column:
    """A test set.

    Args:
        facts: queries, judged passages and how many have a text, as JSON values.
        found: the evaluation of all rows that have a run here; None where none has.
        absent: why the whole column has no run, in one line; `failed` as in a cell.
    """

    config: ColumnConfig
    cells: Mapping[str, Cell] = field(default_factory=dict)
    facts: Mapping[str, int] = field(default_factory=dict)
    found: Evaluation | None = None
    absent: str = ""
    failed: bool = False

    @property
    def why(self) -> str:
        return _why(self.absent, self.failed)

    def value(self, row: str, measure: str) -> float:
        """NaN where there is no score."""
        rows = self.found.rows if self.found else ()
        return next((one.means[measure] for one in rows if one.name == row), math.nan)

    def comparison(self, row: str, measure: str) -> Comparison | None:
        comparisons = self.found.comparisons if self.found else ()
        return next((one for one in comparisons if (one.system, one.measure) == (row, measure)), None)


def _why(absent: str, failed: bool) -> str:
    return f"{'failed' if failed else 'not reached'}: {absent}" if absent else ""


@dataclass(frozen=True)
class Model:
    """A row's model.

    Args:
        name: as given; empty for a reranker without a model.
        parameters: None if unknown.
        given: whether the user gave it in place of the table's own.
    """

    name: str = ""
    parameters: int | None = None
    teacher: str = ""
    given: bool = False


@dataclass(frozen=True)
class Table:
    config: TableConfig
    models: Mapping[str, Model]
    columns: Mapping[str, Column]

    def marks(self) -> Iterator[tuple[str, str, str, float, float, bool]]:
        """(column, row, measure, score, expected, ok) of every expected score that was measured.

        Rows with a model that the user gave have no expected scores.
        """
        for column, found in self.columns.items():
            for row in self.config.rows:
                for measure, (wanted, tolerance) in self.config.expected(row, column).items():
                    score = found.value(row, measure)
                    if not math.isnan(score) and not self.models[row].given:
                        yield column, row, measure, score, wanted, abs(score - wanted) <= tolerance

    def failures(self) -> Iterator[str]:
        """Columns, and rows of columns, that failed though they can be reached."""
        for name, column in self.columns.items():
            failed = (f"{name} {row}" for row, cell in column.cells.items() if cell.failed)
            yield from [name] if column.failed else failed


# -- Markdown ---------------------------------------------------------------------------------------------------------


def markdown(table: Table) -> str:
    parts = [f"# {table.config.title}", _overview(table)]
    parts += [_column(name, column, table) for name, column in table.columns.items()]
    return "\n\n".join([*parts, *filter(None, [table.config.remark.strip()])]) + "\n"


def _overview(table: Table) -> str:
    measures = table.config.measures
    head = ["", *(f"{column.config.title} ({column.config.label})" for column in table.columns.values()), "teacher"]
    rows: list[list[str]] = [["random order", *(_floor(column, measures) for column in table.columns.values()), ""]]
    for name, row in table.config.rows.items():
        cells = ["/".join(_figure(one.value(name, m)) for m in measures) for one in table.columns.values()]
        rows.append([row.title, *cells, table.models[name].teacher])
    note = f"{'/'.join(map(label, measures))}. -: not reached, for the reason in the tables below."
    return f"{_grid(head, rows)}\n\n{note}"


def _floor(column: Column, measures: Sequence[str]) -> str:
    return "/".join(_figure(column.found.floor[m]) if column.found else "-" for m in measures)


def _column(name: str, column: Column, table: Table) -> str:
    heading = f"## {column.config.title}, {column.config.label}"
    if not column.found:
        each = [f"- {table.config.rows[row].title}: {cell.why}" for row, cell in column.cells.items() if cell.why]
        return f"{heading}\n\n" + (f"{column.why[0].upper()}{column.why[1:]}." if column.why else "\n".join(each))
    measures, tested = table.config.measures, table.config.measures[-1]
    head = ["", *map(label, measures), "paper", "judged@10"]
    head.append(f"minus {table.config.rows[table.config.baseline].title}, {label(tested)}")
    head += ["p", "detectable", "parameters", "s/query", ""]
    rows = [_row(name, row, column, table) for row in table.config.rows]
    note = f"{_facts(column)} {_rests_on(column.found)}"
    return f"{heading}\n\n{_grid(head, rows)}\n\n{note.strip()}"


def _row(name: str, row: str, column: Column, table: Table) -> list[str]:
    config, measures = table.config.rows[row], table.config.measures
    cell, judged = column.cells[row], next((one.judged for one in column.found.rows if one.name == row), math.nan)  # type: ignore[union-attr]
    compared = column.comparison(row, measures[-1])
    model = table.models[row]
    paper = "/".join(f"{value:.3f}" for value in config.paper.get(name, ()))
    marks = [ok for at, of, *_, ok in table.marks() if (at, of) == (name, row)]
    said = [cell.why, config.notes.get(name, ""), _mark(marks)]
    said += [compared.reading] if compared and compared.reading not in ("better", "worse") else []
    return [
        config.title,
        *(_figure(column.value(row, measure)) for measure in measures),
        paper,
        figure(judged, ".0%"),
        f"{figure(compared.mean, '+.4f')} {interval(compared.low, compared.high, '+.4f')}" if compared else "",
        figure(compared.fisher_holm, ".2g") if compared else "",
        figure(compared.detectable) if compared else "",
        f"{model.parameters / 1e6:,.1f}M" if model.parameters else "",
        figure(cell.seconds, ".3g"),
        "; ".join(filter(None, said)),
    ]


def _mark(marks: Sequence[bool]) -> str:
    return "" if not marks else "[OK]" if all(marks) else "[FAIL]"


def _facts(column: Column) -> str:
    facts, floor = column.facts, column.found.floor if column.found else {}
    sample = f" of {facts['queries']:,}, drawn by seed {column.config.seed}" if column.config.sample else ""
    floors = ", ".join(f"{label(measure)} {_figure(value)}" for measure, value in floor.items())
    return (
        f"{facts['judged_queries']:,} queries{sample}; {facts['with_text']:,} of {facts['judged']:,} judged passages "
        f"have text; a random order of the same candidates: {floors}."
    )


def _rests_on(found: Evaluation) -> str:
    return rests_on(found.comparisons, len(found.queries)) if found.comparisons else ""


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate

    safe = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return str(tabulate(safe, head, "github", disable_numparse=True))


def _figure(value: float) -> str:
    return figure(value) or "-"


# -- JSON -------------------------------------------------------------------------------------------------------------


def as_json(table: Table) -> dict[str, object]:
    return {
        "format": "rrarank.table/1",
        "title": table.config.title,
        "baseline": table.config.baseline,
        "measures": list(table.config.measures),
        "rows": {
            name: {"title": row.title, **asdict(table.models[name]), "paper": row.paper, "notes": row.notes}
            for name, row in table.config.rows.items()
        },
        "columns": {name: _column_json(column) for name, column in table.columns.items()},
        "marks": [
            dict(zip(("column", "row", "measure", "score", "expected", "ok"), one, strict=True))
            for one in table.marks()
        ],
    }


def _column_json(column: Column) -> dict[str, object]:
    facts: dict[str, object] = {"config": asdict(column.config), "absent": column.absent, "failed": column.failed}
    facts |= column.facts
    facts["cells"] = {
        row: {
            "run": cell.run,
            "seconds_a_query": _number(cell.seconds),
            "absent": cell.absent,
            "failed": cell.failed,
        }
        for row, cell in column.cells.items()
    }
    if column.found:
        facts["floor"] = {measure: _number(value) for measure, value in column.found.floor.items()}
        facts["scores"] = {row.name: {"means": row.means, "judged@10": row.judged} for row in column.found.rows}
        facts["per_query"] = {row.name: row.per_query for row in column.found.rows}
        facts["comparisons"] = [
            {name: _number(value) if isinstance(value, float) else value for name, value in asdict(one).items()}
            for one in column.found.comparisons
        ]
    return facts


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
