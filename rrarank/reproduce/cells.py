"""One cell of a table: re-rank a column's candidates by a row, in a process of its own, unless it is done."""

from __future__ import annotations

import math
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rrarank.engine import registry
from rrarank.errors import MissingPrerequisite, MissingResource, PartialSuccess, RrarankError, say
from rrarank.reproduce.candidates import Candidates
from rrarank.reproduce.config import ColumnConfig
from rrarank.reproduce.rows import Row
from rrarank.reproduce.table import Cell
from rrarank.storage.files import atomic_write, sha256
from rrarank.storage.journal import is_begun, work_key
from rrarank.storage.sidecar import read_sidecar


@dataclass(frozen=True)
class Reranking:
    """What all cells share: the table's folder and flags that are passed on."""

    folder: Path
    allow_pickle: bool = False
    precision: str | None = None
    device: str | None = None
    threads: int | None = None
    dry_run: bool = False

    def flags(self, reranker: str) -> list[str]:
        """For `python -m rrarank.rerank`; a precision only where the reranker offers it."""
        offered = self.precision in registry.find_reranker(reranker).precisions["torch"]
        names = ("precision", "device", "threads") if offered else ("device", "threads")
        found = [part for name in names if getattr(self, name) for part in (f"--{name}", str(getattr(self, name)))]
        return [*found, "--allow-pickle"] if self.allow_pickle else found


def rerank_cell(name: str, row: str, found: Row, candidates: Candidates, column: ColumnConfig, how: Reranking) -> Cell:
    """Re-rank with the printed command, unless the run exists already; a cell without a run says why."""
    if found.absent:
        return Cell(absent=found.absent)
    if found.config.reranker == "bm25" and column.is_pool and not (column.run or column.bm25):
        return Cell(absent="this pool is in the order of docids; a run or bm25 in the column would give BM25's")
    output = how.folder / name / f"{row}.trec"
    arguments = [*_sources(candidates), "--depth", str(column.most), *found.flags]
    arguments += [*how.flags(found.config.reranker), "--interpolate", "1", "--runtag", row, "--output", str(output)]
    print(f"# {name}, {found.config.title}\npython -m rrarank.rerank {shlex.join(arguments)}", file=sys.stderr)
    if how.dry_run:
        return Cell()
    key = work_key(arguments, sha256(Path(candidates.inputs.origins["run"])), found.identity)
    try:
        seconds = _rerank(output, arguments, key) / max(1, len(candidates.inputs.run))
    except RrarankError as error:
        cell = Cell(absent=str(error), failed=is_failure(error))
        say(f"{name}, {row}: {cell.why}")
        return cell
    return Cell(str(output.relative_to(how.folder)), seconds)


def is_failure(error: RrarankError) -> bool:
    """Whether something that exists is faulty; what is only out of reach is no failure."""
    return not isinstance(error, MissingResource | MissingPrerequisite)


def _sources(candidates: Candidates) -> list[str]:
    found = ["--run", str(candidates.run)]
    for flag in ("topics", "collection", "index", "dataset"):
        if place := getattr(candidates.origins, flag):
            found += [f"--{flag}", str(place)]
    return found


def _rerank(output: Path, arguments: Sequence[str], key: str) -> float:
    """Seconds that re-ranking took, from the run's sidecar; NaN for a job that was stopped and resumed.

    Raises:
        MissingResource: the command lacked something; with the command's own message.
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
    """Whether this command made the run, from inputs that still hold the same bytes."""
    if not done.is_file() or done.read_text().removesuffix(_RESUMED) != key:
        return False
    try:
        sidecar = read_sidecar(output)
        return sidecar is not None and all(sidecar.input(name) for name in sidecar.content["inputs"])
    except RrarankError:  # the run or an input has changed
        return False


def _run(arguments: Sequence[str], output: Path) -> None:
    """`python -m rrarank.rerank` in a process of its own, so that one model at a time is in memory."""
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "rrarank.rerank", *arguments]
    ran = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    lines = ran.stderr.strip().splitlines() or ["no message"]
    say(ran.stderr.strip() if ran.returncode == 1 else lines[-1])  # 1: a bug keeps its traceback
    if ran.returncode not in (0, PartialSuccess.exit_code):
        absent = ran.returncode in (MissingPrerequisite.exit_code, MissingResource.exit_code)
        raise (MissingResource if absent else RrarankError)(lines[-1].removeprefix("error: "))
