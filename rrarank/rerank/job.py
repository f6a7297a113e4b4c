"""One job: re-rank a run and write it with its sidecar, going on where a stopped one ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, astuple, dataclass, field, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from rrarank.cli.answers import AnswerCounts, described, described_tokens
from rrarank.cli.verbs import let_go, locked_journal
from rrarank.data.own_documents import without_own_documents
from rrarank.data.shapes import RunLike, is_path, run_name
from rrarank.data.submission import write_submission
from rrarank.data.trec import check_tag, write_run
from rrarank.data.types import Hit, Run
from rrarank.engine import registry
from rrarank.engine.blocks import RerankConfig, pace_of, rerank_queries
from rrarank.engine.budget import Pace
from rrarank.engine.interpolation import Interpolation, check_first_stage
from rrarank.engine.ray import RayBlocks, RayConfig
from rrarank.engine.reranker import AsksLLM, Explains, Reranker
from rrarank.engine.shards import Shard
from rrarank.errors import RrarankError, say
from rrarank.extras import check_installed
from rrarank.rerank.pairs import pairs_of
from rrarank.rerank.plan import say_plan
from rrarank.rerank.reasons import reasons_path, write_reasons
from rrarank.rerank.relevance import Scored, check_place
from rrarank.rerank.weights import AUTO, default_weights, describe_config, read_weights, with_kind
from rrarank.sources.inputs import Inputs, Origins, load_inputs
from rrarank.storage.files import STDIO, is_file, output_stem
from rrarank.storage.journal import Journal, note_key
from rrarank.storage.sidecar import check_output, is_unfinished, write_sidecar


@dataclass(frozen=True)
class RerankJob:
    """Everything that `python -m rrarank.rerank` can be told.

    Args:
        run: a file of any format; a bare name is looked up in `./`, `./runs/` and the package; `-` is stdin.
            Or the run itself, in any shape.
        origins: where queries and texts are; what is empty comes from the run's sidecar.
        reranker: a registered name.
        settings: of the reranker, as `load_reranker` takes them; the back end `auto` means the fastest one here.
        config: depth, hits, passages, budget, and the interpolation by a number; None: as `default_weights` has it.
        interpolate: `auto` for the rule that the model carries, or a file of `rrarank.tune`; empty: as `config` says.
        norm: refuse a rule or file for scores that are normalised otherwise; empty: as it says.
        output: the run to write; `-` is stdout; by default `<run>.<reranker>.trec` in the working folder.
        tag: of the run, 1-20 of A-Z a-z 0-9 _ . -; by default the reranker's name.
        skip_missing: keep candidates without text in first-stage order instead of refusing the job.
        remove_query: leave out the document whose docid is the qid, as ArguAna and Quora need.
        shard: the part of the queries to re-rank; by default all of them.
        ray: which workers of Ray score; by default this process.
        submission: write only what TREC would take.
        explain: write reasons for so many documents of each query.
        relevance: file for the probability of relevance of each re-ranked document; empty: none.
        overwrite: replace an existing output.
        dry_run: check everything and say what would be done.
    """

    run: RunLike
    origins: Origins = field(default_factory=Origins)
    reranker: str = registry.DEFAULT
    settings: Mapping[str, object] = field(default_factory=dict)
    config: RerankConfig = field(default_factory=RerankConfig)
    interpolate: str | Path = ""
    norm: str = ""
    output: str | Path = ""
    tag: str = ""
    skip_missing: bool = False
    remove_query: bool = False
    shard: Shard | None = None
    ray: RayConfig | None = None
    submission: bool = False
    explain: int = 0
    relevance: str | Path = ""
    overwrite: bool = False
    dry_run: bool = False

    @property
    def target(self) -> str:
        """The run to write."""
        part = self.shard.suffix if self.shard else ""
        return str(self.output) or f"{output_stem(run_name(self.run))}.{self.reranker}{part}.trec"

    @property
    def chooses_backend(self) -> bool:
        return self.settings.get("backend") == "auto"


def rerank_job(job: RerankJob) -> list[str]:
    """Re-rank a run and return the paths of the files written: none for stdout, a device or a dry run.

    Finished blocks of queries are kept in `<output>.journal`, so the same job goes on where it was stopped.

    Raises:
        RrarankError: the job contradicts itself, an input is malformed or missing, or the output exists.
        PartialSuccess: an LLM did not rank some queries; the run is written.
        MissingPrerequisite: a library is not installed.
        MissingResource: a model or data set is not within reach.
    """
    tag = check_tag(job.tag or job.reranker[:20])
    _check(job)
    _check_outputs(job, [])
    weights = read_weights(job.interpolate, job.norm, job.reranker, job.settings)
    job = replace(job, config=weights.settle(job.config, job.reranker))
    depth, part = job.config.depth, partial(_part, job)
    inputs = load_inputs(job.run, job.origins, depth=depth, skip_missing=job.skip_missing, part=part)
    first = inputs.origins.get("run"), inputs.run.tag
    weights = weights if job.config.interpolation else default_weights(*first, job.norm, job.reranker, job.settings)
    job = replace(job, config=with_kind(weights.settle(job.config, job.reranker), *first, is_part=bool(job.shard)))
    if warning := check_first_stage(inputs.run, depth, job.config.joining):
        say(warning)
    pairs = pairs_of(inputs, depth)
    if job.dry_run:
        _check_outputs(job, inputs.origins.values())
        say_plan(job.reranker, job.settings, inputs, pairs, depth, job.target)
        return []
    with _journal(job) as journal:
        _check_outputs(job, inputs.origins.values())  # again: another job may have written it meanwhile
        work = _load(job, tag, inputs, pairs, journal)
        weights.check_loaded(job.reranker, work.reranker.fingerprint())
        answers = AnswerCounts(work.reranker, journal)
        resumed, started = bool(journal), time.perf_counter()
        pace = _pace(work, journal)
        counts: Counter[str] = Counter()
        tops = _write(work, journal, pace, answers, counts)
        seconds = time.perf_counter() - started
        if isinstance(work.reranker, Explains) and job.explain:
            write_reasons(job.target, tops, work.reranker.explain, inputs.topics, inputs.texts)
        work.scored.finish(str(job.relevance))
        if journal is not None:
            _describe(work, seconds, pace, answers, counts["cut"])
            let_go(journal)
    say(_done(work, seconds, counts["cut"], is_pace=not (resumed or pace)))
    if verdicts := answers.total(inputs.run):
        say(f"{verdicts.total():,} answers ({described(verdicts)}){described_tokens(answers.tokens(inputs.run))}")
    if failure := answers.failure(inputs.run, [] if journal is None else _outputs(job)):
        raise failure
    return [] if journal is None else _outputs(job)


# -- checks -----------------------------------------------------------------------------------------------------------


def _check(job: RerankJob) -> None:
    """Refuse what can be refused before anything is read."""
    registry.check_known(job.reranker)
    if job.chooses_backend and job.settings.get("precision"):
        raise RrarankError("--precision with --backend auto: auto chooses both; give one of the two")
    if job.submission and job.target == STDIO:
        raise RrarankError("--submission checks the file before it appears; give --output FILE instead of -")
    if job.explain:
        _check_explain(job)
    check_place(str(job.relevance), job.target)
    if job.shard:
        _check_shard(job)
    if job.ray:
        _check_ray(job)


def _check_explain(job: RerankJob) -> None:
    if not is_file(job.target):
        raise RrarankError("--explain writes beside the run; give --output FILE")
    if not issubclass(registry.find_reranker(job.reranker), Explains):
        raise RrarankError(f"--explain: the reranker {job.reranker!r} gives scores and no reasons; rra-gpt does")


def _check_shard(job: RerankJob) -> None:
    """Refuse what each part would decide for itself, and what only the whole run can have."""
    given = {"--budget-ms": job.config.budget_ms, "--submission": job.submission, "--explain": job.explain}
    given |= {"--backend auto": job.chooses_backend, "--interpolate auto": job.interpolate == AUTO}
    if odd := [flag for flag, value in given.items() if value]:
        raise RrarankError(f"--shard with {odd[0]}: the parts would not make the whole; leave one of the two out")
    if not is_path(job.run) or str(job.run) == STDIO:
        raise RrarankError("--shard: rrarank.merge could not tell whether all read one run; give a file")
    if not is_file(job.target):
        raise RrarankError("--shard: rrarank.merge needs the part's sidecar; give --output FILE")


def _check_ray(job: RerankJob) -> None:
    check_installed("ray")
    if issubclass(registry.find_reranker(job.reranker), AsksLLM):
        raise RrarankError(f"--engine ray: {job.reranker} asks its LLM concurrently anyway; leave it out")
    if job.config.budget_ms:
        raise RrarankError("--engine ray with --budget-ms: the budget is of one process; leave one of the two out")
    if not is_file(job.target):
        raise RrarankError("--engine ray keeps finished blocks beside the run; give --output FILE")


def _check_outputs(job: RerankJob, inputs: Iterable[object]) -> None:
    """Keep what exists, unless it is this job's own, stopped just before its end."""
    overwrite = job.overwrite or is_unfinished(job.target)
    for output in _outputs(job):
        check_output(output, overwrite, inputs)


def _outputs(job: RerankJob) -> list[str]:
    relevance = [str(job.relevance)] if job.relevance else []
    return [job.target, *([reasons_path(job.target)] if job.explain else []), *relevance]


# -- the work ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Work:
    """A job whose inputs and model are loaded.

    Args:
        pairs: qid -> pairs to score.
        tried: what the back end `auto` measured.
        used: the interpolation, once it is known.
    """

    job: RerankJob
    tag: str
    inputs: Inputs
    pairs: Mapping[str, int]
    reranker: Reranker
    tried: Sequence[Mapping[str, object]]
    remote: RayBlocks | None
    scored: Scored
    used: list[Interpolation] = field(default_factory=list)


def _journal(job: RerankJob) -> AbstractContextManager[Journal | None]:
    """The journal, which also locks the output; None where no file is written."""
    what = f"finished blocks of {job.config.block_size} queries"
    return locked_journal(job.target, what) if is_file(job.target) else nullcontext()


def _load(job: RerankJob, tag: str, inputs: Inputs, pairs: Mapping[str, int], journal: Journal | None) -> _Work:
    settings = dict(job.settings)
    tried: Sequence[Mapping[str, object]] = ()
    if job.chooses_backend:
        from rrarank.rerankers.backends.auto import choose_backend

        choice = choose_backend(registry.configure(job.reranker, **settings), journal)
        say(f"--backend auto: {choice}")
        settings |= {"backend": choice.backend, "precision": choice.precision}
        tried = choice.tried
    reranker = registry.load_reranker(job.reranker, **settings)
    scored = Scored.by(reranker, job.config.floor, listed=bool(job.relevance))
    if isinstance(reranker, Explains) and job.explain:
        reranker.prepare_to_explain()  # it may be unable to: say so before hours of scoring
    remote = RayBlocks(job.reranker, settings, job.ray, job.config.passages) if job.ray else None
    return _Work(job, tag, inputs, pairs, reranker, tried, remote, scored)


def _pace(work: _Work, journal: Journal | None) -> Pace | None:
    """The pace that the budget needs: measured once a job, and kept when it goes on."""
    config, inputs = work.job.config, work.inputs
    if not config.budget_ms:
        return None
    key = note_key("pace", work.reranker.fingerprint())
    if journal is not None and key in journal:
        return Pace(*journal[key])
    pace = pace_of(inputs.run, work.reranker, topics=inputs.topics, texts=inputs.texts, config=config)
    if journal is not None:
        journal.add(key, astuple(pace))
    return pace


def _write(
    work: _Work, journal: Journal | None, pace: Pace | None, answers: AnswerCounts, counts: Counter[str]
) -> Mapping[str, Sequence[str]]:
    """Re-rank and write; returns the docids to explain: the first of each query."""
    job, inputs = work.job, work.inputs
    ranked = rerank_queries(
        inputs.run,
        work.reranker,
        topics=inputs.topics,
        texts=inputs.texts,
        config=job.config,
        journal=journal,
        pace=pace,
        remote=work.remote,
        counts=counts,
        scored=work.scored,
        settled=work.used.append,
    )
    tops: dict[str, list[str]] = {}

    def run() -> Iterator[tuple[str, Sequence[Hit]]]:
        with tqdm(total=sum(work.pairs.values()), unit=" pairs", disable=None) as bar:
            for qid, hits in ranked:
                bar.update(work.pairs[qid])
                if job.explain:
                    tops[qid] = [hit.docid for hit in hits[: job.explain]]
                yield qid, hits
        if not job.shard:  # other parts may hold queries that were ranked: rrarank.merge knows
            answers.check_any(inputs.run)

    # Whether an LLM ranked anything is known in the end, and what is on stdout cannot be taken back.
    found = list(run()) if isinstance(work.reranker, AsksLLM) else run()
    if job.submission:
        write_submission(Path(job.target), found, work.tag, inputs.topics)
    else:
        write_run(job.target, found, work.tag)
    return tops


def _describe(work: _Work, seconds: float, pace: Pace | None, answers: AnswerCounts, cut: int) -> None:
    job, reranker, qids = work.job, work.reranker, work.inputs.run
    verdicts = answers.total(qids)
    asked: dict[str, object] = {}
    if verdicts:
        asked = {"answers": dict(verdicts), "unranked": answers.unranked(qids), "tokens": answers.tokens(qids)}
    more = ({"shard": str(job.shard)} if job.shard else {}) | ({"remove_query": True} if job.remove_query else {})
    write_sidecar(
        Path(job.target),
        inputs=work.inputs.origins,
        config={"reranker": job.reranker, "tag": work.tag, **describe_config(job.config, work.used[0]), **more},
        model={"name": reranker.model_name, "fingerprint": reranker.fingerprint()},
        backend=reranker.config.backend,
        precision=reranker.config.precision,
        **({"tried": work.tried} if work.tried else {}),
        threads=work.remote.threads if work.remote else job.settings.get("threads"),
        **asked,
        **({"cut": cut} if cut else {}),
        without_text=len(work.inputs.missing),
        timings={"rerank_s": round(seconds, 3), **(asdict(pace) if pace else {})},
    )


def _done(work: _Work, seconds: float, cut: int, *, is_pace: bool) -> str:
    """What was done; with pairs per second if `is_pace`: the seconds are those of scoring every pair."""
    queries, pairs = len(work.inputs.run), sum(work.pairs.values())
    rate = f", {pairs / seconds:,.0f} pairs/s" if is_pace and work.pairs else ""
    done = f"{queries:,} queries, {pairs:,} pairs in {seconds:.1f} s{rate}, {len(work.inputs.missing):,} without text"
    return f"{done}, {cut:,} cut at the maximum length" if cut else done


def _part(job: RerankJob, run: Run) -> Run:
    """The queries and hits of the run that the job is about."""
    if job.remove_query:
        run = without_own_documents(run)
    return job.shard.part(run, job.config.block_size) if job.shard else run
