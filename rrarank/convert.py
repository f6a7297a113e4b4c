"""Convert runs, judgments and test collections. `python -m rrarank.convert --run RUN --output FILE`"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rrarank.cli.flags import add_sources, origins_of
from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, locked_output, run_verb
from rrarank.data.beir import write_beir
from rrarank.data.run_files import CARRYING, SUFFIXES, RunFile, suffix_of, write_qrels, write_run_file
from rrarank.data.trec import check_tag
from rrarank.data.types import Run
from rrarank.errors import RrarankError, say
from rrarank.sources.collection import Collection, find_collection
from rrarank.sources.inputs import Origins, load_inputs, load_run
from rrarank.sources.names import file_or_id
from rrarank.sources.texts import load_qrels, load_topics
from rrarank.storage.files import STDIO, is_file
from rrarank.storage.sidecar import check_output, read_sidecar, write_sidecar


def main(arguments: Arguments = None) -> int:
    return run_verb(_convert, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("convert", "Convert a run (--run), judgments (--qrels), or all of a test collection (--beir).")
    parser.add_argument("--run", default="", help="a run: TREC, MS MARCO, .jsonl, .json; or - for stdin")
    parser.add_argument("--qrels", default="", help="judgments: TREC, BEIR or ranx, or a name such as dl19-passage")
    parser.add_argument("--beir", default="", metavar="FOLDER", help="write --topics, --collection and --qrels there")
    parser.add_argument(
        "--split", choices=["train", "dev", "test"], default="test", help="split of --qrels in the BEIR folder"
    )
    parser.add_argument("--output", default="", help="file to write, or -; judgments: .json ranx, .tsv BEIR, else TREC")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    of_run = parser.add_argument_group("of a run")
    of_run.add_argument("--to", choices=SUFFIXES, help="(default by suffix: .jsonl requests, .json ranx, else trec)")
    of_run.add_argument("--hits", type=positive, metavar="N", help="documents per query (default: all)")
    of_run.add_argument("--runtag", help="1-20 of A-Z a-z 0-9 _ . - (default: the run's own, or its file's name)")
    where = parser.add_argument_group(f"queries and texts, for {', '.join(CARRYING)} (default: as the sidecar says)")
    add_sources(where)
    where.add_argument("--skip-missing", action="store_true", help="leave out what has no topic or text")
    return parser


def _convert(flags: argparse.Namespace) -> None:
    if [bool(flags.run), bool(flags.qrels) and not flags.beir, bool(flags.beir)].count(True) != 1:
        raise RrarankError("give one of --run RUN, --qrels QRELS or --beir FOLDER")
    if flags.beir:
        if not (flags.topics and flags.collection and flags.qrels):
            raise RrarankError("--beir needs --topics, --collection and --qrels too")
        convert_collection(
            flags.beir, flags.topics, flags.collection, flags.qrels, split=flags.split, topic_field=flags.topic_field
        )
    elif not flags.output:
        raise RrarankError("--output is missing; give a file, or - for stdout")
    elif flags.qrels:
        convert_qrels(flags.qrels, flags.output, overwrite=flags.overwrite)
    else:
        convert_run(
            ConvertJob(
                run=flags.run,
                output=flags.output,
                to=flags.to or "",
                hits=flags.hits or sys.maxsize,
                runtag=flags.runtag or "",
                origins=origins_of(flags),
                skip_missing=flags.skip_missing,
                overwrite=flags.overwrite,
            )
        )
    if flags.beir or is_file(flags.output):
        print(flags.beir or flags.output)


# -- a run ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConvertJob:
    """A run to write in another format.

    Args:
        to: a key of `run_files.SUFFIXES`; empty: by the suffix of `output`.
        hits: documents per query.
        runtag: empty: the run's own.
        origins: where queries and texts are, for formats that carry them; empty: as the sidecar says.
        skip_missing: leave out queries without topic and documents without text.
    """

    run: str | Path
    output: str
    to: str = ""
    hits: int = sys.maxsize
    runtag: str = ""
    origins: Origins = field(default_factory=Origins)
    skip_missing: bool = False
    overwrite: bool = False


def convert_run(job: ConvertJob) -> None:
    """Write a run in another format, with a sidecar.

    Raises:
        RrarankError: the run or a source is malformed, the output exists, or its name does not fit the format.
    """
    to = _format(job.to, job.output)
    if job.runtag:
        check_tag(job.runtag)
    check_output(job.output, job.overwrite, [])  # before the texts are read, and again when all inputs are known
    found, places = _with_texts(job, to) if to in CARRYING else load_run(job.run, job.origins)
    with locked_output(job.output):
        check_output(job.output, job.overwrite, places.values())
        teacher = _teacher(places.get("run"))
        run = {qid: hits[: job.hits] for qid, hits in found.run.items()}
        if not run or (to not in CARRYING and not any(run.values())):
            raise RrarankError(f"{job.run}: no hits that {to} could hold")
        tag = job.runtag or found.run.tag
        write_run_file(job.output, replace(found, run=Run(run, tag)), to)
        if is_file(job.output):
            hits = None if job.hits == sys.maxsize else job.hits
            write_sidecar(Path(job.output), inputs=places, config={"to": to, "hits": hits, "tag": tag}, **teacher)


def _format(to: str, output: str) -> str:
    """The format asked for; readers must recognise it by the name of the output."""
    suffix = suffix_of(output)
    to = to or next(name for name in SUFFIXES if SUFFIXES[name] == suffix)
    if output != STDIO and suffix != SUFFIXES[to]:
        expected = f"ending in {SUFFIXES[to]}" if SUFFIXES[to] else f"not ending in {suffix}"
        raise RrarankError(f"{output}: --to {to} needs a name {expected}, by which readers know the format")
    return to


def _with_texts(job: ConvertJob, to: str) -> tuple[RunFile, Mapping[str, str | Path]]:
    """The run with its queries and texts."""
    command = f"convert --to {to} --output {shlex.quote(job.output)}"
    inputs = load_inputs(job.run, job.origins, depth=job.hits, skip_missing=job.skip_missing, command=command)
    missing = set(inputs.missing)
    run = {
        qid: [hit for hit in hits[: job.hits] if hit.docid not in missing]
        for qid, hits in inputs.run.items()
        if qid in inputs.topics
    }
    if missing or len(run) < len(inputs.run):
        say(f"left out: {len(inputs.run) - len(run):,} queries without topic, {len(missing):,} documents without text")
    return RunFile(Run(run, inputs.run.tag), inputs.topics, inputs.texts), inputs.origins


# -- judgments, a BEIR folder -----------------------------------------------------------------------------------------


def convert_qrels(qrels: str | Path, output: str, *, overwrite: bool = False) -> None:
    """Write judgments in the format of the output's suffix (`.json` ranx, `.tsv` BEIR, else TREC), with a sidecar."""
    place = file_or_id(qrels, "qrels")
    check_output(output, overwrite, [place])
    teacher = _teacher(place)
    judged = load_qrels(place)
    with locked_output(output):
        check_output(output, overwrite, [place])
        write_qrels(output, judged)
        if is_file(output):
            write_sidecar(Path(output), inputs={"qrels": place}, **teacher)


def convert_collection(
    folder: str | Path,
    topics: str | Path,
    collection: str | Path,
    qrels: str | Path,
    *,
    split: str = "test",
    topic_field: str = "",
) -> None:
    """Write a test collection as a BEIR folder, which appears whole or not at all."""
    documents = Collection(find_collection(collection))
    judgments = load_qrels(file_or_id(qrels, "qrels"))
    write_beir(Path(folder), documents, load_topics(file_or_id(topics), topic_field), judgments, split)


def _teacher(source: str | Path | None) -> dict[str, str]:
    """The teacher named by the source's sidecar; `evaluate` marks runs whose teacher wrote the judgments."""
    sidecar = read_sidecar(source) if isinstance(source, Path) else None
    teacher = sidecar.content.get("teacher") if sidecar else None
    return {"teacher": str(teacher)} if teacher else {}


if __name__ == "__main__":
    sys.exit(main())
