"""The labelling job: a run and its texts in, a distillation set out."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, overload

from tqdm import tqdm

from rrarank.cli.llm import cost, follow, is_partial, show_question, unanswered
from rrarank.cli.verbs import locked_journal
from rrarank.data.distillation_set import teacher_name, write_set
from rrarank.data.run_files import read_run_file
from rrarank.data.shapes import RunLike, TextsLike, run_name
from rrarank.data.types import LabelledRanking, Run
from rrarank.engine import registry
from rrarank.engine.blocks import RemoteScorer
from rrarank.engine.ray import RayBlocks
from rrarank.engine.reranker import Reranker
from rrarank.errors import PartialSuccess, RrarankError, did_you_mean, say, shown
from rrarank.label.audit import audit
from rrarank.label.config import LabelJob, LLMTeacherConfig, TeacherConfig
from rrarank.label.ensemble import FIRST_STAGE, Ensemble, EnsembleConfig, FirstStageScores
from rrarank.label.llm_teacher import TOKENS_A_REASON, LLMTeacher
from rrarank.label.selection import StoredEmbeddings, choose_lists
from rrarank.label.teacher import FusedRuns, RerankerTeacher, ScorerConfig, Teacher
from rrarank.llm.base import LLMConfig, public_name
from rrarank.llm.load import load_llm
from rrarank.llm.prompts import load_prompt
from rrarank.llm.questions import PromptedLLM
from rrarank.sources.dense import DenseIndex, check_same_model
from rrarank.sources.inputs import Inputs, Origins, load_inputs
from rrarank.storage.files import find, is_file, output_stem, stem
from rrarank.storage.journal import Journal
from rrarank.storage.sidecar import check_output, sidecar_path, write_sidecar


@overload
def label_run(job: LabelJob) -> list[str]: ...
@overload
def label_run(
    job: RunLike,
    teacher: TeacherConfig,
    *,
    topics: TextsLike = "",
    collection: TextsLike = "",
    **settings: Any,
) -> list[str]: ...
def label_run(
    job: LabelJob | RunLike,
    teacher: TeacherConfig | None = None,
    *,
    topics: TextsLike = "",
    collection: TextsLike = "",
    **settings: Any,
) -> list[str]:
    """Write the distillation set and return its path: nothing for stdout or a dry run.

        >>> rrarank.label_run(run, rrarank.ScorerConfig("monot5"), topics=queries, collection=texts, output="set.jsonl")

    Answers are journaled: a job that was stopped, or that some answers failed, continues when it is run again.

    Args:
        job: the whole job; or the run, and then what the job needs besides.
        topics, collection: as fields of `Origins`.
        settings: other fields of `LabelJob`.

    Raises:
        RrarankError: bad input; PartialSuccess: some queries have no answer, the others are written.
    """
    if not isinstance(job, LabelJob):
        known = [one.name for one in fields(LabelJob)]
        if unknown := [name for name in settings if name not in known]:
            hint = did_you_mean(unknown[0], known)
            raise RrarankError(f"label_run: no setting {unknown[0]!r}{hint} (known: {', '.join(known)})")
        origins = Origins(topics, collection)
        if teacher is None:
            load_inputs(job, origins, skip_missing=True, command="label")  # its faults come first
            raise RrarankError("label_run: no teacher; give one after the run, or a LabelJob")
        job = LabelJob(job, teacher, origins, **settings)
    return _label(job)


def _label(job: LabelJob) -> list[str]:
    job = replace(job, output=job.output or f"{output_stem(run_name(job.run))}.{job.teacher_name}.jsonl")
    _check(job)
    config = _config(job)
    used = [find(path) for path in _files(job).values() if Path(path).is_file()]
    check_output(job.output, job.overwrite or is_partial(job.output, config), used, packed=True)
    inputs = load_inputs(
        job.run, job.origins, depth=job.selection.depth, skip_missing=job.skip_missing, command="label"
    )
    check_output(job.output, True, inputs.origins.values(), packed=True)
    with ExitStack() as stack:
        is_kept = is_file(job.output) and not job.dry_run
        folder = Path(job.output).parent if is_kept else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        journal = stack.enter_context(locked_journal(folder / Path(job.output).name, "records"))
        teacher = _load_teacher(job, journal, inputs.run)
        lists = _lists(job, inputs, teacher, journal)
        if job.dry_run:
            _say_estimate(job, teacher, lists)
            return []
        labels = _ask(job, teacher, lists)
        failed = [shown.query.qid for shown, label in zip(lists, labels, strict=True) if label is None]
        made = [label for label in labels if label is not None]
        written = [job.output] if made and is_file(job.output) else []
        message = unanswered("queries", failed, teacher.failures, job.output)
        failure = PartialSuccess(message, written) if failed else None
        if not made:
            raise failure or RrarankError(
                f"{run_name(job.run)}: no query has a candidate with a text; nothing to label"
            )
        _write(job, inputs, config, made, failed)
        if not failed and (others := journal.remove_used()):
            say(f"{journal.path} stays: {others:,} of its records are of another job")
    if failure:
        raise failure
    return written


# -- before anything is asked -----------------------------------------------------------------------------------------


def _check(job: LabelJob) -> None:
    """Raise what is wrong with the job before the texts are read, which may take minutes."""
    if "listwise-llm" in (job.teacher_name, job.preranker.name):
        raise RrarankError(
            "listwise-llm cannot be teacher or pre-ranker: it re-appends omitted documents; use an LLM (--teacher llm)"
        )
    known = ["llm", "runs", *registry.names(), Ensemble.kind]
    if job.teacher_name not in known:
        hint = did_you_mean(job.teacher_name, known)
        raise RrarankError(f"no teacher named {job.teacher_name!r}{hint} (known: {', '.join(known)})")


def _config(job: LabelJob) -> dict[str, object]:
    """The settings that decide what is in the set."""
    config: dict[str, object] = {
        "limit": job.limit or None,
        "teacher": job.teacher_name,
        "preranker": job.preranker.name,
        "selection": asdict(job.selection),
    }
    if isinstance(job.teacher, LLMTeacherConfig):
        model, reasons = public_name(job.teacher.llm.model), job.teacher.explainer is not None
        return config | {"model": model, "prompt": job.teacher.prompt, "reasons": reasons}
    if isinstance(job.teacher, EnsembleConfig):
        names = [[member.name, public_name(member.model)] for member in job.teacher.members]
        return config | {"teachers": names, "weights": list(job.teacher.weights)}
    return config | ({"model": public_name(job.teacher.model)} if isinstance(job.teacher, ScorerConfig) else {})


def _files(job: LabelJob) -> dict[str, str]:
    """name -> path of each file or index that the job reads beside run, topics and texts."""
    paths = {"preranker-index": job.preranker.index}
    if isinstance(job.teacher, LLMTeacherConfig):
        paths["prompt"] = job.teacher.prompt
        if job.teacher.explainer:
            paths["reason-prompt"] = job.teacher.explainer_prompt
    elif isinstance(job.teacher, ScorerConfig):
        paths["teacher-index"] = job.teacher.index
    elif not isinstance(job.teacher, EnsembleConfig):
        paths |= {f"teacher-run-{number}": str(find(run, "runs")) for number, run in enumerate(job.teacher, start=1)}
    return {name: path for name, path in paths.items() if path and Path(path).exists()}


def _load_teacher(job: LabelJob, journal: Journal, run: Run) -> Teacher:
    if isinstance(job.teacher, EnsembleConfig):
        members = [
            FirstStageScores(run) if member.name == FIRST_STAGE else _reranker_teacher(job, member, journal)
            for member in job.teacher.members
        ]
        return Ensemble(members, job.teacher.weights)
    if isinstance(job.teacher, ScorerConfig):
        return _reranker_teacher(job, job.teacher, journal)
    if isinstance(job.teacher, LLMTeacherConfig):
        config = job.teacher
        ranker = _prompted(config, config.llm, config.prompt)
        explainer = _prompted(config, config.explainer, config.explainer_prompt) if config.explainer else None
        return LLMTeacher(ranker, journal, explainer)
    names = Counter(stem(run) for run in job.teacher)
    if twice := [name for name, count in names.items() if count > 1]:
        raise RrarankError(f"teacher (--teacher-runs): several are named {shown(twice)}; rename one")
    return FusedRuns({stem(run): read_run_file(find(run, "runs")).run for run in job.teacher})


def _reranker_teacher(job: LabelJob, scorer: ScorerConfig, journal: Journal) -> RerankerTeacher:
    return RerankerTeacher(_load(job, scorer), scorer.name, journal, _remote(job, scorer))


def _prompted(config: LLMTeacherConfig, llm: LLMConfig, prompt: str) -> PromptedLLM:
    return PromptedLLM(load_llm(llm), load_prompt(prompt), stem(prompt), config.passage_tokens, config.context)


def _load(job: LabelJob, scorer: ScorerConfig) -> Reranker:
    reranker = registry.load_reranker(scorer.name, **_settings(job, scorer))
    if not scorer.index:
        return reranker
    from rrarank.rerankers.bi_encoder import BiEncoder

    if not isinstance(reranker, BiEncoder):
        raise RrarankError(f"{scorer.index}: only a bi-encoder can use embeddings, not {scorer.name}")
    index = Path(scorer.index)
    check_same_model(index, reranker.model_name, reranker.model_fingerprint)
    return StoredEmbeddings(DenseIndex(index), reranker, reranker.model_name)


def _settings(job: LabelJob, scorer: ScorerConfig) -> dict[str, object]:
    settings = {"device": job.device, "batch_size": job.batch_size, "threads": job.threads, "model": scorer.model}
    return {name: value or None for name, value in settings.items()}


def _remote(job: LabelJob, scorer: ScorerConfig) -> RemoteScorer | None:
    """Ray's workers; None where stored embeddings or the first stage already have the scores."""
    if job.ray is None or scorer.index or scorer.name == "bm25":
        return None
    return RayBlocks(scorer.name, _settings(job, scorer), job.ray)


def _lists(job: LabelJob, inputs: Inputs, teacher: Teacher, journal: Journal) -> list[LabelledRanking]:
    """All lists, before the first question: an endpoint should not wait for the pre-ranker."""
    preranker = _load(job, job.preranker)
    if isinstance(teacher, RerankerTeacher) and _judge(preranker) == _judge(teacher.reranker):
        raise RrarankError(f"{job.preranker.name} is pre-ranker and teacher; give two different rerankers")
    chosen = choose_lists(
        Run(dict(islice(inputs.run.items(), job.limit or None)), inputs.run.tag),
        preranker,
        topics=inputs.topics,
        texts=inputs.texts,
        selection=job.selection,
        journal=journal,
        remote=_remote(job, job.preranker),
    )
    facts = {"preranker": preranker.model_name or job.preranker.name, "selection": asdict(job.selection)}
    return [
        replace(listed, provenance={**listed.provenance, **facts})
        for listed in tqdm(chosen, unit=" queries pre-ranked", disable=None)
    ]


def _judge(reranker: Reranker) -> str:
    """The fingerprint of the model that scores, whether or not its embeddings are stored."""
    encoder = reranker.encoder if isinstance(reranker, StoredEmbeddings) else reranker
    return encoder.fingerprint() if isinstance(encoder, Reranker) else ""


# -- asking and writing -----------------------------------------------------------------------------------------------


def _ask(job: LabelJob, teacher: Teacher, lists: Sequence[LabelledRanking]) -> list[LabelledRanking | None]:
    """The labels; answers received before an error are kept."""
    try:
        follow(teacher.ask(lists), job.price, teacher.verdicts)
    except RrarankError as error:
        labels = [teacher.label(shown) for shown in lists]
        if not any(labels):
            raise
        say(f"stopped asking: {error}")
        return labels
    return [teacher.label(shown) for shown in lists]


def _write(
    job: LabelJob,
    inputs: Inputs,
    config: Mapping[str, object],
    made: Sequence[LabelledRanking],
    failed: Sequence[str],
) -> None:
    def labels() -> Iterator[LabelledRanking]:
        yield from made
        if is_file(job.output):  # the old sidecar describes another set; without one, a killed job can continue
            sidecar_path(job.output).unlink(missing_ok=True)

    write_set(job.output, labels())
    if is_file(job.output):
        places = {**inputs.origins, **{name: Path(path) for name, path in _files(job).items()}}
        facts = {"teacher": teacher_name(made[0]), "provenance": _shared_provenance(made), "failed": failed}
        write_sidecar(Path(job.output), inputs=places, config=config, **facts)
    verdicts = Counter(label.verdict for label in made).most_common()
    counts = ", ".join(f"{verdict} {count:,}" for verdict, count in verdicts)
    parts = (
        f"{sum(len(getattr(label, name)) for label in made):,} {name}" for name in ("listed", "missing", "unknown")
    )
    say(f"{len(made):,} of {len(inputs.run):,} queries labelled ({counts}): {', '.join(parts)}")
    if 2 * sum(not label.listed for label in made) > len(made):
        say("warning: most answers contain no ranking; this teacher does not follow the prompt")
    if audit(made, {}).echoes:
        say("warning: most lists came back in the order in which they were shown; this teacher does not read them")


def _shared_provenance(labels: Sequence[LabelledRanking]) -> dict[str, object]:
    """The provenance that all labels share."""
    first, *others = (label.provenance for label in labels)
    return {name: fact for name, fact in first.items() if all(other.get(name) == fact for other in others)}


def _say_estimate(job: LabelJob, teacher: Teacher, lists: Sequence[LabelledRanking]) -> None:
    """--dry-run."""
    tokens = Counter[str]()
    if isinstance(teacher, LLMTeacher):
        questions = [(one.query.text, [candidate.text for candidate in one.shown]) for one in lists]
        for question in questions[:1]:
            show_question(teacher.ranker.question(*question)[1])
        for query, passages in questions:
            asked, answered = teacher.ranker.tokens(query, passages)
            tokens.update(prompt=asked, answer=answered)
            if teacher.explainer:
                asked, _ = teacher.explainer.tokens(query, passages)
                tokens.update(prompt=asked + answered, answer=TOKENS_A_REASON * len(passages))
    say(f"would label {len(lists):,} queries with the teacher {job.teacher_name}")
    if tokens:
        about = f"about {tokens['prompt']:,} tokens asked and {tokens['answer']:,} answered"
        say(f"{about}{cost(tokens, job.price)} (estimated)")
