"""The main job: a first-stage run in, a re-ranked run out. `python -m rrarank.rerank --run bm25.trec`"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from rrarank.cli.flags import (
    Parser,
    add_engine,
    add_reranker,
    check_engine_flags,
    check_reranker_flags,
    positive,
    remote_scorer,
    reranker_settings,
)
from rrarank.cli.verbs import Arguments, locked_journal, run_verb, say
from rrarank.data.submission import write_submission
from rrarank.data.trec import check_tag, write_run
from rrarank.data.types import Hit
from rrarank.engine import registry
from rrarank.engine.blocks import RemoteScorer, RerankConfig, pace_of, rerank_queries
from rrarank.engine.budget import Pace
from rrarank.engine.passages import AGGREGATES, Passages
from rrarank.engine.reranker import Explains, Reranker
from rrarank.engine.shards import Shard
from rrarank.errors import RrarankError
from rrarank.rerank.reasons import reasons_path, write_reasons
from rrarank.sources.inputs import Inputs, Origins, load_inputs
from rrarank.storage.files import STDIO, is_file, stem
from rrarank.storage.journal import Journal, note_key
from rrarank.storage.model_folders import locate
from rrarank.storage.sidecar import check_output, is_unfinished, write_sidecar


def main(arguments: Arguments = None) -> int:
    return run_verb(_rerank, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("rerank", "Re-rank a first-stage run. A run made by rrarank.retrieve needs no other flag.")
    parser.add_argument("--run", required=True, help="a run: TREC, MS MARCO, .jsonl, .json; or - for stdin")
    where = parser.add_argument_group("queries and texts (default: as the run's sidecar says)")
    where.add_argument(
        "--topics", default="", help="qid<TAB>query or JSONL, a BEIR folder, or a name such as dl19-passage"
    )
    where.add_argument("--collection", default="", help="JSONL or TSV file of texts, or a BEIR folder")
    where.add_argument(
        "--index", default="", help="Lucene index with stored texts, or a name such as msmarco-v1-passage"
    )
    where.add_argument(
        "--dataset", default="", help="ir_datasets id or BEIR folder, for texts and, without --topics, queries"
    )
    where.add_argument("--skip-missing", action="store_true", help="keep what has no text in first-stage order")
    how = parser.add_argument_group("re-ranking")
    add_reranker(how)
    how.add_argument("--depth", type=positive, default=100, help="candidates re-ranked per query")
    how.add_argument("--budget-ms", type=_milliseconds, default=0.0, help="most time per query: as many as fit; 0: any")
    how.add_argument("--passage-words", type=int, default=0, help="split documents into passages of N words; 0: no")
    how.add_argument("--passage-stride", type=int, default=0, help="words between passage starts; 0: no overlap")
    how.add_argument("--aggregate", choices=AGGREGATES, default="max", help="a document's score from its passages'")
    many = parser.add_argument_group("many processes and machines")
    add_engine(many)
    many.add_argument("--shard", default="", metavar="I/N", help="only part I of N of the queries; then rrarank.merge")
    out = parser.add_argument_group("output")
    out.add_argument("--output", help="the run to write; - for stdout (default: <run>.<reranker>.trec here)")
    out.add_argument("--hits", type=positive, default=1000, help="documents written per query")
    out.add_argument("--runtag", help="1-20 of A-Z a-z 0-9 _ . - (default: the reranker's name)")
    out.add_argument(
        "--submission", action="store_true", help="write only what TREC would take; see rrarank.trec check"
    )
    out.add_argument(
        "--explain",
        type=positive,
        default=0,
        metavar="N",
        help="reasons for the first N documents a query, into <output>.reasons.jsonl (default: none)",
    )
    out.add_argument("--overwrite", action="store_true", help="replace an existing output")
    out.add_argument("--dry-run", action="store_true", help="check everything, say what would be done, and stop")
    return parser


def _rerank(flags: argparse.Namespace) -> None:
    shard = Shard.parse(flags.shard) if flags.shard else None
    output = flags.output or f"{stem(flags.run)}.{flags.reranker}{shard.suffix if shard else ''}.trec"
    tag = _check_flags(flags, output)
    config = RerankConfig(
        depth=flags.depth,
        hits=flags.hits,
        passages=Passages(flags.passage_words, flags.passage_stride, flags.aggregate),
        budget_ms=flags.budget_ms,
    )
    origins = Origins(flags.topics, flags.collection, flags.index, flags.dataset)
    part = partial(shard.part, block_size=config.block_size) if shard else None
    inputs = load_inputs(flags.run, origins, depth=flags.depth, skip_missing=flags.skip_missing, part=part)
    _check_replacing(flags, output, inputs.origins.values())
    pairs = _pairs(inputs, flags.depth)
    if flags.dry_run:
        return _say_plan(flags, inputs, sum(pairs.values()), output)
    kept = (
        locked_journal(output, f"finished blocks of {config.block_size} queries") if is_file(output) else nullcontext()
    )
    with kept as journal:
        _check_replacing(flags, output, inputs.origins.values())  # what another job made before it let the lock go
        settings, tried = _settings(flags, journal)
        reranker = registry.load_reranker(flags.reranker, **settings)
        workers = remote_scorer(flags, settings, reranker=flags.reranker, passages=config.passages)
        _finish(_Job(output, tag, inputs, reranker, config, shard, workers, tried), flags, pairs, journal)


def _check_flags(flags: argparse.Namespace, output: str) -> str:
    """Raise what can be said before anything is read; returns the tag."""
    check_reranker_flags(flags)
    check_engine_flags(flags)
    tag = check_tag(flags.runtag or flags.reranker[:20])
    if flags.submission and output == STDIO:
        raise RrarankError("--submission checks the file before it appears; give --output FILE instead of -")
    if flags.explain:
        _check_silent(flags.reranker, output)
    if flags.shard:
        _check_parted(flags, output)
    if flags.engine == "ray":
        _check_scattered(flags, output)
    _check_replacing(flags, output, [])  # before the texts are read, and again when all inputs are known
    return tag


def _check_replacing(flags: argparse.Namespace, output: str, inputs: Iterable[object]) -> None:
    """What is there stays, unless it is this job's own, stopped just before its end."""
    overwrite = flags.overwrite or is_unfinished(output)
    check_output(output, overwrite, inputs)
    if flags.explain:
        check_output(reasons_path(output), overwrite, inputs)


def _check_silent(name: str, output: str) -> None:
    if not is_file(output):
        raise RrarankError("--explain writes beside the run; give --output FILE")
    if not issubclass(registry.find_reranker(name), Explains):
        raise RrarankError(f"--explain: the reranker {name!r} gives scores and no reasons; rra-gpt does")


def _check_parted(flags: argparse.Namespace, output: str) -> None:
    """What each shard would settle for itself, or only the whole run can have."""
    given = {"--budget-ms": flags.budget_ms, "--submission": flags.submission, "--explain": flags.explain}
    given["--backend auto"] = flags.backend == "auto"
    if odd := [flag for flag, value in given.items() if value]:
        raise RrarankError(f"--shard with {odd[0]}: the parts would not make the whole; leave one of the two out")
    if flags.run == STDIO:
        raise RrarankError("--shard with --run -: rrarank.merge could not tell whether all read one run; give a file")
    if not is_file(output):
        raise RrarankError("--shard: rrarank.merge needs the part's sidecar; give --output FILE")


def _check_scattered(flags: argparse.Namespace, output: str) -> None:
    if flags.budget_ms:
        raise RrarankError("--engine ray with --budget-ms: the budget is of one process; leave one of the two out")
    if not is_file(output):
        raise RrarankError("--engine ray keeps finished blocks beside the run; give --output FILE")


@dataclass(frozen=True)
class _Job:
    output: str
    tag: str
    inputs: Inputs
    reranker: Reranker
    config: RerankConfig
    shard: Shard | None
    workers: RemoteScorer | None
    tried: Sequence[Mapping[str, object]]  # by --backend auto


def _finish(job: _Job, flags: argparse.Namespace, pairs: Mapping[str, int], journal: Journal | None) -> None:
    """Re-rank, write the run and what stands beside it, and let the journal go."""
    if isinstance(job.reranker, Explains) and flags.explain:
        job.reranker.prepare_to_explain()  # before hours of scoring, should it not be able to
    resumed = len(journal) if journal is not None else 0
    started = time.perf_counter()
    pace = _write(job, pairs, flags.submission, journal)
    seconds = time.perf_counter() - started
    written = [job.output]
    if isinstance(job.reranker, Explains) and flags.explain:
        topics, texts = job.inputs.topics, job.inputs.texts
        written.append(write_reasons(job.output, job.reranker.explain, topics, texts, flags.explain))
    if journal is not None:
        _describe(job, flags, seconds, pace)
        journal.remove()  # last: until then the same command goes on
        print(*written, sep="\n")
    rate = "" if resumed or pace or not pairs else f", {sum(pairs.values()) / seconds:,.0f} pairs/s"
    done = f"{len(job.inputs.run):,} queries, {sum(pairs.values()):,} pairs in {seconds:.1f} s{rate}"
    say(f"{done}, {len(job.inputs.missing):,} without text")


def _write(job: _Job, pairs: Mapping[str, int], submission: bool, journal: Journal | None) -> Pace | None:
    """Re-rank and write, keeping finished blocks in the journal; returns the pace."""
    topics, texts = job.inputs.topics, job.inputs.texts
    pace = _pace(job, journal)
    ranked = rerank_queries(
        job.inputs.run,
        job.reranker,
        topics=topics,
        texts=texts,
        config=job.config,
        journal=journal,
        pace=pace,
        remote=job.workers,
    )
    run = _with_progress(ranked, pairs)
    write_submission(Path(job.output), run, job.tag, topics) if submission else write_run(job.output, run, job.tag)
    return pace


def _pace(job: _Job, journal: Journal | None) -> Pace | None:
    """What --budget-ms is reckoned by: measured once a job, and kept when it goes on."""
    if not job.config.budget_ms:
        return None
    key = note_key("pace", job.reranker.fingerprint())
    if journal is not None and key in journal:
        return Pace(*journal[key])
    pace = pace_of(job.inputs.run, job.reranker, topics=job.inputs.topics, texts=job.inputs.texts, config=job.config)
    if journal is not None:
        journal.add(key, astuple(pace))
    tokens = max(0.0, job.config.budget_ms / 1000 - pace.start_s) / pace.token_s
    what = f"its first pairs, up to {tokens:,.0f} tokens" if tokens else "nothing, a query alone takes longer"
    say(f"within {job.config.budget_ms:g} ms a query: {what}, at the pace measured")
    return pace


def _describe(job: _Job, flags: argparse.Namespace, seconds: float, pace: Pace | None) -> None:
    write_sidecar(
        Path(job.output),
        inputs=job.inputs.origins,
        config={
            "reranker": flags.reranker,
            "tag": job.tag,
            **asdict(job.config),
            **({"shard": str(job.shard)} if job.shard else {}),
        },
        model={"name": job.reranker.model_name, "fingerprint": job.reranker.fingerprint()},
        backend=job.reranker.config.backend,
        precision=job.reranker.config.precision,
        **({"tried": job.tried} if job.tried else {}),
        threads=job.workers.threads if job.workers else flags.threads,
        timings={"rerank_s": round(seconds, 3), **(asdict(pace) if pace else {})},
    )


def _settings(
    flags: argparse.Namespace, journal: Journal | None
) -> tuple[dict[str, object], Sequence[Mapping[str, object]]]:
    """Of the reranker, and what --backend auto tried before it settled on them."""
    settings = reranker_settings(flags)
    if flags.backend != "auto":
        return settings, []
    from rrarank.rerankers.backends.auto import choose_backend

    choice = choose_backend(registry.configure(flags.reranker, **settings), journal)
    say(f"--backend auto: {choice}")
    return settings | {"backend": choice.backend, "precision": choice.precision}, choice.tried


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r}, expected milliseconds from 0")
    return value


def _pairs(inputs: Inputs, depth: int) -> dict[str, int]:
    """qid -> pairs to score."""
    missing = set(inputs.missing)
    return {
        qid: sum(hit.docid not in missing for hit in hits[:depth]) if qid in inputs.topics else 0
        for qid, hits in inputs.run.items()
    }


def _with_progress(
    ranked: Iterator[tuple[str, list[Hit]]], pairs: Mapping[str, int]
) -> Iterator[tuple[str, Sequence[Hit]]]:
    with tqdm(total=sum(pairs.values()), unit=" pairs", disable=None) as bar:
        for qid, hits in ranked:
            bar.update(pairs[qid])
            yield qid, hits


def _say_plan(flags: argparse.Namespace, inputs: Inputs, pairs: int, output: str) -> None:
    """--dry-run: what would be done."""
    if flags.model and registry.find_reranker(flags.reranker).model_is_files:
        locate(flags.model, allow_pickle=flags.allow_pickle)
    say(f"would re-rank {len(inputs.run):,} queries, {pairs:,} pairs, {len(inputs.missing):,} without text")
    say(f"with {flags.reranker} ({flags.model or 'its default model'}) into {output}")


if __name__ == "__main__":
    sys.exit(main())
