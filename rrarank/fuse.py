"""Several runs into one. `python -m rrarank.fuse --runs bm25.trec dense.trec`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rrarank.cli.flags import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb, say
from rrarank.data.run_files import read_run_file
from rrarank.data.trec import check_tag, write_run
from rrarank.errors import RrarankError
from rrarank.measures.fusion import METHODS, NORMS, fuse_runs
from rrarank.storage.files import find, is_file
from rrarank.storage.sidecar import check_output, fingerprint, read_sidecar, write_sidecar


def main(arguments: Arguments = None) -> int:
    return run_verb(_fuse, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("fuse", "Fuse runs of the same topics, by ranx.")
    parser.add_argument(
        "--runs", required=True, nargs="+", metavar="RUN", help="two or more; bare names also in ./runs/"
    )
    parser.add_argument("--method", choices=METHODS, default="rrf", help="as ranx names them")
    parser.add_argument("--rrf.k", dest="k", type=positive, default=60, metavar="K", help="rrf: its constant")
    parser.add_argument("--rbc.phi", dest="phi", type=float, default=0.8, metavar="PHI", help="rbc: its persistence")
    parser.add_argument("--weights", type=float, nargs="+", default=(), metavar="W", help="wsum: one a run")
    parser.add_argument("--norm", choices=NORMS, default="min-max", help="of scores, for methods that fuse scores")
    parser.add_argument("--hits", type=positive, default=1000, help="documents per query")
    parser.add_argument("--output", default="fusion.trec", help="the run to write; - for stdout")
    parser.add_argument("--runtag", default="fusion", help="1-20 of A-Z a-z 0-9 _ . -")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    return parser


def _fuse(flags: argparse.Namespace) -> None:
    paths = [find(run, "runs") for run in flags.runs]
    check_output(flags.output, flags.overwrite, paths)
    check_tag(flags.runtag)
    common = _common_inputs(paths)
    runs = [read_run_file(path).run for path in paths]
    settings = {name: getattr(flags, name) for name in ("norm", "k", "phi", "weights", "hits")}
    fused = fuse_runs(runs, flags.method, **settings)
    write_run(flags.output, fused, flags.runtag)
    if is_file(flags.output):
        inputs = {f"run-{number}": path for number, path in enumerate(paths, start=1)}
        write_sidecar(Path(flags.output), inputs=inputs | common, config={"method": flags.method, **settings})
        print(flags.output)
    say(f"{len(runs)} runs, {len(fused):,} queries, {sum(map(len, fused.values())):,} hits")


def _common_inputs(paths: Sequence[Path]) -> dict[str, Path | str]:
    """The topics and texts that the runs' sidecars name, for the fused run's; runs of different topics are refused."""
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
    """The same id, or files of the same bytes."""
    if isinstance(one, Path) and isinstance(other, Path):
        return fingerprint(one) == fingerprint(other)
    return one == other


if __name__ == "__main__":
    sys.exit(main())
