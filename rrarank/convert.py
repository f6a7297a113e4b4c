"""From one format into another: runs, judgments, BEIR folders. `python -m rrarank.convert --run RUN --output FILE`"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rrarank.cli.flags import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb, say
from rrarank.data.beir import CORPUS, in_folder, write_beir
from rrarank.data.run_files import CARRYING, SUFFIXES, RunFile, suffix_of, write_qrels, write_run_file
from rrarank.data.trec import check_tag
from rrarank.data.types import Run
from rrarank.errors import RrarankError
from rrarank.sources.inputs import Origins, load_inputs, load_run
from rrarank.sources.names import TOPICS, file_or_id
from rrarank.sources.texts import Collection, load_qrels, load_topics
from rrarank.storage.files import STDIO, find, is_file
from rrarank.storage.sidecar import check_output, read_sidecar, write_sidecar


def main(arguments: Arguments = None) -> int:
    return run_verb(_convert, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("convert", "Convert a run (--run), judgments (--qrels), or all of a test collection (--beir).")
    parser.add_argument("--run", default="", help="a run: TREC, MS MARCO, .jsonl, .json; or - for stdin")
    parser.add_argument("--qrels", default="", help="judgments: TREC, BEIR or ranx, or a name such as dl19-passage")
    parser.add_argument("--beir", type=Path, metavar="FOLDER", help="write --topics, --collection and --qrels there")
    parser.add_argument(
        "--split", choices=["train", "dev", "test"], default="test", help="of --qrels in the BEIR folder"
    )
    parser.add_argument("--output", help="file to write; - for stdout; judgments: .json ranx, .tsv BEIR, else TREC")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    of_run = parser.add_argument_group("of a run")
    of_run.add_argument("--to", choices=SUFFIXES, help="(default by suffix: .jsonl requests, .json ranx, else trec)")
    of_run.add_argument("--hits", type=positive, metavar="N", help="documents per query (default: all)")
    of_run.add_argument("--runtag", help="1-20 of A-Z a-z 0-9 _ . - (default: the run's own, or its file's name)")
    where = parser.add_argument_group(f"queries and texts, for {', '.join(CARRYING)} (default: as the sidecar says)")
    where.add_argument("--topics", default="", help="qid<TAB>query or JSONL, a BEIR folder, or a name")
    where.add_argument("--collection", default="", help="JSONL or TSV file of texts, or a BEIR folder")
    where.add_argument("--index", default="", help="Lucene index with stored texts, or a name")
    where.add_argument("--dataset", default="", help="ir_datasets id or BEIR folder")
    where.add_argument("--skip-missing", action="store_true", help="leave out what has no topic or text")
    return parser


def _convert(flags: argparse.Namespace) -> None:
    if [bool(flags.run), bool(flags.qrels) and not flags.beir, bool(flags.beir)].count(True) != 1:
        raise RrarankError("give one of --run RUN, --qrels QRELS or --beir FOLDER")
    if flags.beir:
        return _write_beir(flags)
    if not flags.output:
        raise RrarankError("--output is missing; give a file, or - for stdout")
    _convert_run(flags) if flags.run else _convert_qrels(flags)
    if is_file(flags.output):
        print(flags.output)


# -- a run ------------------------------------------------------------------------------------------------------------


def _convert_run(flags: argparse.Namespace) -> None:
    to = _format(flags.to, flags.output)
    if flags.runtag:
        check_tag(flags.runtag)
    check_output(flags.output, flags.overwrite, [])  # before the texts are read, and again when all inputs are known
    found, places = _with_texts(flags, to) if to in CARRYING else load_run(flags.run, _origins(flags))
    check_output(flags.output, flags.overwrite, places.values())
    teacher = _teacher(places.get("run"))
    run = {qid: hits[: flags.hits] for qid, hits in found.run.items()}
    if not run or (to not in CARRYING and not any(run.values())):
        raise RrarankError(f"{flags.run}: no hits that {to} could hold")
    tag = flags.runtag or found.run.tag
    write_run_file(flags.output, replace(found, run=Run(run, tag)), to)
    if is_file(flags.output):
        write_sidecar(Path(flags.output), inputs=places, config={"to": to, "hits": flags.hits, "tag": tag}, **teacher)


def _format(to: str | None, output: str) -> str:
    """The format asked for, which must be the one that the output's name will say to its reader."""
    suffix = suffix_of(output)
    to = to or next(name for name in SUFFIXES if SUFFIXES[name] == suffix)
    if output != STDIO and suffix != SUFFIXES[to]:
        expected = f"ending in {SUFFIXES[to]}" if SUFFIXES[to] else f"not ending in {suffix}"
        raise RrarankError(f"{output}: --to {to} needs a name {expected}, by which readers know the format")
    return to


def _with_texts(flags: argparse.Namespace, to: str) -> tuple[RunFile, Mapping[str, str | Path]]:
    """The run with its queries and texts; what has none is left out where --skip-missing allows it."""
    command = f"convert --to {to} --output {shlex.quote(flags.output)}"
    depth = flags.hits or sys.maxsize
    inputs = load_inputs(flags.run, _origins(flags), depth=depth, skip_missing=flags.skip_missing, command=command)
    missing = set(inputs.missing)
    run = {
        qid: [hit for hit in hits[:depth] if hit.docid not in missing]
        for qid, hits in inputs.run.items()
        if qid in inputs.topics
    }
    if missing or len(run) < len(inputs.run):
        say(f"left out: {len(inputs.run) - len(run):,} queries without topic, {len(missing):,} documents without text")
    return RunFile(Run(run, inputs.run.tag), inputs.topics, inputs.texts), inputs.origins


def _origins(flags: argparse.Namespace) -> Origins:
    return Origins(flags.topics, flags.collection, flags.index, flags.dataset)


# -- judgments, a BEIR folder -----------------------------------------------------------------------------------------


def _convert_qrels(flags: argparse.Namespace) -> None:
    place = _qrels_place(flags)
    check_output(flags.output, flags.overwrite, [place])
    teacher = _teacher(place)
    write_qrels(flags.output, load_qrels(place))
    if is_file(flags.output):
        write_sidecar(Path(flags.output), inputs={"qrels": place}, **teacher)


def _write_beir(flags: argparse.Namespace) -> None:
    if not (flags.topics and flags.collection and flags.qrels):
        raise RrarankError("--beir needs --topics, --collection and --qrels too")
    collection = Collection(find(in_folder(flags.collection, CORPUS)))
    topics = load_topics(file_or_id(flags.topics, TOPICS))
    write_beir(flags.beir, collection, topics, load_qrels(_qrels_place(flags)), flags.split)
    print(flags.beir)


def _qrels_place(flags: argparse.Namespace) -> Path | str:
    return file_or_id(flags.qrels, TOPICS, "qrels")


def _teacher(source: str | Path | None) -> dict[str, str]:
    """The teacher that the sidecar of the source names, which evaluate must go on to know."""
    sidecar = read_sidecar(source) if isinstance(source, Path) else None
    teacher = sidecar.content.get("teacher") if sidecar else None
    return {"teacher": str(teacher)} if teacher else {}


if __name__ == "__main__":
    sys.exit(main())
