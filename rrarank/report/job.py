"""Read runs, judgments, queries and texts, and write the report page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rrarank.data.run_files import RunFile, read_run_file
from rrarank.data.types import Qrels
from rrarank.errors import RrarankError, say
from rrarank.extras import check_installed
from rrarank.measures.evaluation import Evaluation
from rrarank.measures.measure import at_level, level_note, measure_names
from rrarank.measures.report_page import Material, PageConfig, write_report
from rrarank.measures.significance import SEED
from rrarank.sources.inputs import Origins, load_run, sources_of, topics_of
from rrarank.sources.names import file_or_id
from rrarank.sources.texts import InlineTexts, gather, load_qrels
from rrarank.storage.files import STDIO, check_suffix, find, is_file, stem
from rrarank.storage.packed import is_stream
from rrarank.storage.sidecar import check_output, fingerprint, write_sidecar

Places = Mapping[str, str | Path]
"""`qrels`, `run-1`, `topics`, `collection`, … -> file, index folder or data set id."""


@dataclass(frozen=True)
class ReportJob:
    """What a report shows, and where it is written.

    Args:
        qrels: file, BEIR folder or Pyserini's name.
        runs: the first stage, then re-ranked runs; files of any format, `-` is stdin.
        topics, collection, index, dataset: as in `Origins`; empty: from the runs' sidecars, else none are shown.
        measures, rel_level: as in `EvaluateJob`.
        depth: documents shown per query and run.
        title: of the page; empty: the runs' names.
    """

    qrels: str | Path
    runs: Sequence[str | Path]
    topics: str | Path = ""
    collection: str | Path = ""
    index: str | Path = ""
    dataset: str = ""
    measures: Sequence[str] = PageConfig.measures
    rel_level: int | None = None
    depth: int = PageConfig.depth
    title: str = ""
    seed: int = SEED
    output: str | Path = "report.html"
    overwrite: bool = False


def make_report(job: ReportJob) -> Evaluation:
    """Measure the runs, and write the page and its sidecar.

    Raises:
        MissingPrerequisite: matplotlib is not installed.
        RrarankError: the output exists, an input is absent or malformed, or as `evaluate_runs` does.
    """
    check_installed("matplotlib")
    job = replace(job, measures=measure_names(job.measures))
    qrels = file_or_id(job.qrels, "qrels")
    paths = [Path(run) if str(run) == STDIO else find(run, "runs") for run in job.runs]
    files, places = _load_runs(paths, Origins(job.topics, job.collection, job.index, job.dataset))
    inputs: Places = {"qrels": qrels, **places}
    check_output(job.output, job.overwrite, [*paths, *inputs.values()])
    check_suffix(job.output, (".html", ".htm"))
    config = PageConfig(
        measures=at_level(job.measures, job.rel_level or 1),
        depth=job.depth,
        title=job.title,
        sources={name: _source(place) for name, place in inputs.items()},
        seed=job.seed,
    )
    material = _material(load_qrels(qrels), files, places, job.depth)
    found = write_report(job.output, material, config)
    if job.rel_level is None and (note := level_note(job.measures, material.qrels)):
        say(note)
    if is_file(job.output):
        recorded = {name: value for name, value in asdict(config).items() if name != "sources"}
        write_sidecar(Path(job.output), inputs=inputs, config=recorded)
    return found


def _load_runs(paths: Sequence[Path], origins: Origins) -> tuple[dict[str, RunFile], Places]:
    """Runs by file stem, and the places of runs, queries and texts; the first run that names a place decides.

    Raises:
        RrarankError: two runs have one name.
    """
    files: dict[str, RunFile] = {}
    places: dict[str, str | Path] = {}
    for number, path in enumerate(paths, start=1):
        name = stem(path)
        if name in files:
            raise RrarankError(f"{path}: a second run named {name!r}; rename one, names tell the columns apart")
        files[name], own = load_run(path, origins)
        if "run" in own:
            places[f"run-{number}"] = own.pop("run")
        places |= {part: place for part, place in own.items() if part not in places}
    return files, places


def _material(qrels: Qrels, files: Mapping[str, RunFile], places: Places, depth: int) -> Material:
    """Runs with the queries and texts that can be found; how many cannot is printed."""
    carrying = [file for file in files.values() if file.topics]
    if not carrying and "requests" in places:
        carrying = [read_run_file(places["requests"])]
    topics = {qid: query for file in carrying for qid, query in file.topics.items()}
    topics |= topics_of(places) if places.keys() & {"topics", "dataset"} else {}
    runs = {name: file.run for name, file in files.items()}
    wanted = {hit.docid for run in runs.values() for qid in qrels for hit in run.get(qid, ())[:depth]}
    texts = gather([*sources_of(places), *(InlineTexts(file.texts) for file in carrying)], wanted)
    lacking = {"queries": len(qrels.keys() - topics.keys()), "documents": len(wanted) - len(texts)}
    for what, count in lacking.items():
        if count:
            say(f"{count:,} {what} are shown without their text; give --topics, and --collection, --index or --dataset")
    return Material(qrels, runs, topics, texts)


def _source(place: str | Path) -> str:
    """An id, or a file's name with the start of its sha256; no path, which would tell of this machine."""
    if isinstance(place, Path) and is_stream(place):
        return "a pipe"
    return place if isinstance(place, str) else f"{place.name} (sha256 {fingerprint(place)[:12]})"
