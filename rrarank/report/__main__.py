"""What changed, query by query: runs and judgments in, one HTML page out. `python -m rrarank.report`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rrarank.cli.flags import Parser, add_threads, positive
from rrarank.cli.verbs import Arguments, run_verb, say
from rrarank.data.run_files import RunFile, read_run_file
from rrarank.data.types import Qrels
from rrarank.errors import RrarankError
from rrarank.measures.report_page import Material, PageConfig, write_report
from rrarank.measures.scores import at_level
from rrarank.measures.significance import SEED
from rrarank.sources.inputs import Origins, load_run, sources_of, topics_of
from rrarank.sources.names import TOPICS, file_or_id
from rrarank.sources.texts import InlineTexts, gather, load_qrels
from rrarank.storage.files import STDIO, find, is_file, stem
from rrarank.storage.sidecar import check_output, fingerprint, write_sidecar

Places = Mapping[str, str | Path]
"""`qrels`, `run-1`, `topics`, `collection`, … -> file, index folder or data set id."""


def main(arguments: Arguments = None) -> int:
    return run_verb(_report, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("report", "Write one HTML page of runs, to sort, to filter and to open query by query.")
    parser.add_argument("--qrels", required=True, help="judgments, as in rrarank.evaluate")
    parser.add_argument(
        "--runs", required=True, nargs="+", metavar="RUN", help="the first stage, then re-ranked runs; of any format"
    )
    where = parser.add_argument_group("queries and texts (default: as the runs' sidecars say, else none are shown)")
    where.add_argument("--topics", default="", help="as in rrarank.rerank, like the next three")
    where.add_argument("--collection", default="", help="JSONL or TSV file of texts, or a BEIR folder")
    where.add_argument("--index", default="", help="Lucene index with stored texts, or a name")
    where.add_argument("--dataset", default="", help="ir_datasets id or BEIR folder")
    parser.add_argument(
        "--measures", nargs="+", default=list(PageConfig.measures), metavar="M", help="queries are listed by the first"
    )
    parser.add_argument("--rel-level", type=positive, default=1, help="lowest relevant grade, for all but nDCG")
    parser.add_argument("--depth", type=positive, default=10, help="documents shown per query and run")
    parser.add_argument("--title", default="", help="of the page (default: the runs' names)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the randomisation test and the bootstrap")
    add_threads(parser)
    parser.add_argument("--output", default="report.html", help="the page to write; - for stdout")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    return parser


def _report(flags: argparse.Namespace) -> None:
    qrels = file_or_id(flags.qrels, TOPICS, "qrels")
    paths = [Path(run) if run == STDIO else find(run, "runs") for run in flags.runs]
    check_output(flags.output, flags.overwrite, [qrels, *paths])
    files, places = _load_runs(paths, Origins(flags.topics, flags.collection, flags.index, flags.dataset))
    check_output(flags.output, flags.overwrite, places.values())
    inputs: Places = {"qrels": qrels, **places}
    config = PageConfig(
        measures=at_level(flags.measures, flags.rel_level),
        depth=flags.depth,
        title=flags.title,
        sources={name: _named(place) for name, place in inputs.items()},
        seed=flags.seed,
        threads=flags.threads or 0,
    )
    material = _material(load_qrels(qrels), files, places, flags.depth)
    write_report(flags.output, material, config)
    if is_file(flags.output):
        shown = {name: value for name, value in asdict(config).items() if name not in ("sources", "threads")}
        write_sidecar(Path(flags.output), inputs=inputs, config=shown)
        print(flags.output)


def _load_runs(paths: Sequence[Path], origins: Origins) -> tuple[dict[str, RunFile], Places]:
    """Runs by file stem, and where they, their queries and their texts are: the first run to know a place is believed.

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
    """With the queries and texts that can be had; what cannot is said, and the page does without."""
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


def _named(place: str | Path) -> str:
    """An id, or a file's name and the start of its sha256: no path, which would tell of a machine."""
    return place if isinstance(place, str) else f"{place.name} (sha256 {fingerprint(place)[:12]})"


if __name__ == "__main__":
    sys.exit(main())
