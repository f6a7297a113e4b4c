"""A measured table of systems by test sets, and its JSON (`layout` has Markdown and LaTeX)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from rrarank.measures.evaluation import Evaluation
from rrarank.measures.measure import label
from rrarank.measures.numbers import json_values
from rrarank.measures.online_file import OnlineLifts
from rrarank.measures.significance import Comparison
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

    def judged(self, row: str) -> float:
        """The share of the top 10 that has a judgment; NaN where there is no run."""
        rows = self.found.rows if self.found else ()
        return next((one.judged for one in rows if one.name == row), math.nan)

    def comparison(self, row: str, measure: str) -> Comparison | None:
        comparisons = self.found.comparisons if self.found else ()
        return next((one for one in comparisons if (one.system, one.measure) == (row, label(measure))), None)


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
class Online:
    """An online test: its lifts, or why there are none, in one line."""

    found: OnlineLifts | None = None
    absent: str = ""


@dataclass(frozen=True)
class Table:
    config: TableConfig
    models: Mapping[str, Model]
    columns: Mapping[str, Column]
    online: Online = field(default_factory=Online)

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


# -- JSON -------------------------------------------------------------------------------------------------------------


def as_json(table: Table) -> dict[str, object]:
    content = {
        "format": "rrarank.table/1",
        "title": table.config.title,
        "baseline": table.config.baseline,
        "measures": list(map(label, table.config.measures)),
        "rows": {
            name: {"title": row.title, **asdict(table.models[name]), "paper": row.paper, "notes": row.notes}
            for name, row in table.config.rows.items()
        },
        "columns": {name: _column_json(column) for name, column in table.columns.items()},
        "marks": [
            {"column": at, "row": row, "measure": label(measure), "score": score, "expected": wanted, "ok": ok}
            for at, row, measure, score, wanted, ok in table.marks()
        ],
        **({"online": _online_json(table)} if table.config.online else {}),
    }
    return dict(json_values(content))


def _online_json(table: Table) -> dict[str, object]:
    """The paper's lifts and ours; `simulated` says whose users they were."""
    assert table.config.online
    facts: dict[str, object] = {**asdict(table.config.online), "absent": table.online.absent}
    if table.online.found:
        facts |= {"users": table.online.found.users, "simulated": table.online.found.simulated}
        facts["lifts"] = {name: asdict(one) for name, one in table.online.found.lifts.items()}
    return facts


def _column_json(column: Column) -> dict[str, object]:
    facts: dict[str, object] = {"config": asdict(column.config), "absent": column.absent, "failed": column.failed}
    facts |= column.facts
    facts["cells"] = {
        row: {
            "run": cell.run,
            "seconds_a_query": cell.seconds,
            "absent": cell.absent,
            "failed": cell.failed,
        }
        for row, cell in column.cells.items()
    }
    if column.found:
        facts["floor"] = column.found.floor
        facts["scores"] = {row.name: {"means": row.means, "judged@10": row.judged} for row in column.found.rows}
        facts["per_query"] = {row.name: row.per_query for row in column.found.rows}
        facts["comparisons"] = [asdict(one) for one in column.found.comparisons]
    return facts
