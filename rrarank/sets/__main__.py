"""Check, count, convert and extend distillation sets. `python -m rrarank.sets ACT SET`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

from rrarank.cli.clicks import click_columns
from rrarank.cli.flags import add_sources, origins_of
from rrarank.cli.llm import FREE, add_llm, llm_config
from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.data.distillation_set import one_line, read_set
from rrarank.errors import printable, say
from rrarank.measures.click_models import MODELS as CLICK_MODELS
from rrarank.measures.significance import SEED
from rrarank.sets.acts import (
    FORMATS,
    ExplainConfig,
    ExportConfig,
    explain_set,
    export_set,
    grade_set,
    judge_set,
    split_set,
    validate_set,
)
from rrarank.sets.exports import Contrast
from rrarank.sets.from_clicks import ClickSetJob, Evidence, set_from_clicks
from rrarank.sets.grades import Steps
from rrarank.sets.statistics import Spread, Statistics, statistics
from rrarank.storage.files import find


def main(arguments: Arguments = None) -> int:
    return run_verb(lambda flags: flags.act(flags), parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("sets", "Check, count, split and convert a distillation set: JSONL, plain or .gz.")
    acts = parser.add_subparsers(metavar="ACT", required=True)

    def add(act: Callable[[argparse.Namespace], object], name: str, promise: str) -> argparse.ArgumentParser:
        found = acts.add_parser(name, description=promise, help=promise)
        found.add_argument("set", metavar="SET", help="distillation set")
        found.set_defaults(act=act)
        return found

    clicks = acts.add_parser("from-clicks", description=_FROM_CLICKS, help=_FROM_CLICKS)
    _add_from_clicks(clicks)
    add(_validate, "validate", "Name every fault of a set.")
    add(_statistics, "statistics", "Count the queries, documents and pairs of a set.")
    look = add(_show, "show", "Print queries with their labels.")
    look.add_argument("--queries", type=positive, default=3, metavar="N", help="the first N")
    parts = add(_split, "split", "Divide a set by query; a query stays in its part when others are added.")
    parts.add_argument("--output", required=True, nargs=2, metavar=("REST", "HELD_OUT"), help="sets to write")
    parts.add_argument("--share", type=_share, default=0.1, help="share of the queries to hold out, about")
    parts.add_argument("--seed", type=int, default=SEED, help="another seed holds out others")
    export = add(_export, "export", "Write a set in another tool's training format, or as a TREC run.")
    export.add_argument("--to", required=True, choices=FORMATS, help="format")
    export.add_argument("--output", required=True, metavar="FILE", help="file to write; - for stdout")
    contrast = export.add_argument_group("--to flagembedding or tevatron, which use no order")
    contrast.add_argument(
        "--positives", type=positive, default=Contrast.positives, help="so many listed documents are positive"
    )
    contrast.add_argument("--below", action="store_true", help="the other listed ones are negative, like the missing")
    run = export.add_argument_group("--to trec")
    run.add_argument("--unknown", action="store_true", help="put the unknown below the missing; else leave them out")
    run.add_argument("--runtag", default="teacher", help="1-20 of A-Z a-z 0-9 _ . -")
    qrels = add(_grade, "qrels", "Write a set as judgments: missing documents get 0, unknown ones none.")
    qrels.add_argument(
        "--output", required=True, metavar="FILE", help="by suffix: .json (ranx), .tsv (BEIR), else TREC"
    )
    qrels.add_argument("--grades", default=str(Steps()), help="grade:number from the first listed on, the others 0")
    judge = add(_judge, "judge", "Add people's grades to a set: training uses them in place of the teacher's order.")
    judge.add_argument("--qrels", required=True, metavar="QRELS", help="file, ir_datasets id or Pyserini name")
    judge.add_argument("--output", required=True, metavar="SET", help="set to write, of queries with a relevant one")
    explain = add(_explain, "explain", "Ask an LLM for reasons for the verdicts, which RRA-GPT learns.")
    explain.add_argument("--model", required=True, metavar="NAME", help="a model folder, or a name at the endpoint")
    explain.add_argument("--output", required=True, metavar="SET", help="set to write: the same, with reasons")
    explain.add_argument(
        "--most", type=positive, default=ExplainConfig.most, metavar="N", help="documents per query, relevant first"
    )
    explain.add_argument("--prompt", default=ExplainConfig.prompt, help="name, or a YAML file (rank_llm's keys)")
    explain.add_argument("--seed", type=int, default=SEED, help="draws the irrelevant documents")
    add_llm(explain.add_argument_group("the model"), max_tokens=64)
    for writer in (clicks, parts, export, qrels, judge, explain):
        writer.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    return parser


_FROM_CLICKS = "Make a set from a click log: what users clicked, freed of the bias of places."


def _add_from_clicks(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("log", metavar="LOG", help="as --log in rrarank.online")
    parser.set_defaults(act=_from_clicks)
    add("--output", required=True, metavar="SET", help="set to write")
    add("--experiment", default="", metavar="NAME", help="only its queries (default: all)")
    add("--columns", nargs="+", default=[], metavar="NAME=COLUMN", help="as in rrarank.online")
    add("--click-model", default=Evidence.model, choices=CLICK_MODELS, help="what frees clicks of their places")
    add("--looks", type=float, default=Evidence.looks, help="looks without a click that make a document missing")
    add("--run", default="", help="first stage; its documents that nobody was shown are unknown")
    add("--depth", type=positive, default=ClickSetJob.depth, help="of the first stage")
    add_sources(parser.add_argument_group("queries and texts (default: the queries' from the log)"))


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number between 0 and 1")
    return share


# -- reading ----------------------------------------------------------------------------------------------------------


def _validate(flags: argparse.Namespace) -> None:
    say(f"{find(flags.set)}: {validate_set(flags.set):,} queries, no fault")


def _statistics(flags: argparse.Namespace) -> None:
    from tabulate import tabulate

    rows = list(_rows(statistics(read_set(find(flags.set)))))
    print(tabulate(rows, headers=["", "", "least", "most"], colalign=("left", *["right"] * 3), disable_numparse=True))


def _rows(found: Statistics) -> Iterator[list[str]]:
    yield _row("queries", found.queries)
    yield _row("with pairs", found.labelled)
    yield from (_row(f"verdict: {printable(verdict)}", number) for verdict, number in found.verdicts.items())
    yield _spread("listed, per query", found.listed)
    yield _spread("missing, per query", found.missing)
    yield _spread("unknown, per query", found.unknown)
    yield _row("pairs, listed > listed", found.listed_pairs)
    yield _row("pairs, listed > missing", found.missing_pairs)
    yield _row("documents shown", found.documents)
    yield _row("different texts", found.texts)
    yield _spread("words, per document", found.words)


def _row(name: str, number: int) -> list[str]:
    return [name, f"{number:,}", "", ""]


def _spread(name: str, spread: Spread) -> list[str]:
    return [name, f"{spread.mean:,.1f}", f"{spread.least:,}", f"{spread.most:,}"]


def _show(flags: argparse.Namespace) -> None:
    for label in read_set(find(flags.set))[: flags.queries]:
        print(printable(f"{label.query.qid}: {label.query.text}  ({', '.join(label.faults) or 'ok'})"))
        place = {candidate.docid: number for number, candidate in enumerate(label.shown, start=1)}
        text = {c.docid: label.reasons.get(c.docid) or one_line(c.text) for c in label.shown}
        named = [(str(rank), docid) for rank, docid in enumerate(label.listed, start=1)]
        named += [(name, docid) for name in ("missing", "unknown") for docid in getattr(label, name)]
        for name, docid in named:  # rank or kind, place in the prompt, docid, the beginning of reason or text
            print(printable(f"{name:<8} [{place[docid]}] {docid}  {text[docid][:80]}"))
        print()


# -- writing ----------------------------------------------------------------------------------------------------------


def _split(flags: argparse.Namespace) -> None:
    split_set(flags.set, tuple(flags.output), share=flags.share, seed=flags.seed, overwrite=flags.overwrite)


def _export(flags: argparse.Namespace) -> None:
    config = ExportConfig(flags.to, Contrast(flags.positives, flags.below), flags.unknown, flags.runtag)
    export_set(flags.set, flags.output, config, overwrite=flags.overwrite)


def _grade(flags: argparse.Namespace) -> None:
    grade_set(flags.set, flags.output, Steps.parse(flags.grades), overwrite=flags.overwrite)


def _judge(flags: argparse.Namespace) -> None:
    judge_set(flags.set, flags.output, flags.qrels, overwrite=flags.overwrite)


def _from_clicks(flags: argparse.Namespace) -> None:
    job = ClickSetJob(
        flags.log,
        flags.output,
        origins_of(flags),
        flags.experiment,
        click_columns(flags.columns),
        evidence=Evidence(flags.click_model, flags.looks),
        run=flags.run,
        depth=flags.depth,
        overwrite=flags.overwrite,
    )
    set_from_clicks(job)


def _explain(flags: argparse.Namespace) -> None:
    llm = llm_config(flags, flags.model, flags.base_url)
    config = ExplainConfig(llm, flags.prompt, flags.most, flags.seed, flags.price or FREE)
    explain_set(flags.set, flags.output, config, overwrite=flags.overwrite)


if __name__ == "__main__":
    sys.exit(main())
