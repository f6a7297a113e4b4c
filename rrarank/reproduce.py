"""Every row of a table from one YAML file, as far as it can be reached. `python -m rrarank.reproduce rradistill`"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rrarank import registry
from rrarank.candidates import Candidates, prepare
from rrarank.cli import Arguments, Parser, positive, run_verb, say
from rrarank.data import Run
from rrarank.engine import RerankerConfig
from rrarank.errors import MissingResource, PartialSuccess, RrarankError
from rrarank.figures import Estimate, System, plot_differences, plot_efficiency
from rrarank.files import atomic_write, sha256
from rrarank.journal import work_key
from rrarank.measures import evaluate_runs
from rrarank.model_facts import count_parameters, teacher_of
from rrarank.models import fingerprint, locate
from rrarank.report_page import Material, PageConfig, write_report
from rrarank.sidecar import read_sidecar, sidecar_path
from rrarank.table import Cell, Column, Model, Table, as_json, markdown
from rrarank.table_config import PLACES, ColumnConfig, RowConfig, TableConfig, filled, load_table, shipped
from rrarank.trec import read_run


def main(arguments: Arguments = None) -> int:
    return run_verb(_reproduce, _parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("reproduce", "Make a table of systems by test sets: re-rank, measure, compare; skip what is done.")
    parser.add_argument("table", metavar="TABLE", help=f"a table that ships ({', '.join(shipped())}), or a YAML file")
    parser.add_argument("--data", metavar="FOLDER", help="what {data} in the table stands for")
    parser.add_argument(
        "--model", action="append", default=[], metavar="ROW=PATH_OR_ID", help="the model of a row; repeatable"
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these, and the baseline's")
    parser.add_argument("--columns", nargs="+", metavar="COLUMN", help="only these")
    own = parser.add_argument_group("a test set of your own (columns that say so), as in rrarank.rerank")
    for place in PLACES:
        own.add_argument(f"--{place}", metavar=place.upper())
    parser.add_argument("--precision", help="of the matrix products of models that offer it (default: fp32)")
    parser.add_argument("--device", help="cpu, cuda, …")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads")
    parser.add_argument(
        "--output", default="table", metavar="FOLDER", help="runs, table.md, table.json, figures, reports"
    )
    parser.add_argument("--dry-run", action="store_true", help="print each command, and what cannot be reached")
    return parser


def _reproduce(flags: argparse.Namespace) -> None:
    config = _chosen(load_table(flags.table), flags)
    given = _given_models(config, flags.model)
    rows = {name: _row(name, row, given) for name, row in config.rows.items()}
    folder = Path(flags.output)
    columns = {name: _column(name, column, rows, config, flags) for name, column in config.columns.items()}
    if flags.dry_run:
        return
    table = Table(config, {name: row.model for name, row in rows.items()}, columns)
    text = markdown(table)
    with atomic_write(folder / "table.md") as file:
        file.write(text)
    with atomic_write(folder / "table.json") as file:
        file.write(json.dumps(as_json(table), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    print(text, end="")
    _conclude(table, folder)


def _conclude(table: Table, folder: Path) -> None:
    """[OK] or [FAIL] for each expected score.

    Raises:
        PartialSuccess: a score is not what was expected.
    """
    marks = list(table.marks())
    for column, row, measure, score, wanted, ok in marks:
        say(f"[{'OK' if ok else 'FAIL'}] {column} {row} {measure} {score:.4f}, expected {wanted:.4f}")
    runs = sum(bool(cell.run) for column in table.columns.values() for cell in column.cells.values())
    cells = len(table.columns) * len(table.config.rows)
    say(
        f"{folder}: {runs} of {cells} cells reached, {sum(one[-1] for one in marks)} of {len(marks)} scores as expected"
    )
    if not runs:
        raise MissingResource(f"no cell of {table.config.title!r} can be reached; see above")
    if failed := [f"{column} {row} {measure}" for column, row, measure, *_, ok in marks if not ok]:
        raise PartialSuccess(f"{len(failed)} scores are not what {table.config.title!r} expects ({failed[0]}, …)")


def _chosen(config: TableConfig, flags: argparse.Namespace) -> TableConfig:
    """The rows and columns that are asked for."""
    for flag, known in (("rows", config.rows), ("columns", config.columns)):
        if odd := [name for name in getattr(flags, flag) or () if name not in known]:
            raise RrarankError(f"--{flag} {odd[0]}: no such one (known: {', '.join(known)})")
    rows = {name: row for name, row in config.rows.items() if name in {*(flags.rows or config.rows), config.baseline}}
    columns = {name: one for name, one in config.columns.items() if name in (flags.columns or config.columns)}
    return replace(config, rows=rows, columns=columns)


def _given_models(config: TableConfig, given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        row, equals, model = text.partition("=")
        if not equals or not model or row not in config.rows:
            raise RrarankError(f"--model {text!r}: expected ROW=PATH_OR_ID (rows: {', '.join(config.rows)})")
        found[row] = model
    return found


# -- rows -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """A row whose model was looked for; `absent` says why it cannot be had."""

    config: RowConfig
    model: Model
    identity: str = ""
    absent: str = ""

    @property
    def flags(self) -> list[str]:
        found = ["--reranker", self.config.reranker, *(["--model", self.model.name] if self.model.name else [])]
        own = set(RerankerConfig.__dataclass_fields__)
        for name, value in self.config.settings.items():
            text = value if isinstance(value, str) else json.dumps(value)
            found += [f"--{name.replace('_', '-')}", text] if name in own else ["--option", f"{name}={text}"]
        return found


def _row(name: str, row: RowConfig, given: Mapping[str, str]) -> _Row:
    model = Model(given.get(name, row.model), teacher=row.teacher, given=name in given)
    if row.needs and not model.name:
        return _Row(row, model, absent=f"give --model {name}=…, {row.needs}")
    try:
        kind = registry.find_reranker(row.reranker)
        wanted = model.name or _default(row.reranker)
        if not kind.model_is_files or not wanted:
            return _Row(row, model, identity=model.name)
        folder = locate(wanted)
    except RrarankError as error:
        return _Row(row, model, absent=str(error))
    known = replace(model, parameters=count_parameters(folder), teacher=row.teacher or teacher_of(folder))
    return _Row(row, known, fingerprint(folder))


def _default(reranker: str) -> str:
    """The model that the reranker takes where none is given."""
    if reranker == "bi-encoder":
        from rrarank.rerankers.bi_encoder import default_model

        return default_model()
    return registry.configure(reranker).model


# -- columns ----------------------------------------------------------------------------------------------------------


def _column(
    name: str, column: ColumnConfig, rows: Mapping[str, _Row], table: TableConfig, flags: argparse.Namespace
) -> Column:
    folder = Path(flags.output)
    places = {place: getattr(flags, place) or "" for place in ("data", *PLACES)}
    try:
        candidates = prepare(filled(column, places), folder / name)
    except RrarankError as error:
        say(f"{name}: not reached: {error}")
        return Column(column, {row: Cell(absent="the column") for row in rows}, absent=str(error))
    cells = {row: _cell(name, row, found, candidates, column, flags) for row, found in rows.items()}
    if flags.dry_run:
        return Column(column, cells)
    facts = {
        "queries": candidates.queries,
        "judged_queries": len(candidates.qrels),
        "judged": candidates.judged,
        "with_text": candidates.with_text,
    }
    runs = {row: read_run(folder / cell.run) for row, cell in cells.items() if cell.run}
    if not runs:
        return Column(column, cells, facts)
    baseline = table.baseline if table.baseline in runs else ""
    found = evaluate_runs(
        candidates.qrels, runs, measures=table.measures, baseline=baseline, threads=flags.threads or 0
    )
    found = found if baseline else replace(found, comparisons=())
    result = Column(column, cells, facts, found)
    _draw(name, result, candidates, runs, table, folder)
    return result


def _cell(
    name: str, row: str, found: _Row, candidates: Candidates, column: ColumnConfig, flags: argparse.Namespace
) -> Cell:
    """Re-rank by the command that is shown, unless its run is there already."""
    if found.absent:
        return Cell(absent=found.absent)
    output = Path(flags.output) / name / f"{row}.trec"
    arguments = [*_where(candidates), "--depth", str(column.most), *found.flags, *_how(found.config.reranker, flags)]
    arguments += ["--runtag", row, "--output", str(output)]
    print(f"# {name}, {found.config.title}\npython -m rrarank.rerank {shlex.join(arguments)}", file=sys.stderr)
    if flags.dry_run:
        return Cell()
    key = work_key(arguments, sha256(Path(candidates.inputs.origins["run"])), found.identity)
    try:
        seconds = _rerank(output, arguments, key) / max(1, len(candidates.inputs.run))
    except RrarankError as error:
        say(f"{name}, {row}: not reached: {error}")
        return Cell(absent=str(error))
    return Cell(str(output.relative_to(flags.output)), seconds)


def _where(candidates: Candidates) -> list[str]:
    found = ["--run", str(candidates.run)]
    for flag in ("topics", "collection", "index", "dataset"):
        if place := getattr(candidates.origins, flag):
            found += [f"--{flag}", str(place)]
    return found


def _how(reranker: str, flags: argparse.Namespace) -> list[str]:
    """Flags that are passed on, a precision only to those that offer it."""
    offered = flags.precision in registry.find_reranker(reranker).precisions["torch"]
    names = ("precision", "device", "threads") if offered else ("device", "threads")
    return [part for name in names if getattr(flags, name) for part in (f"--{name}", str(getattr(flags, name)))]


def _rerank(output: Path, arguments: Sequence[str], key: str) -> float:
    """Seconds that re-ranking took, by the run's sidecar.

    Raises:
        MissingResource: the command failed; with its own line.
    """
    done = output.with_name(f"{output.name}.key")
    if not (done.is_file() and done.read_text() == key and sidecar_path(output).is_file()):
        output.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "rrarank.rerank", *arguments, *(["--overwrite"] if output.exists() else [])]
        ran = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = ran.stderr.strip().splitlines() or ["no word"]
        say(said[-1])
        if ran.returncode:
            raise MissingResource(said[-1].removeprefix("error: "))
        with atomic_write(done) as file:
            file.write(key)
    sidecar = read_sidecar(output)
    return float(sidecar.content["timings"]["rerank_s"]) if sidecar else math.nan


def _draw(
    name: str, column: Column, candidates: Candidates, runs: Mapping[str, Run], table: TableConfig, folder: Path
) -> None:
    """Figures of a column that has a baseline and another row, and its page, query by query."""
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
            if table.rows[row.name].reranker != "bm25"  # which computes nothing
        ]
        if len(timed) > 1:
            plot_efficiency(timed, table.rows[table.baseline].title, tested, folder / f"{name}.efficiency.png")
    material = Material(candidates.qrels, runs, candidates.inputs.topics, candidates.inputs.texts)
    title = f"{table.title}: {column.config.title}, {column.config.label}"
    write_report(folder / f"{name}.html", material, PageConfig((tested, *table.measures[:-1]), title=title))


if __name__ == "__main__":
    sys.exit(main())
