"""Passages in, synthetic queries out. `python -m rrarank.generate --collection C.jsonl --index INDEX --model M`"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from rrarank.cli.flags import Parser, positive
from rrarank.cli.llm import add_llm, cost, follow, is_partial, llm_config, unanswered
from rrarank.cli.verbs import Arguments, locked_journal, run_verb, say
from rrarank.data.beir import CORPUS, in_folder
from rrarank.data.run_files import write_qrels
from rrarank.errors import PartialSuccess, RrarankError
from rrarank.generate.queries import (
    FAULTS,
    Attempt,
    QueryWriter,
    load_query_prompt,
    read_attempts,
    read_examples,
    round_trip,
    sample_passages,
)
from rrarank.llm.base import Answer
from rrarank.llm.load import load_llm
from rrarank.measures.significance import SEED
from rrarank.sources.lucene import BM25, LuceneIndex
from rrarank.sources.texts import Collection
from rrarank.storage.files import atomic_write, find, is_file, stem
from rrarank.storage.sidecar import check_output, fingerprint, read_sidecar, sidecar_path, write_sidecar

TOKENS_A_QUERY = 15


def main(arguments: Arguments = None) -> int:
    return run_verb(_generate, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("generate", "Have an LLM write a query for passages, and keep those that find their passage.")
    what = parser.add_argument_group("passages")
    what.add_argument("--collection", required=True, help="JSONL (id, contents) or TSV file, plain or .gz")
    what.add_argument("--index", required=True, help="Lucene index of it, as rrarank.retrieve makes it")
    what.add_argument("--passages", type=positive, default=100, help="how many are drawn, at random")
    what.add_argument("--seed", type=int, default=SEED, help="another seed draws others")
    what.add_argument("--shortest-passage", type=positive, default=10, metavar="WORDS", help="others are not drawn")
    how = parser.add_argument_group("questions")
    how.add_argument("--model", required=True, metavar="NAME", help="endpoint's name of an LLM, or a folder")
    how.add_argument("--prompt", default="", metavar="FILE", help="YAML: body, system_message (default: our own)")
    how.add_argument("--examples", metavar="FILE", help="query<TAB>docid, a few of your own, shown to the LLM")
    how.add_argument(
        "--passage-tokens", type=positive, default=QueryWriter.longest, help="longest passage; the rest is cut"
    )
    add_llm(how, max_tokens=128)
    which = parser.add_argument_group("what is kept")
    which.add_argument("--longest-query", type=positive, default=32, metavar="WORDS", help="others are dropped")
    which.add_argument("--keep-top", type=positive, default=3, metavar="N", help="BM25 must find it so high")
    which.add_argument("--language", help="analyser, ISO code such as ko (default: the index's own, else en)")
    out = parser.add_argument_group("output")
    out.add_argument("--output", default="synthetic.topics.tsv", help="topics; <stem>.qrels.txt is written beside them")
    out.add_argument(
        "--dry-run", action="store_true", help="estimate tokens and cost, print the first prompt, ask nothing"
    )
    out.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    return parser


def _generate(flags: argparse.Namespace) -> None:
    job = _plan(flags)
    if flags.dry_run:
        return _say_estimate(job, flags)
    with (
        LuceneIndex(job.inputs["index"]) as index,
        locked_journal(job.topics, "answers") as journal,
    ):  # both before anything is asked
        failures = follow(job.writer.ask(job.passages, journal), flags.price)
        answers = job.writer.answers(job.passages, journal)
        attempts = _attempts(job, flags, answers, index)
        failed = [docid for docid in job.passages if docid not in answers]
        if any(not attempt.fault for attempt in attempts):
            _write(job, flags, attempts, answers, failed)
            print(f"{job.topics}\n{job.qrels}")
        elif not failed:
            hint = f"is {flags.index} made from {flags.collection}, and what do the answers in {journal.path} say?"
            raise RrarankError(f"{job.topics}: not written, as no query is kept; {hint}")
        if failed:
            raise PartialSuccess(unanswered("passages", failed, failures, str(job.topics)))
        journal.remove_used()


# -- before anything is asked -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """What is asked of whom, and where it goes.

    Args:
        inputs: files, and the index, by name; what the sidecars name.
        language: analyser of the index.
    """

    topics: Path
    qrels: Path
    inputs: Mapping[str, Path]
    passages: Mapping[str, str]
    writer: QueryWriter
    language: str


def _plan(flags: argparse.Namespace) -> _Job:
    topics, qrels = _outputs(flags.output)
    given = {name: getattr(flags, name) for name in ("examples", "prompt") if getattr(flags, name)}
    given["collection"] = in_folder(flags.collection, CORPUS)
    inputs = {"index": Path(flags.index), **{name: find(path) for name, path in given.items()}}
    language = _language(inputs["index"], inputs["collection"], flags.language)
    replaceable = flags.overwrite or is_partial(str(topics), _config(flags, language))
    for output in (topics, qrels):
        check_output(output, replaceable, inputs.values())
    collection = Collection(inputs["collection"])
    prompt = load_query_prompt(flags.prompt)
    llm = load_llm(llm_config(flags, flags.model, flags.base_url))
    examples = read_examples(inputs["examples"], collection) if flags.examples else []
    return _Job(
        topics,
        qrels,
        inputs,
        _passages(flags, collection, [example.docid for example in examples]),
        QueryWriter(llm, prompt, tuple(examples), flags.passage_tokens),
        language,
    )


def _config(flags: argparse.Namespace, language: str) -> dict[str, object]:
    """What of the flags decides which queries are made and kept."""
    names = ("passages", "seed", "shortest_passage", "longest_query", "keep_top")
    return {name: getattr(flags, name) for name in names} | {"language": language, "bm25": asdict(BM25())}


def _outputs(output: str) -> tuple[Path, Path]:
    """`a/synthetic.topics.tsv` -> itself and `a/synthetic.qrels.txt`."""
    if not is_file(output):
        raise RrarankError(f"--output {output}: judgments are written beside it; give a file")
    return Path(output), Path(output).with_name(f"{stem(output).removesuffix('.topics')}.qrels.txt")


def _language(index: Path, collection: Path, asked: str | None) -> str:
    """The analyser of the index, which must be of the collection, as far as its sidecar says."""
    if not index.exists():
        make = f"python -m rrarank.retrieve --index {index} --collection {collection} --topics TOPICS.tsv"
        raise RrarankError(f"{index}: no such index; make it by {make}")
    sidecar = read_sidecar(index)
    if sidecar is None:
        return asked or "en"
    if fingerprint(collection) != sidecar.content["inputs"].get("collection", {}).get("sha256"):
        raise RrarankError(f"{index}: {sidecar.path} names another collection than {collection}; give its own --index")
    language = str(sidecar.content.get("config", {}).get("language", "en"))
    if asked not in (None, language):
        raise RrarankError(f"{index}: indexed with --language {language}, asked with {asked}; give another --index")
    return language


def _passages(flags: argparse.Namespace, collection: Collection, leave_out: Sequence[str]) -> dict[str, str]:
    documents = tqdm(collection, unit=" documents", disable=None)
    found = sample_passages(
        documents, flags.passages, seed=flags.seed, fewest_words=flags.shortest_passage, leave_out=frozenset(leave_out)
    )
    if not found:
        raise RrarankError(f"{collection.path}: no passage of {flags.shortest_passage} words or more to ask about")
    if len(found) < flags.passages:
        say(f"{collection.path} has only {len(found):,} passages to ask about")
    return found


def _say_estimate(job: _Job, flags: argparse.Namespace) -> None:
    """--dry-run."""
    texts = list(job.passages.values())
    print(json.dumps(job.writer.question(texts[0])[1], ensure_ascii=False, indent=2))
    tokens = {"prompt": sum(map(job.writer.tokens, texts)), "answer": TOKENS_A_QUERY * len(texts)}
    about = f"about {tokens['prompt']:,} tokens and {tokens['answer']:,} answered{cost(tokens, flags.price)}"
    say(f"would ask about {len(texts):,} passages, {about} (estimated)")


# -- when all is answered ---------------------------------------------------------------------------------------------


def _attempts(job: _Job, flags: argparse.Namespace, answers: Mapping[str, Answer], index: LuceneIndex) -> list[Attempt]:
    taken = [example.query for example in job.writer.examples]
    attempts = read_attempts(job.passages, answers, most_words=flags.longest_query, taken=taken)
    attempts = round_trip(attempts, index, keep_top=flags.keep_top, language=job.language)
    counts = _counts(attempts)
    dropped = ", ".join(f"{fault} {counts[fault]:,}" for fault in FAULTS if counts[fault])
    say(f"{counts['kept']:,} of {len(job.passages):,} passages have a query{dropped and f' (dropped: {dropped})'}")
    return attempts


def _counts(attempts: Sequence[Attempt]) -> dict[str, int]:
    found = Counter(attempt.fault for attempt in attempts)
    return {"answered": len(attempts), "kept": found[""], **{fault: found[fault] for fault in FAULTS}}


def _write(
    job: _Job,
    flags: argparse.Namespace,
    attempts: Sequence[Attempt],
    answers: Mapping[str, Answer],
    failed: Sequence[str],
) -> None:
    """Topics and judgments, in the order of the passages; the topics' sidecar comes last and says that all is whole."""
    kept = [attempt for attempt in attempts if not attempt.fault]
    for output in (job.topics, job.qrels):
        sidecar_path(output).unlink(missing_ok=True)  # it describes another; without one, a killed job can go on
    write_qrels(job.qrels, {attempt.qid: {attempt.docid: 1} for attempt in kept})
    with atomic_write(job.topics) as file:
        file.writelines(f"{attempt.qid}\t{attempt.query}\n" for attempt in kept)
    facts = {
        "config": _config(flags, job.language),
        "llm": {"prompt": stem(flags.prompt or "query"), **job.writer.provenance(answers.values())},
        "teacher": f"llm: {job.writer.llm.fingerprint()['model']}",  # as `label` names it
        "counts": _counts(attempts),
        "failed": failed,
    }
    for output in (job.qrels, job.topics):
        write_sidecar(output, inputs=job.inputs, **facts)


if __name__ == "__main__":
    sys.exit(main())
