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

from rrarank.cli.flags import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb, say
from rrarank.data.trec import read_run
from rrarank.data.types import Run
from rrarank.engine import registry
from rrarank.engine.reranker import RerankerConfig
from rrarank.errors import MissingPrerequisite, MissingResource, PartialSuccess, RrarankError, shown
from rrarank.measures.figures import Estimate, System, plot_differences, plot_efficiency
from rrarank.measures.report_page import Material, PageConfig, write_report
from rrarank.measures.scores import evaluate_runs
from rrarank.reproduce.candidates import Candidates, prepare
from rrarank.reproduce.config import PLACES, ColumnConfig, RowConfig, TableConfig, filled, load_table
from rrarank.reproduce.model_facts import count_parameters, teacher_of
from rrarank.reproduce.table import Cell, Column, Model, Table, as_json, markdown
from rrarank.storage.files import atomic_write, sha256
from rrarank.storage.journal import is_begun, work_key
from rrarank.storage.model_folders import fingerprint, locate, minilm
from rrarank.storage.sidecar import read_sidecar
from rrarank.storage.yaml_settings import shipped


def main(arguments: Arguments = None) -> int:
    return run_verb(_reproduce, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("reproduce", "Make a table of systems by test sets: re-rank, measure, compare; skip what is done.")
    parser.add_argument(
        "table", metavar="TABLE", help=f"a table that ships ({', '.join(shipped('tables'))}), or a YAML file"
    )
    parser.add_argument("--data", metavar="FOLDER", help="what {data} in the table stands for")
    parser.add_argument(
        "--model", action="append", default=[], metavar="ROW=PATH_OR_ID", help="the model of a row; repeatable"
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these, and the baseline's")
    parser.add_argument("--columns", nargs="+", metavar="COLUMN", help="only these")
    own = parser.add_argument_group("a test set of your own (columns that say so), as in rrarank.rerank")
    for place in PLACES:
        own.add_argument(f"--{place}", metavar=place.upper())
    parser.add_argument("--allow-pickle", action="store_true", help="read weights that are there as a pickle only")
    parser.add_argument("--precision", help="of the matrix products of models that offer it (default: fp32)")
    parser.add_argument("--device", help="cpu, cuda, …")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads")
    parser.add_argument(
        "--output", default="table", metavar="FOLDER", help="runs, table.md, table.json, figures, reports"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="make the candidates and print each command; re-rank nothing"
    )
    return parser


def _reproduce(flags: argparse.Namespace) -> None:
    config = _chosen(load_table(flags.table), flags)
    given = _given_models(config, flags.model)
    rows = {name: _row(name, row, given, flags.allow_pickle) for name, row in config.rows.items()}
    for name, row in rows.items():
        if row.absent:
            say(f"{name}: not reached: {row.absent}")
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
        PartialSuccess: a score is not what was expected, or something failed that is within reach.
        MissingResource: nothing is.
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
            flag, text = f"--{name.replace('_', '-')}", value if isinstance(value, str) else json.dumps(value)
            if name not in own:
                found += ["--option", f"{name}={text}"]
            elif value is not False:
                found += [flag] if value is True else [flag, text]
        return found


def _row(name: str, row: RowConfig, given: Mapping[str, str], allow_pickle: bool) -> _Row:
    model = Model(given.get(name, row.model), teacher=row.teacher, given=name in given)
    if row.needs and not model.name:
        return _Row(row, model, absent=f"give --model {name}=…, {row.needs}")
    try:
        kind = registry.find_reranker(row.reranker)
        wanted = model.name or _default(row.reranker)
        if not kind.model_is_files or not wanted:
            return _Row(row, model, identity=model.name)
        folder = locate(wanted, allow_pickle=allow_pickle or bool(row.settings.get("allow_pickle")))
    except RrarankError as error:
        return _Row(row, model, absent=str(error))
    known = replace(model, parameters=count_parameters(folder), teacher=teacher_of(folder) or row.teacher)
    return _Row(row, known, fingerprint(folder))


def _default(reranker: str) -> str:
    """The model that the reranker takes where none is given."""
    if reranker == "bi-encoder":
        return minilm()
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
        found = Column(
            column, {row: Cell(absent="the column") for row in rows}, absent=str(error), failed=_failed(error)
        )
        say(f"{name}: {found.why}")
        return found
    cells = {row: _cell(name, row, found, candidates, column, flags) for row, found in rows.items()}
    if flags.dry_run:
        return Column(column, cells)
    facts = {
        "queries": candidates.queries,
        "judged_queries": len(candidates.qrels),
        "judged": candidates.judged,
        "with_text": candidates.with_text,
    }
    runs = {row: _best(read_run(folder / cell.run), column.most) for row, cell in cells.items() if cell.run}
    if not runs:
        return Column(column, cells, facts)
    baseline = table.baseline if table.baseline in runs else ""
    measured = evaluate_runs(
        candidates.qrels, runs, measures=table.measures, baseline=baseline, threads=flags.threads or 0
    )
    result = Column(column, cells, facts, measured if baseline else replace(measured, comparisons=()))
    _draw(name, result, candidates, runs, table, folder)
    return result


def _failed(error: RrarankError) -> bool:
    """Whether it is a fault of what is there, and not that something is out of reach."""
    return not isinstance(error, MissingResource | MissingPrerequisite)


def _best(run: Run, depth: int) -> Run:
    """Without what follows below the depth in first-stage order: a random order is one of these candidates alone."""
    return Run({qid: hits[:depth] for qid, hits in run.items()}, run.tag)


def _cell(
    name: str, row: str, found: _Row, candidates: Candidates, column: ColumnConfig, flags: argparse.Namespace
) -> Cell:
    """Re-rank by the command that is shown, unless its run is there already."""
    if found.absent:
        return Cell(absent=found.absent)
    if found.config.reranker == "bm25" and column.is_pool and not (column.run or column.bm25):
        return Cell(absent="this pool is in the order of docids; a run or bm25 in the column would give BM25's")
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
        cell = Cell(absent=str(error), failed=_failed(error))
        say(f"{name}, {row}: {cell.why}")
        return cell
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
    found = [part for name in names if getattr(flags, name) for part in (f"--{name}", str(getattr(flags, name)))]
    return [*found, "--allow-pickle"] if flags.allow_pickle else found


def _rerank(output: Path, arguments: Sequence[str], key: str) -> float:
    """Seconds that re-ranking took, by the run's sidecar; NaN where it was stopped in between and went on.

    Raises:
        MissingResource: the command lacked something; with its own line.
        RrarankError: it failed otherwise.
    """
    done = output.with_name(f"{output.name}.key")
    if not _is_done(output, done, key):
        resumed = is_begun(output)
        _run([*arguments, *(["--overwrite"] if output.exists() else [])], output)
        with atomic_write(done) as file:
            file.write(key + (_RESUMED if resumed else ""))
    sidecar = read_sidecar(output)
    timed = sidecar is not None and not done.read_text().endswith(_RESUMED)
    return float(sidecar.content["timings"]["rerank_s"]) if sidecar and timed else math.nan


_RESUMED = " resumed"


def _is_done(output: Path, done: Path, key: str) -> bool:
    """Whether the run is there, made by this command from inputs that still hold the same bytes."""
    if not done.is_file() or done.read_text().removesuffix(_RESUMED) != key:
        return False
    try:
        sidecar = read_sidecar(output)
        return sidecar is not None and all(sidecar.input(name) for name in sidecar.content["inputs"])
    except RrarankError:  # something is not what the sidecar says
        return False


def _run(arguments: Sequence[str], output: Path) -> None:
    """`python -m rrarank.rerank`, in a process of its own: one model in memory at a time."""
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "rrarank.rerank", *arguments]
    ran = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = ran.stderr.strip().splitlines() or ["no word"]
    say(ran.stderr.strip() if ran.returncode == 1 else said[-1])  # 1: a bug keeps its traceback
    if ran.returncode:
        absent = ran.returncode in (MissingPrerequisite.exit_code, MissingResource.exit_code)
        raise (MissingResource if absent else RrarankError)(said[-1].removeprefix("error: "))


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
