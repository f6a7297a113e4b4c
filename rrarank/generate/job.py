"""The generating job: passages in, topics and judgments out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from rrarank.cli.llm import FREE, cost, follow, is_partial, show_question, unanswered
from rrarank.cli.verbs import locked_journal
from rrarank.data.beir import CORPUS, in_folder
from rrarank.data.run_files import write_qrels
from rrarank.errors import PartialSuccess, RrarankError, say
from rrarank.generate.queries import FAULTS, Attempt, read_attempts, round_trip, sample_passages
from rrarank.generate.writer import Example, QueryWriter, load_query_prompt, read_examples
from rrarank.llm.base import Answer, LLMConfig
from rrarank.llm.load import load_llm
from rrarank.measures.significance import SEED
from rrarank.sources.collection import Collection
from rrarank.sources.lucene import BM25, LuceneIndex
from rrarank.storage.files import atomic_write, find, is_file, stem
from rrarank.storage.sidecar import check_output, fingerprint, read_sidecar, sidecar_path, write_sidecar

TOKENS_A_QUERY = 15


@dataclass(frozen=True)
class GenerateJob:
    """What `generate_queries` does.

    Args:
        collection: JSONL or TSV file, or BEIR folder.
        index: Lucene index of it.
        llm: the model that writes the queries.
        prompt: name of a shipped prompt, or a YAML file.
        examples: file of `query<TAB>docid` lines, shown to the model; empty: none.
        passages: how many passages are drawn, by `seed`.
        shortest_passage: passages with fewer words are not drawn.
        passage_tokens: maximum number of tokens of a passage in the prompt.
        longest_query: queries with more words are dropped.
        keep_top: BM25 must rank a query's passage among its first so many hits.
        language: analyser, an ISO code; empty: the index's own, else `en`.
        output: topics; `<stem>.qrels.txt` is written beside them.
        price: cost of a million tokens asked and of a million answered.
        dry_run: estimate tokens and cost, print the first prompt and stop.
    """

    collection: str
    index: str
    llm: LLMConfig
    prompt: str = "query"
    examples: str = ""
    passages: int = 100
    seed: int = SEED
    shortest_passage: int = 10
    passage_tokens: int = QueryWriter.passage_tokens
    longest_query: int = 32
    keep_top: int = 3
    language: str = ""
    output: str = "synthetic.topics.tsv"
    overwrite: bool = False
    price: Sequence[float] = FREE
    dry_run: bool = False


def generate_queries(job: GenerateJob) -> list[str]:
    """Write topics and judgments and return their paths: nothing for a dry run.

    Answers are journaled: a job that was stopped, or that some answers failed, continues when it is run again.

    Raises:
        RrarankError: bad input, or no query is kept; PartialSuccess: some passages have no answer.
    """
    outputs = _outputs(job.output)
    inputs = _inputs(job)
    language = _language(inputs["index"], inputs["collection"], job.language)
    config = _config(job, language)
    replaceable = job.overwrite or is_partial(job.output, config)
    for output in outputs:
        check_output(output, replaceable, inputs.values())
    collection = Collection(inputs["collection"])
    prompt, llm = load_query_prompt(job.prompt), load_llm(job.llm)
    examples = read_examples(inputs["examples"], collection) if job.examples else []
    passages = _passages(job, collection, examples)
    writer = QueryWriter(llm, prompt, tuple(examples), job.passage_tokens)
    if job.dry_run:
        _say_estimate(job, writer, list(passages.values()))
        return []
    topics, qrels = outputs
    with LuceneIndex(inputs["index"]) as index, locked_journal(topics, "answers") as journal:  # before any question
        failures = follow(writer.ask(passages, journal), job.price)
        answers = writer.answers(passages, journal)
        attempts = _attempts(job, writer, passages, answers, index, language)
        failed = [docid for docid in passages if docid not in answers]
        written: list[str] = []
        if any(not attempt.fault for attempt in attempts):
            facts = {
                "config": config,
                "llm": {"prompt": stem(job.prompt), **writer.provenance(answers.values())},
                "teacher": f"llm: {llm.fingerprint()['model']}",  # as `label` names it
                "counts": _counts(attempts),
                "failed": failed,
            }
            _write(topics, qrels, attempts, inputs, facts)
            written = [str(topics), str(qrels)]
        elif not failed:
            hint = f"is {job.index} made from {job.collection}, and what do the answers in {journal.path} say?"
            raise RrarankError(f"{topics}: not written, as no query is kept; {hint}")
        if failed:
            raise PartialSuccess(unanswered("passages", failed, failures, str(topics)), written)
        journal.remove_used()
    return written


# -- before anything is asked -----------------------------------------------------------------------------------------


def _outputs(output: str) -> tuple[Path, Path]:
    """`a/synthetic.topics.tsv` -> itself and `a/synthetic.qrels.txt`."""
    if not is_file(output):
        raise RrarankError(f"--output {output}: judgments are written beside it; give a file")
    return Path(output), Path(output).with_name(f"{stem(output).removesuffix('.topics')}.qrels.txt")


def _inputs(job: GenerateJob) -> dict[str, Path]:
    """name -> the index, or a file; what the sidecars name."""
    files = {"examples": job.examples, "collection": in_folder(job.collection, CORPUS)}
    if Path(job.prompt).is_file():
        files["prompt"] = job.prompt
    return {"index": Path(job.index), **{name: find(path) for name, path in files.items() if path}}


def _config(job: GenerateJob, language: str) -> dict[str, object]:
    """The settings that decide which queries are made and kept."""
    names = ("passages", "seed", "shortest_passage", "longest_query", "keep_top")
    return {name: getattr(job, name) for name in names} | {"language": language, "bm25": asdict(BM25())}


def _language(index: Path, collection: Path, asked: str) -> str:
    """The analyser of the index; its sidecar, if any, must name this collection."""
    if not index.exists():
        make = f"python -m rrarank.retrieve --index {index} --collection {collection} --topics TOPICS.tsv"
        raise RrarankError(f"{index}: no such index; make it by {make}")
    sidecar = read_sidecar(index)
    if sidecar is None:
        return asked or "en"
    if fingerprint(collection) != sidecar.content["inputs"].get("collection", {}).get("sha256"):
        raise RrarankError(f"{index}: {sidecar.path} names another collection than {collection}; give its own --index")
    language = str(sidecar.content.get("config", {}).get("language", "en"))
    if asked not in ("", language):
        raise RrarankError(f"{index}: indexed with --language {language}, asked with {asked}; give another --index")
    return language


def _passages(job: GenerateJob, collection: Collection, examples: Sequence[Example]) -> dict[str, str]:
    found = sample_passages(
        tqdm(collection, unit=" documents", disable=None),
        job.passages,
        seed=job.seed,
        fewest_words=job.shortest_passage,
        leave_out={example.docid for example in examples},
    )
    if not found:
        raise RrarankError(f"{collection.path}: no passage of {job.shortest_passage} words or more to ask about")
    if len(found) < job.passages:
        say(f"{collection.path} has only {len(found):,} passages to ask about")
    return found


def _say_estimate(job: GenerateJob, writer: QueryWriter, texts: Sequence[str]) -> None:
    """--dry-run."""
    show_question(writer.question(texts[0])[1])
    tokens = {"prompt": sum(map(writer.tokens, texts)), "answer": TOKENS_A_QUERY * len(texts)}
    about = f"about {tokens['prompt']:,} tokens and {tokens['answer']:,} answered{cost(tokens, job.price)}"
    say(f"would ask about {len(texts):,} passages, {about} (estimated)")


# -- after the answers ------------------------------------------------------------------------------------------------


def _attempts(
    job: GenerateJob,
    writer: QueryWriter,
    passages: Mapping[str, str],
    answers: Mapping[str, Answer],
    index: LuceneIndex,
    language: str,
) -> list[Attempt]:
    taken = [example.query for example in writer.examples]
    attempts = read_attempts(passages, answers, most_words=job.longest_query, taken=taken)
    attempts = round_trip(attempts, index, keep_top=job.keep_top, language=language)
    counts = _counts(attempts)
    dropped = ", ".join(f"{fault} {counts[fault]:,}" for fault in FAULTS if counts[fault])
    say(f"{counts['kept']:,} of {len(passages):,} passages have a query{dropped and f' (dropped: {dropped})'}")
    return attempts


def _counts(attempts: Sequence[Attempt]) -> dict[str, int]:
    found = Counter(attempt.fault for attempt in attempts)
    return {"answered": len(attempts), "kept": found[""], **{fault: found[fault] for fault in FAULTS}}


def _write(
    topics: Path, qrels: Path, attempts: Sequence[Attempt], inputs: Mapping[str, Path], facts: Mapping[str, object]
) -> None:
    """Write topics and judgments in the order of the passages; the topics' sidecar comes last."""
    kept = [attempt for attempt in attempts if not attempt.fault]
    for output in (topics, qrels):
        sidecar_path(output).unlink(missing_ok=True)  # it describes an older file; without one, a killed job continues
    write_qrels(qrels, {attempt.qid: {attempt.docid: 1} for attempt in kept})
    with atomic_write(topics) as file:
        file.writelines(f"{attempt.qid}\t{attempt.query}\n" for attempt in kept)
    for output in (qrels, topics):
        write_sidecar(output, inputs=inputs, **facts)
