"""Fuse several runs into one. `python -m rrarank.fuse --runs bm25.trec dense.trec`

`--tune` chooses the weights of `wsum` on judged queries. ranx.optimize_fusion searches the same grid, but gives only
the best weights. To measure them on queries that did not choose them, every query's value at every setting is needed.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.data.run_files import read_run_file
from rrarank.data.trec import check_tag, write_run
from rrarank.data.types import Qrels, Run
from rrarank.errors import RrarankError, say
from rrarank.measures.fusion import METHODS, NORMS, fuse_checked, fuse_runs
from rrarank.measures.measure import parse_measures
from rrarank.measures.numbers import comparison_lines
from rrarank.measures.tuning import tune_settings
from rrarank.measures.values import per_query_scores
from rrarank.sources.names import file_or_id
from rrarank.sources.texts import load_qrels
from rrarank.storage.files import find, is_file, stem
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
    parser.add_argument("--tune", action="store_true", help="wsum: choose the weights on judged queries; needs --qrels")
    parser.add_argument("--qrels", default="", help="--tune: judgments, as in rrarank.evaluate")
    parser.add_argument("--measure", default=FuseJob.measure, metavar="M", help="--tune: the measure to raise")
    parser.add_argument("--step", type=float, default=FuseJob.step, help="--tune: between weights, whose sum is 1")
    parser.add_argument("--hits", type=positive, default=1000, help="documents per query")
    parser.add_argument("--output", default="fusion.trec", help="the run to write; - for stdout")
    parser.add_argument("--runtag", default="fusion", help="1-20 of A-Z a-z 0-9 _ . -")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    return parser


@dataclass(frozen=True)
class FuseJob:
    """Run files to fuse, the settings of `fuse_runs`, and the run to write.

    Args:
        tune: choose the weights of `wsum` on `qrels`, by `measure`, from all that are multiples of `step` and sum to 1.
    """

    runs: Sequence[str | Path]
    method: str = "rrf"
    norm: str = "min-max"
    k: int = 60
    phi: float = 0.8
    weights: Sequence[float] = ()
    tune: bool = False
    qrels: str | Path = ""
    measure: str = "ndcg@10"
    step: float = 0.1
    hits: int = 1000
    output: str | Path = "fusion.trec"
    runtag: str = "fusion"
    overwrite: bool = False


def fuse_job(job: FuseJob) -> Run:
    """Fuse the runs, and write the result with a sidecar that names the runs' topics and texts.

    Raises:
        RrarankError: the output exists, the runs have different topics, or as `fuse_runs` does; with `tune`, too few
            judged queries, or more weights to try than 1,000.
    """
    paths = [find(run, "runs") for run in job.runs]
    grid = _grid(job)
    check_output(job.output, job.overwrite, paths)
    check_tag(job.runtag)
    common = _common_inputs(paths)
    runs = [read_run_file(path).run for path in paths]
    settings = {name: getattr(job, name) for name in ("norm", "k", "phi", "weights", "hits")}
    found: dict[str, object] = {}
    if grid:
        place = file_or_id(job.qrels, "qrels")
        settings["weights"], found = _tune(job, runs, grid, load_qrels(place))
        common["qrels"] = place
    fused = fuse_runs(runs, job.method, **settings)
    write_run(job.output, fused, job.runtag)
    if is_file(job.output):
        inputs = {f"run-{number}": path for number, path in enumerate(paths, start=1)}
        write_sidecar(Path(job.output), inputs=inputs | common, config={"method": job.method, **settings}, **found)
    say(f"{len(runs)} runs, {len(fused):,} queries, {sum(map(len, fused.values())):,} hits")
    return fused


# -- choosing the weights ---------------------------------------------------------------------------------------------

MOST_SETTINGS = 1_000
Weights = tuple[float, ...]


def _grid(job: FuseJob) -> list[Weights]:
    """The weights to try, the most equal first; empty without `tune`."""
    if not job.tune:
        if job.qrels:
            raise RrarankError("--qrels is for --tune; give both or neither")
        return []
    if job.method != "wsum" or job.weights or not job.qrels:
        raise RrarankError("--tune chooses the weights of --method wsum on --qrels; give these two, and no --weights")
    parse_measures([job.measure])
    runs, steps = len(job.runs), round(1 / job.step) if 0 < job.step <= 1 else 0
    if not steps or not math.isclose(steps * job.step, 1):
        raise RrarankError(f"--step {job.step}: 1 is no multiple of it; give 0.1, 0.2 or another such step")
    if (settings := math.comb(steps + runs - 1, runs - 1)) > MOST_SETTINGS:
        raise RrarankError(
            f"--step {job.step}: {settings:,} weights to try, at most {MOST_SETTINGS:,}; give a larger step"
        )
    parts = (part for part in product(range(steps + 1), repeat=runs) if sum(part) == steps)
    return [tuple(one / steps for one in part) for part in sorted(parts, key=lambda part: sum(one**2 for one in part))]


def _tune(
    job: FuseJob, runs: Sequence[Run], grid: Sequence[Weights], qrels: Qrels
) -> tuple[Weights, dict[str, object]]:
    """The best weights, and for the sidecar what they give on queries that did not choose them."""
    judged = {qid: qrels[qid] for qid in qrels if any(run.get(qid) for run in runs)}
    asked = [Run({qid: run[qid] for qid in run if qid in judged}) for run in runs]

    def values(run: Run) -> Mapping[str, float]:
        return per_query_scores(judged, run, [job.measure])[job.measure]

    tuned = tune_settings({one: values(fuse_checked(asked, "wsum", norm=job.norm, weights=one)) for one in grid})
    others = {stem(path): values(run) for path, run in zip(job.runs, asked, strict=True)}
    others["equal weights"] = values(fuse_checked(asked, "wsum", norm=job.norm, weights=[1.0] * len(runs)))
    compared = tuned.against(others, job.measure)
    say(f"weights {' '.join(f'{one:g}' for one in tuned.best)}: {job.measure} {tuned.means[tuned.best]:.4f} on the "
        f"{len(judged)} queries that chose them, {tuned.mean:.4f} on queries that did not")  # fmt: skip
    for line in comparison_lines(compared, len(judged)):
        say(line)
    return tuned.best, {"comparisons": [asdict(one) | {"reading": one.reading} for one in compared]}


# -- topics and texts -------------------------------------------------------------------------------------------------


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
