"""A run and its texts in, a distillation set out. `python -m rrarank.label --run bm25.trec --model M --base-url URL`"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path

from tabulate import tabulate
from tqdm import tqdm

from rrarank.cli.flags import Parser, add_engine, add_threads, check_engine_flags, positive, remote_scorer
from rrarank.cli.llm import add_llm, cost, follow, is_partial, llm_config, unanswered
from rrarank.cli.verbs import Arguments, locked_journal, run_verb, say
from rrarank.data.distillation_set import read_set, teacher_name, write_set
from rrarank.data.run_files import read_run_file
from rrarank.data.types import LabelledRanking, Run
from rrarank.engine import registry
from rrarank.engine.blocks import RemoteScorer
from rrarank.engine.reranker import Reranker
from rrarank.errors import PartialSuccess, RrarankError, shown
from rrarank.label.audit import audit, table
from rrarank.label.llm_teacher import TOKENS_A_REASON, LLMTeacher
from rrarank.label.selection import ORDERS, RULES, Selection, StoredEmbeddings, worth_asking
from rrarank.label.teacher import FusedRuns, Scores, Teacher
from rrarank.llm.base import public_name
from rrarank.llm.load import load_llm
from rrarank.llm.prompts import load_prompt
from rrarank.llm.questions import Asking
from rrarank.sources.dense import DenseIndex, check_same_model
from rrarank.sources.inputs import Inputs, Origins, load_inputs
from rrarank.sources.names import TOPICS, file_or_id
from rrarank.sources.texts import load_qrels
from rrarank.storage.files import find, is_file, stem
from rrarank.storage.journal import Journal
from rrarank.storage.sidecar import check_output, sidecar_path, write_sidecar

Lists = Callable[[], Iterator[LabelledRanking]]


def main(arguments: Arguments = None) -> int:
    return run_verb(lambda flags: _audit(flags) if flags.audit else _label(flags), parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("label", "Have a teacher rank a well-chosen list of each query's candidates; or audit such a set.")
    parser.add_argument("--run", help="first stage; as rrarank.rerank takes it")
    where = parser.add_argument_group("queries and texts (default: as the run's sidecar says)")
    for name in ("topics", "collection", "index", "dataset"):
        where.add_argument(f"--{name}", default="", help="as in rrarank.rerank")
    where.add_argument("--skip-missing", action="store_true", help="leave out what has no text")
    what = parser.add_argument_group("the list")
    what.add_argument("--preranker", default="bi-encoder", metavar="NAME", help="reranker; bm25: as the run is")
    what.add_argument("--preranker-model", metavar="PATH_OR_ID", help="its model (default: its own)")
    what.add_argument("--preranker-index", metavar="INDEX", help="dense index with its embeddings of the collection")
    what.add_argument("--depth", type=positive, default=Selection.depth, help="candidates that it orders")
    what.add_argument("--k-top", type=int, default=Selection.k_top, help="most relevant ones shown")
    what.add_argument("--k-bottom", type=int, default=Selection.k_bottom, help="least relevant ones shown")
    what.add_argument("--select", choices=RULES, default=Selection.rule, help="others: to ablate top-bottom")
    what.add_argument("--order", choices=ORDERS, default=Selection.order, help="in which they are shown")
    what.add_argument("--seed", type=int, default=Selection.seed, help="of what is random")
    _add_teacher(parser.add_argument_group("the teacher"))
    _add_llm(parser.add_argument_group("--teacher llm"))
    out = parser.add_argument_group("output")
    out.add_argument("--output", help="the set to write, JSONL (default: <run>.<teacher>.jsonl)")
    out.add_argument("--limit", type=positive, metavar="N", help="only the first N queries")
    out.add_argument(
        "--dry-run", action="store_true", help="estimate tokens and cost, print the first prompt, ask nothing"
    )
    out.add_argument("--overwrite", action="store_true", help="replace an existing output")
    check = parser.add_argument_group("audit")
    check.add_argument("--audit", metavar="QRELS", help="is what the teacher left out a judgment? needs --set")
    check.add_argument("--set", dest="labels", metavar="SET", help="a distillation set")
    check.add_argument("--rel-level", type=positive, default=2, help="lowest relevant grade")
    return parser


def _add_teacher(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--teacher", default="llm", metavar="llm|runs|RERANKER", help="who ranks the list")
    group.add_argument("--teacher-runs", nargs="+", default=[], metavar="RUN", help="runs: TREC runs, one or several")
    group.add_argument(
        "--model", default="", metavar="NAME", help="llm: endpoint's name or a folder; RERANKER: its model"
    )
    group.add_argument("--teacher-index", metavar="INDEX", help="RERANKER bi-encoder: dense index with its embeddings")
    group.add_argument("--device", help="of pre-ranker and RERANKER: cpu, cuda, … (default: cuda if there is one)")
    group.add_argument("--batch-size", type=positive, help="most pairs scored at once (default: 32)")
    add_threads(group)
    add_engine(group)


def _add_llm(group: argparse._ArgumentGroup) -> None:
    add_llm(group)
    group.add_argument("--prompt", default="relevant-only", help="rank-all, relevant-only, or a YAML file (rank_llm's)")
    group.add_argument("--context", type=positive, default=Asking.context, help="tokens of question and answer")
    group.add_argument(
        "--passage-tokens", type=positive, default=Asking.longest, help="longest passage; the rest is cut"
    )
    group.add_argument("--reasons", action="store_true", help="ask a second time, why")
    group.add_argument("--reason-model", default="", metavar="NAME", help="who says why (default: --model)")
    group.add_argument("--reason-base-url", default="", help="its endpoint (default: --base-url)")
    group.add_argument("--reason-api-key-env", default="", metavar="VAR", help="its key (default: --api-key-env)")
    group.add_argument("--reason-prompt", default="reasons", metavar="FILE", help="YAML file")


# -- labelling --------------------------------------------------------------------------------------------------------


def _label(flags: argparse.Namespace) -> None:
    _check_incomplete(flags)
    output = flags.output or f"{stem(flags.run)}.{flags.teacher}.jsonl"
    selection = Selection(flags.depth, flags.k_top, flags.k_bottom, flags.select, flags.order, flags.seed)
    config = {name: getattr(flags, name) for name in ("limit", "teacher", "preranker", "prompt", "reasons")}
    config |= {"selection": asdict(selection), "model": public_name(flags.model)}
    used = [find(place) for place in _files(flags).values() if Path(place).is_file()]
    check_output(output, flags.overwrite or is_partial(output, config), used, packed=True)
    origins = Origins(flags.topics, flags.collection, flags.index, flags.dataset)
    inputs = load_inputs(flags.run, origins, depth=flags.depth, skip_missing=flags.skip_missing, command="label")
    check_output(output, True, inputs.origins.values(), packed=True)
    with ExitStack() as stack:
        keeps = is_file(output) and not flags.dry_run
        folder = Path(output).parent if keeps else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        journal = stack.enter_context(locked_journal(folder / Path(output).name, "records"))
        teacher = _teacher(flags, journal)
        lists = _lists(flags, inputs, selection, teacher, journal)
        if flags.dry_run:
            return _say_estimate(flags, teacher, lists)
        for _ in tqdm(lists(), unit=" queries pre-ranked", disable=None):
            pass  # all, before the first question: an endpoint should not wait for the pre-ranker
        _ask(flags, teacher, lists)
        failed = _write(flags, output, inputs, config, teacher, lists)
        if not failed and (others := journal.remove_used()):
            say(f"{journal.path} stays: {others:,} of its records are of another job")
    if is_file(output):
        print(output)
    if failed:
        raise PartialSuccess(_failures(failed, teacher, output))


def _ask(flags: argparse.Namespace, teacher: Teacher, lists: Lists) -> None:
    """Have all answered; what ends the asking early does not lose what was answered by then."""
    try:
        follow(teacher.ask(lists()), flags.price, teacher.verdicts)
    except RrarankError as error:
        if not any(teacher.label(listed) for listed in lists()):
            raise
        say(f"stopped asking: {error}")


def _check_incomplete(flags: argparse.Namespace) -> None:
    """Before the texts are read, which may take minutes."""
    check_engine_flags(flags)
    if not flags.run:
        raise RrarankError("--run is needed: the first stage whose candidates are to be ranked")
    if flags.teacher == "llm" and not flags.model:
        raise RrarankError("--teacher llm needs --model: the endpoint's name of one, or a folder")
    if "listwise-llm" in (flags.teacher, flags.preranker):
        raise RrarankError("listwise-llm re-appends what its answer leaves out; as a teacher it is --teacher llm")
    known = ["llm", "runs", *registry.names()]
    if flags.teacher not in known:
        raise RrarankError(f"no teacher named {flags.teacher!r} (known: {', '.join(known)})")


def _lists(
    flags: argparse.Namespace, inputs: Inputs, selection: Selection, teacher: Teacher, journal: Journal
) -> Lists:
    """Makes the lists anew each time it is called; what the pre-ranker found is read from the journal."""
    run = Run(dict(islice(inputs.run.items(), flags.limit)), inputs.run.tag)
    preranker = _load(flags, flags.preranker, flags.preranker_model, flags.preranker_index)
    if isinstance(teacher, Scores) and _judge(preranker) == _judge(teacher.reranker):
        raise RrarankError(f"{flags.preranker} is pre-ranker and teacher: the list would be chosen by its own judge")
    found = partial(
        worth_asking,
        run,
        preranker,
        topics=inputs.topics,
        texts=inputs.texts,
        selection=selection,
        journal=journal,
        remote=_workers(flags, flags.preranker, flags.preranker_model, flags.preranker_index),
    )
    provenance = {"preranker": preranker.model_name or flags.preranker, "selection": asdict(selection)}

    def lists() -> Iterator[LabelledRanking]:
        for label in found():
            yield LabelledRanking(
                label.query, label.shown, not_shown=label.not_shown, provenance={**label.provenance, **provenance}
            )

    return lists


def _judge(reranker: Reranker) -> str:
    """Who scores, whether or not the embeddings are stored."""
    encoder = reranker.encoder if isinstance(reranker, StoredEmbeddings) else reranker
    return encoder.fingerprint() if isinstance(encoder, Reranker) else ""


def _settings(flags: argparse.Namespace, model: str | None) -> dict[str, object]:
    own = {"device": flags.device, "batch_size": flags.batch_size, "threads": flags.threads}
    return {**own, "model": model or None}


def _workers(flags: argparse.Namespace, name: str, model: str | None, index: str | None) -> RemoteScorer | None:
    """Where --engine ray scores; what embeddings or the first stage know already is not worth the way."""
    workers = remote_scorer(flags, _settings(flags, model), reranker=name)
    return None if index or name == "bm25" else workers


def _load(flags: argparse.Namespace, name: str, model: str | None, index: str | None) -> Reranker:
    reranker = registry.load_reranker(name, **_settings(flags, model))
    if not index:
        return reranker
    from rrarank.rerankers.bi_encoder import BiEncoder

    if not isinstance(reranker, BiEncoder):
        raise RrarankError(f"{index}: embeddings are of use to a bi-encoder, not to {name}")
    check_same_model(Path(index), reranker.model_name, reranker.model_fingerprint)
    return StoredEmbeddings(DenseIndex(Path(index)), reranker, reranker.model_name)


def _teacher(flags: argparse.Namespace, journal: Journal) -> Teacher:
    if flags.teacher == "runs":
        names = Counter(stem(run) for run in flags.teacher_runs)
        if twice := [name for name, count in names.items() if count > 1]:
            raise RrarankError(f"--teacher-runs: several are named {shown(twice)}; rename one")
        return FusedRuns({stem(run): read_run_file(find(run, "runs")).run for run in flags.teacher_runs})
    if flags.teacher == "llm":
        ranking = _asking(flags, flags.model, flags.base_url, flags.prompt)
        if not flags.reasons:
            return LLMTeacher(ranking, journal)
        model, url = flags.reason_model or flags.model, flags.reason_base_url or flags.base_url
        return LLMTeacher(ranking, journal, _asking(flags, model, url, flags.reason_prompt, flags.reason_api_key_env))
    workers = _workers(flags, flags.teacher, flags.model, flags.teacher_index)
    return Scores(_load(flags, flags.teacher, flags.model, flags.teacher_index), flags.teacher, journal, workers)


def _asking(flags: argparse.Namespace, model: str, base_url: str, prompt: str, key_env: str = "") -> Asking:
    llm = load_llm(llm_config(flags, model, base_url, key_env))
    return Asking(llm, load_prompt(prompt), stem(prompt), flags.passage_tokens, flags.context)


def _write(
    flags: argparse.Namespace, output: str, inputs: Inputs, config: dict[str, object], teacher: Teacher, lists: Lists
) -> list[str]:
    """Write the set in the order of the run; returns the qids without an answer."""
    failed, verdicts, made = [], Counter[str](), []

    def labels() -> Iterator[LabelledRanking]:
        for listed in lists():
            label = teacher.label(listed)
            if label is None:
                failed.append(listed.query.qid)
                continue
            verdicts[label.faults[0] if label.faults else "ok"] += 1
            made.append(label)
            yield label
        if made and is_file(output):
            sidecar_path(output).unlink(missing_ok=True)  # of another set; without one, a killed job can go on
        if not made and failed:
            raise PartialSuccess(_failures(failed, teacher, output))
        if not made:
            raise RrarankError(f"{flags.run}: no query has a candidate with a text; nothing to label")

    write_set(output, labels())
    if is_file(output):
        places = {**inputs.origins, **{name: Path(place) for name, place in _files(flags).items()}}
        facts = {"teacher": teacher_name(made[0]), "provenance": _shared(made), "failed": failed}
        write_sidecar(Path(output), inputs=places, config=config, **facts)
    _say_made(verdicts, made, inputs)
    return failed


def _files(flags: argparse.Namespace) -> dict[str, str]:
    """What the job reads beside run, topics and texts: name -> file or index."""
    runs = {f"teacher-run-{number}": str(find(run, "runs")) for number, run in enumerate(flags.teacher_runs, start=1)}
    others = {"preranker-index": flags.preranker_index, "teacher-index": flags.teacher_index}
    prompts = {"prompt": flags.prompt, "reason-prompt": flags.reason_prompt}
    return runs | {name: place for name, place in (others | prompts).items() if place and Path(place).exists()}


def _shared(labels: list[LabelledRanking]) -> dict[str, object]:
    """What the provenance of all labels says alike."""
    first, *others = (label.provenance for label in labels)
    return {name: fact for name, fact in first.items() if all(other.get(name) == fact for other in others)}


def _say_made(verdicts: Counter[str], made: list[LabelledRanking], inputs: Inputs) -> None:
    counts = ", ".join(f"{verdict} {count:,}" for verdict, count in verdicts.most_common())
    parts = (
        f"{sum(len(getattr(label, name)) for label in made):,} {name}" for name in ("listed", "missing", "unknown")
    )
    say(f"{len(made):,} of {len(inputs.run):,} queries labelled ({counts}): {', '.join(parts)}")
    if 2 * sum(not label.listed for label in made) > len(made):
        say("warning: most answers hold no ranking; this teacher does not do what the prompt asks")
    if audit(made, {}).echoes:
        say("warning: most lists came back in the order in which they were shown; this teacher does not read")


def _failures(failed: list[str], teacher: Teacher, output: str) -> str:
    return unanswered("queries", failed, getattr(teacher, "failures", {}), output)


def _say_estimate(flags: argparse.Namespace, teacher: Teacher, lists: Lists) -> None:
    """--dry-run."""
    tokens, queries = Counter[str](), 0
    for queries, label in enumerate(lists(), start=1):
        if isinstance(teacher, LLMTeacher):
            query, passages = label.query.text, [candidate.text for candidate in label.shown]
            if queries == 1:
                print(json.dumps(teacher.ranking.question(query, passages)[1], ensure_ascii=False, indent=2))
            asked, answered = teacher.ranking.tokens(query, passages)
            tokens.update(prompt=asked, answer=answered)
            if teacher.reasons:
                asked, _ = teacher.reasons.tokens(query, passages)
                tokens.update(prompt=asked + answered, answer=TOKENS_A_REASON * len(passages))
    say(f"would label {queries:,} queries with the teacher {flags.teacher}")
    if tokens:
        about = f"about {tokens['prompt']:,} tokens asked and {tokens['answer']:,} answered"
        say(f"{about}{cost(tokens, flags.price)} (estimated)")


# -- audit ------------------------------------------------------------------------------------------------------------


def _audit(flags: argparse.Namespace) -> None:
    if not flags.labels:
        raise RrarankError("--audit needs --set SET.jsonl, the labels to audit")
    labels = read_set(find(flags.labels))
    found = audit(labels, load_qrels(file_or_id(flags.audit, TOPICS, "qrels")), flags.rel_level)
    print(tabulate(table(found), headers=["documents", "P(relevant)", "95% interval", "judged"], disable_numparse=True))
    print(found.verdict)
    if found.echoes:
        print(f"{found.echoed} of {found.orders} lists are the order that was shown: this teacher does not read")


if __name__ == "__main__":
    sys.exit(main())
