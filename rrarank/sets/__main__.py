"""What is done with a distillation set once it is there. `python -m rrarank.sets ACT SET`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from rrarank.cli.flags import Parser, positive
from rrarank.cli.llm import add_llm, follow, is_partial, llm_config, unanswered
from rrarank.cli.verbs import Arguments, locked_journal, run_verb, say
from rrarank.data.distillation_set import find_faults, one_line, read_set, split, teacher_name, write_rows, write_set
from rrarank.data.run_files import write_qrels
from rrarank.data.trec import check_tag, write_run
from rrarank.data.types import LabelledRanking
from rrarank.errors import PartialSuccess, RrarankError
from rrarank.llm.base import public_name
from rrarank.llm.load import load_llm
from rrarank.llm.prompts import load_prompt
from rrarank.llm.questions import Asking
from rrarank.measures.significance import SEED
from rrarank.sets.explaining import Explainer, worth_explaining
from rrarank.sets.exports import Contrast, Row, flagembedding_rows, run_hits, sentence_transformers_rows, tevatron_rows
from rrarank.sets.grades import Steps, grade
from rrarank.sets.judged import judged
from rrarank.sets.statistics import Spread, Statistics, statistics
from rrarank.sources.names import TOPICS, file_or_id
from rrarank.sources.texts import load_qrels
from rrarank.storage.files import find, is_file
from rrarank.storage.sidecar import check_output, sidecar_path, write_sidecar

MOST_SHOWN = 20
ROWS: dict[str, Callable[[Iterable[LabelledRanking], Contrast], Iterator[Row]]] = {
    "sentence-transformers": lambda labels, _: sentence_transformers_rows(labels),
    "flagembedding": flagembedding_rows,
    "tevatron": tevatron_rows,
}


def main(arguments: Arguments = None) -> int:
    return run_verb(lambda flags: flags.act(flags), parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("sets", "Check, count, split and hand on a distillation set: JSONL, plain or .gz.")
    acts = parser.add_subparsers(metavar="ACT", required=True)

    def add(act: Callable[[argparse.Namespace], None], name: str, promise: str) -> argparse.ArgumentParser:
        found = acts.add_parser(name, description=promise, help=promise)
        found.add_argument("set", metavar="SET", help="distillation set")
        found.set_defaults(act=act)
        return found

    add(_validate, "validate", "Name every fault of a set.")
    add(_statistics, "statistics", "Count what a set holds.")
    look = add(_show, "show", "Print queries as they were labelled.")
    look.add_argument("--queries", type=positive, default=3, metavar="N", help="the first N")
    parts = add(_split, "split", "Divide a set by query; where a query goes does not change when others are added.")
    parts.add_argument("--output", required=True, nargs=2, metavar=("REST", "HELD_OUT"), help="sets to write")
    parts.add_argument("--share", type=_share, default=0.1, help="of the queries to hold out, about")
    parts.add_argument("--seed", type=int, default=SEED, help="another seed holds out others")
    export = add(_export, "export", "Write a set as another tool trains on it, or as a TREC run.")
    export.add_argument("--to", required=True, choices=(*ROWS, "trec"), help="format")
    export.add_argument("--output", required=True, metavar="FILE", help="file to write; - for stdout")
    contrast = export.add_argument_group("--to flagembedding or tevatron, which know no order")
    contrast.add_argument("--positives", type=positive, default=Contrast.positives, help="the first so many listed")
    contrast.add_argument("--below", action="store_true", help="negative are, beside the missing, the other listed")
    run = export.add_argument_group("--to trec")
    run.add_argument(
        "--unknown", action="store_true", help="let the unknown follow the missing; else they are left out"
    )
    run.add_argument("--runtag", default="teacher", help="1-20 of A-Z a-z 0-9 _ . -")
    qrels = add(_qrels, "qrels", "Write a set as judgments: missing documents get 0, unknown ones none.")
    qrels.add_argument(
        "--output", required=True, metavar="FILE", help="by suffix: .json (ranx), .tsv (BEIR), else TREC"
    )
    qrels.add_argument("--grades", default=str(Steps()), help="grade:number from the first listed on, the others 0")
    judge = add(_judge, "judge", "Lay judgments over a set: its grades are then what is learned, beside the scores.")
    judge.add_argument("--qrels", required=True, metavar="QRELS", help="file, ir_datasets id or Pyserini name")
    judge.add_argument("--output", required=True, metavar="SET", help="set to write; queries without a relevant one go")
    explain = add(_explain, "explain", "Have an LLM say why: a reason for the verdicts that RRA-GPT learns.")
    explain.add_argument("--model", required=True, metavar="NAME", help="endpoint's name, or a folder with a model")
    explain.add_argument("--output", required=True, metavar="SET", help="set to write: the same, with reasons")
    explain.add_argument("--most", type=positive, default=7, metavar="N", help="documents of a query, relevant first")
    explain.add_argument("--prompt", default="verdict-reason", help="name, or a YAML file (rank_llm's keys)")
    explain.add_argument("--seed", type=int, default=SEED, help="of the irrelevant ones that are drawn")
    add_llm(explain.add_argument_group("the model"), max_tokens=64)
    for writer in (parts, export, qrels, judge, explain):
        writer.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    return parser


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number between 0 and 1")
    return share


# -- looking ----------------------------------------------------------------------------------------------------------


def _validate(flags: argparse.Namespace) -> None:
    path = find(flags.set)
    faults = list(islice(find_faults(path), MOST_SHOWN + 1))
    if faults:
        more = ["… and more"] if len(faults) > MOST_SHOWN else []
        raise RrarankError("\n".join([f"{path}: not fit to train on", *faults[:MOST_SHOWN], *more]))
    say(f"{path}: {len(read_set(path)):,} queries, no fault")


def _statistics(flags: argparse.Namespace) -> None:
    from tabulate import tabulate

    rows = list(_rows(statistics(read_set(find(flags.set)))))
    print(tabulate(rows, headers=["", "", "least", "most"], colalign=("left", *["right"] * 3), disable_numparse=True))


def _rows(found: Statistics) -> Iterator[list[str]]:
    yield _row("queries", found.queries)
    yield _row("with pairs", found.labelled)
    yield from (_row(f"verdict: {verdict}", number) for verdict, number in found.verdicts.items())
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
        print(f"{label.query.qid}: {label.query.text}  ({', '.join(label.faults) or 'ok'})")
        place = {candidate.docid: number for number, candidate in enumerate(label.shown, start=1)}
        text = {candidate.docid: one_line(candidate.text) for candidate in label.shown}
        for rank, docid in enumerate(label.listed, start=1):
            print(_line(str(rank), place[docid], docid, label.reasons.get(docid) or text[docid]))
        for name in ("missing", "unknown"):
            for docid in getattr(label, name):
                print(_line(name, place[docid], docid, label.reasons.get(docid) or text[docid]))
        print()


def _line(name: str, place: int, docid: str, text: str) -> str:
    """Rank, the place in the prompt, docid, and the beginning of why or of the text."""
    return f"{name:<8} [{place}] {docid}  {text[:80]}"


# -- writing ----------------------------------------------------------------------------------------------------------


def _split(flags: argparse.Namespace) -> None:
    path, labels = _open(flags, flags.output, packed=True)
    first, second = (Path(output).resolve() for output in flags.output)
    if first in (second, sidecar_path(second)) or second == sidecar_path(first):
        raise RrarankError(f"--output: {' and '.join(flags.output)} would replace one another; expected two files")
    parts = dict(zip(flags.output, split(labels, flags.share, flags.seed), strict=True))
    if empty := [output for output, part in parts.items() if not part]:
        raise RrarankError(f"{path}: none of its {len(labels):,} queries falls to {empty[0]}; give another --share")
    for output, part in parts.items():
        write_set(output, part)
        _describe(output, path, part, share=flags.share, seed=flags.seed, held_out=output == flags.output[1])


def _export(flags: argparse.Namespace) -> None:
    tag = check_tag(flags.runtag)
    path, labels = _open(flags, [flags.output], packed=flags.to != "trec")
    if flags.to == "trec":
        if not any(hits for _, hits in run_hits(labels, unknown=flags.unknown)):
            raise RrarankError(f"{path}: none of its {len(labels):,} queries has a label; the run would be empty")
        write_run(flags.output, run_hits(labels, unknown=flags.unknown), tag)
        return _describe(flags.output, path, labels, to=flags.to, unknown=flags.unknown)
    rows = list(ROWS[flags.to](labels, Contrast(flags.positives, flags.below)))
    if not rows:
        hint = "" if flags.below else "; --below takes the listed after the first --positives for negative"
        raise RrarankError(
            f"{path}: none of its {len(labels):,} queries has both positive and negative documents{hint}"
        )
    write_rows(flags.output, rows)
    say(f"{flags.output}: {len(rows):,} of {len(labels):,} queries")
    _describe(flags.output, path, labels, to=flags.to, positives=flags.positives, below=flags.below)


def _qrels(flags: argparse.Namespace) -> None:
    steps = Steps.parse(flags.grades)
    path, labels = _open(flags, [flags.output])
    grades = {qid: found for qid, found in grade(labels, steps).items() if found}
    if not grades:
        raise RrarankError(f"{path}: none of its {len(labels):,} queries has a label; there is nothing to judge by")
    write_qrels(flags.output, grades)
    _describe(flags.output, path, labels, grades=str(steps))


def _judge(flags: argparse.Namespace) -> None:
    place = file_or_id(flags.qrels, TOPICS, "qrels")
    check_output(flags.output, flags.overwrite, [place], packed=True)
    path, labels = _open(flags, [flags.output], packed=True)
    found = list(judged(labels, load_qrels(place)))
    if not found:
        raise RrarankError(f"{path}: {flags.qrels} judges no document of its {len(labels):,} queries relevant")
    write_set(flags.output, found)
    say(f"{flags.output}: {len(found):,} of {len(labels):,} queries show a relevant document")
    _describe(flags.output, path, found, {"qrels": place})


def _explain(flags: argparse.Namespace) -> None:
    from rrarank.data.verdicts import ReasoningConfig, answers

    if not is_file(flags.output):
        raise RrarankError("explain keeps its answers beside the set; give --output FILE")
    config = {name: getattr(flags, name) for name in ("most", "seed", "prompt")}
    config |= {"model": public_name(flags.model)}
    flags.overwrite = flags.overwrite or is_partial(flags.output, config)
    path, labels = _open(flags, [flags.output], packed=True)
    asking = Asking(load_llm(llm_config(flags, flags.model, flags.base_url)), load_prompt(flags.prompt), flags.prompt)
    wanted = []
    for one in labels:
        verdicts = {docid: answer.relevant for docid, answer in answers(one, ReasoningConfig()).items()}
        wanted.append((one, worth_explaining(one, verdicts, flags.most, flags.seed)))
    with locked_journal(flags.output, "answers") as journal:
        explainer = Explainer(asking, journal)
        failures = follow(explainer.ask(wanted), flags.price)
        failed, found = sorted(failures), [explainer.explained(*one) for one in wanted]
        write_set(flags.output, found)
        _describe(flags.output, path, found, facts={"failed": failed}, **config)
        reasons, pairs = sum(len(one.reasons) for one in found), sum(len(verdicts) for _, verdicts in wanted)
        say(f"{flags.output}: {reasons:,} reasons of {pairs:,} asked for")
        if failed:
            raise PartialSuccess(unanswered("documents", failed, failures, flags.output))
        journal.remove_used()


def _open(
    flags: argparse.Namespace, outputs: Sequence[str], *, packed: bool = False
) -> tuple[Path, list[LabelledRanking]]:
    path = find(flags.set)
    for output in outputs:
        check_output(output, flags.overwrite, [path], packed=packed)
    return path, read_set(path)


def _describe(
    output: str,
    path: Path,
    labels: Sequence[LabelledRanking],
    inputs: Mapping[str, str | Path] | None = None,
    facts: Mapping[str, object] | None = None,
    **config: object,
) -> None:
    """The sidecar; by its teacher `evaluate` knows a model that is measured by its own teacher's judgments."""
    if not is_file(output):
        return
    teachers = sorted({teacher_name(label) for label in labels} - {""})
    told = {"config": config, "teacher": "; ".join(teachers), **(facts or {})}
    write_sidecar(Path(output), inputs={"set": path, **(inputs or {})}, **told)


if __name__ == "__main__":
    sys.exit(main())
