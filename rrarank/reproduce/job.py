"""Fill a table: prepare each column's candidates, re-rank them by each row, measure, draw, write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rrarank.data.trec import read_run
from rrarank.data.types import Run
from rrarank.errors import MissingResource, PartialSuccess, RrarankError, say, shown
from rrarank.extras import check_installed
from rrarank.measures.figures import Estimate, System, plot_differences, plot_efficiency
from rrarank.measures.measure import label
from rrarank.measures.online_file import read_lifts
from rrarank.measures.report_page import Material, PageConfig, write_report
from rrarank.measures.scores import evaluate_runs
from rrarank.reproduce.candidates import Candidates, prepare
from rrarank.reproduce.cells import Reranking, is_failure, rerank_cell
from rrarank.reproduce.config import ColumnConfig, TableConfig, filled, load_table
from rrarank.reproduce.folder import claim, own_folder
from rrarank.reproduce.layout import as_latex, as_markdown
from rrarank.reproduce.rows import Row, find_row
from rrarank.reproduce.table import Cell, Column, Online, Table, as_json
from rrarank.storage.files import atomic_write


@dataclass(frozen=True)
class ReproduceJob:
    """Which table to fill, from what, and where to.

    Args:
        table: a name that ships, or a YAML file.
        places: place holder (`data`, `run`, `topics`, …) -> what stands for it in the table's files.
        models: row -> the model to use instead of the table's.
        rows, columns: only these, and the baseline; None: all.
        online: the file of an online test that `rrarank.online` wrote; empty: its columns stay empty, and say so.
        output: folder of runs, table.md, table.tex, table.json, figures and reports; if it holds other files,
            they are written to a folder inside it that is named after the table.
        dry_run: make the candidates and print each command; re-rank nothing.
    """

    table: str | Path
    places: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    rows: Sequence[str] | None = None
    columns: Sequence[str] | None = None
    allow_pickle: bool = False
    precision: str | None = None
    device: str | None = None
    threads: int | None = None
    online: str | Path = ""
    output: str | Path = "table"
    dry_run: bool = False

    @property
    def folder(self) -> Path:
        """Where the table is written: `output`, or a folder inside it if that holds other files."""
        return own_folder(self.output, self.table)

    @property
    def reranking(self) -> Reranking:
        return Reranking(self.folder, self.allow_pickle, self.precision, self.device, self.threads, self.dry_run)


def reproduce_table(job: ReproduceJob) -> Table:
    """Fill the table and write it. A cell that cannot be filled says why; `conclude` raises for it.

    Raises:
        MissingPrerequisite: matplotlib is not installed.
        RrarankError: an unknown table, row, column or model.
    """
    check_installed("matplotlib")
    config, folder = _chosen(load_table(str(job.table)), job), job.folder
    if folder != Path(job.output):
        say(f"{job.output}: holds other files; the table is written to {folder}")
    rows = {name: find_row(name, row, job.models, job.allow_pickle) for name, row in config.rows.items()}
    for name, row in rows.items():
        if row.absent:
            say(f"{name}: not reached: {row.absent}")
    if not job.dry_run:
        claim(folder)
    columns = {name: _column(name, column, rows, config, job) for name, column in config.columns.items()}
    table = Table(config, {name: row.model for name, row in rows.items()}, columns, _online(config, job.online))
    if not job.dry_run:
        numbers = json.dumps(as_json(table), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        for suffix, text in {"md": as_markdown(table), "tex": as_latex(table), "json": numbers}.items():
            with atomic_write(folder / f"table.{suffix}") as file:
                file.write(text)
    return table


def _online(config: TableConfig, path: str | Path) -> Online:
    """The lifts of the online test, or why there are none. A file that does not fit raises."""
    if not config.online:
        if path:
            raise RrarankError(f"--online {path}: {config.title!r} has no online test")
        return Online()
    if not path:
        return Online(absent=f"not given: --online{'; ' + config.online.get if config.online.get else ''}")
    return Online(read_lifts(path, config.online.row, config.online.baseline))


def conclude(table: Table, folder: str | Path) -> None:
    """Print [OK] or [FAIL] for each expected score.

    Raises:
        PartialSuccess: a score is not as expected, or a cell that can be reached failed.
        MissingResource: no cell can be reached.
    """
    marks = list(table.marks())
    for column, row, measure, score, wanted, ok in marks:
        say(f"[{'OK' if ok else 'FAIL'}] {column} {row} {measure} {score:.4f}, expected {wanted:.4f}")
    runs = sum(bool(cell.run) for column in table.columns.values() for cell in column.cells.values())
    cells = len(table.columns) * len(table.config.rows)
    say(
        f"{folder}: {runs} of {cells} cells reached, {sum(one[-1] for one in marks)} of {len(marks)} scores as expected"
    )
    if broken := list(table.failures()):
        raise PartialSuccess(f"{table.config.title!r}: {len(broken)} failed ({shown(broken)}); see above")
    if not runs:
        raise MissingResource(f"no cell of {table.config.title!r} can be reached; see above")
    if odd := [f"{column} {row} {measure}" for column, row, measure, *_, ok in marks if not ok]:
        raise PartialSuccess(f"{len(odd)} scores are not what {table.config.title!r} expects ({shown(odd)})")


def _chosen(config: TableConfig, job: ReproduceJob) -> TableConfig:
    """The table with the wanted rows and columns only."""
    asked = {"rows": (job.rows, config.rows), "columns": (job.columns, config.columns)}
    for flag, (names, known) in (asked | {"model": (list(job.models), config.rows)}).items():
        if odd := [name for name in names or () if name not in known]:
            raise RrarankError(f"--{flag} {odd[0]}: not in {config.title!r} (known: {', '.join(known)})")
    wanted = {*(job.rows or config.rows), config.baseline}
    return replace(
        config,
        rows={name: row for name, row in config.rows.items() if name in wanted},
        columns={name: one for name, one in config.columns.items() if name in (job.columns or config.columns)},
    )


# -- columns ----------------------------------------------------------------------------------------------------------


def _column(name: str, column: ColumnConfig, rows: Mapping[str, Row], table: TableConfig, job: ReproduceJob) -> Column:
    try:
        candidates = prepare(filled(column, job.places), job.folder / name)
    except RrarankError as error:
        cells = {row: Cell(absent="the column") for row in rows}
        found = Column(column, cells, absent=str(error), failed=is_failure(error))
        say(f"{name}: {found.why}")
        return found
    cells = {row: rerank_cell(name, row, found, candidates, column, job.reranking) for row, found in rows.items()}
    if job.dry_run:
        return Column(column, cells)
    facts = {
        "queries": candidates.queries,
        "judged_queries": len(candidates.qrels),
        "judged": candidates.judged,
        "with_text": candidates.with_text,
    }
    runs = {row: _top(read_run(job.folder / cell.run), column.most) for row, cell in cells.items() if cell.run}
    if not runs:
        return Column(column, cells, facts)
    baseline = table.baseline if table.baseline in runs else ""
    measured = evaluate_runs(candidates.qrels, runs, measures=table.measures, rel_level=1, baseline=baseline)
    result = Column(column, cells, facts, measured if baseline else replace(measured, comparisons=()))
    _draw(name, result, candidates, runs, table, job.folder)
    return result


def _top(run: Run, depth: int) -> Run:
    """The top `depth` only; the random baseline shuffles these, not the tail that was not re-ranked."""
    return Run({qid: hits[:depth] for qid, hits in run.items()}, run.tag)


def _draw(
    name: str, column: Column, candidates: Candidates, runs: Mapping[str, Run], table: TableConfig, folder: Path
) -> None:
    """Write the column's figures, if it has the baseline and another row, and its report page."""
    tested = table.measures[-1]
    assert column.found
    if column.found.comparisons:
        plot_differences(column.found, tested, folder / f"{name}.differences.png")
        timed = [
            System(
                table.rows[row.name].title,
                column.cells[row.name].seconds,
                Estimate.of([*row.per_query[tested].values()]),
            )
            for row in column.found.rows
            if table.rows[row.name].reranker != "bm25" and column.cells[row.name].seconds > 0  # bm25 computes nothing
        ]
        if len(timed) > 1:
            titles = [system.name for system in timed]
            baseline = table.rows[table.baseline].title
            reference = baseline if baseline in titles else titles[0]
            plot_efficiency(timed, reference, label(tested), folder / f"{name}.efficiency.png")
    material = Material(candidates.qrels, runs, candidates.inputs.topics, candidates.inputs.texts)
    title = f"{table.title}: {column.config.title}, {column.config.label}"
    write_report(folder / f"{name}.html", material, PageConfig((tested, *table.measures[:-1]), title=title))
