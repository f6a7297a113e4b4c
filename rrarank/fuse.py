"""Fuse several runs into one. `python -m rrarank.fuse --runs bm25.trec dense.trec`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rrarank.cli.flags import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb, say
from rrarank.data.run_files import read_run_file
from rrarank.data.trec import check_tag, write_run
from rrarank.data.types import Run
from rrarank.errors import RrarankError
from rrarank.measures.fusion import METHODS, NORMS, fuse_runs
from rrarank.storage.files import find, is_file
from rrarank.storage.sidecar import check_output, fingerprint, read_sidecar, write_sidecar


def main(arguments: Arguments = None) -> int:
    return run_verb(_fuse, parser(), arguments)


def _fuse(flags: object) -> None:
    job = FuseJob(**vars(flags))
    fuse_job(job)
    if is_file(job.output):
        print(job.output)


def parser() -> argparse.ArgumentParser:
    """Its flags are the fields of `FuseJob`."""
    parser = Parser("fuse", "Fuse runs of the same topics with ranx.")
    parser.add_argument(
        "--runs", required=True, nargs="+", metavar="RUN", help="two or more; bare names also in ./runs/"
    )
    parser.add_argument("--method", choices=METHODS, default="rrf", help="as ranx names them")
    parser.add_argument("--rrf.k", dest="k", type=positive, default=60, metavar="K", help="rrf: its constant")
    parser.add_argument("--rbc.phi", dest="phi", type=float, default=0.8, metavar="PHI", help="rbc: its persistence")
    parser.add_argument("--weights", type=float, nargs="+", default=(), metavar="W", help="wsum: one per run")
    parser.add_argument(
        "--norm", choices=NORMS, default="min-max", help="score normalisation, for methods that fuse scores"
    )
    parser.add_argument("--hits", type=positive, default=1000, help="documents per query")
    parser.add_argument("--output", default="fusion.trec", help="the run to write; - for stdout")
    parser.add_argument("--runtag", default="fusion", help="1-20 of A-Z a-z 0-9 _ . -")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    return parser


@dataclass(frozen=True)
class FuseJob:
    """Run files to fuse, the settings of `fuse_runs`, and the run to write."""

    runs: Sequence[str | Path]
    method: str = "rrf"
    norm: str = "min-max"
    k: int = 60
    phi: float = 0.8
    weights: Sequence[float] = ()
    hits: int = 1000
    output: str | Path = "fusion.trec"
    runtag: str = "fusion"
    overwrite: bool = False


def fuse_job(job: FuseJob) -> Run:
    """Fuse the runs, and write the result with a sidecar that names the runs' topics and texts.

    Raises:
        RrarankError: the output exists, the runs have different topics, or as `fuse_runs` does.
    """
    paths = [find(run, "runs") for run in job.runs]
    check_output(job.output, job.overwrite, paths)
    check_tag(job.runtag)
    common = _common_inputs(paths)
    runs = [read_run_file(path).run for path in paths]
    settings = {name: getattr(job, name) for name in ("norm", "k", "phi", "weights", "hits")}
    fused = fuse_runs(runs, job.method, **settings)
    write_run(job.output, fused, job.runtag)
    if is_file(job.output):
        inputs = {f"run-{number}": path for number, path in enumerate(paths, start=1)}
        write_sidecar(Path(job.output), inputs=inputs | common, config={"method": job.method, **settings})
    say(f"{len(runs)} runs, {len(fused):,} queries, {sum(map(len, fused.values())):,} hits")
    return fused


def _common_inputs(paths: Sequence[Path]) -> dict[str, Path | str]:
    """The topics and texts that the runs' sidecars name; runs of different topics are refused."""
    found: dict[str, Path | str] = {}
    for path in paths:
        sidecar = read_sidecar(path)
        places = {name: sidecar.input(name) for name in ("topics", "collection", "index", "dataset")} if sidecar else {}
        for name, place in places.items():
            if place and name == "topics" and not _same(place, found.get(name, place)):
                raise RrarankError(
                    f"{path}: made for {place}, another run for {found[name]}; fuse runs of equal topics"
                )
            if place:
                found.setdefault(name, place)
    return found


def _same(one: Path | str, other: Path | str) -> bool:
    """Whether both are the same id, or files with the same bytes."""
    if isinstance(one, Path) and isinstance(other, Path):
        return fingerprint(one) == fingerprint(other)
    return one == other


if __name__ == "__main__":
    sys.exit(main())
