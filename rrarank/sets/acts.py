"""What can be done with a distillation set: one function per act of `python -m rrarank.sets`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from rrarank.cli.llm import FREE, follow, is_partial, unanswered
from rrarank.cli.verbs import locked_journal
from rrarank.data.distillation_set import find_faults, read_set, split, teacher_name, write_rows, write_set
from rrarank.data.run_files import write_qrels
from rrarank.data.trec import check_tag, write_run
from rrarank.data.types import LabelledRanking
from rrarank.errors import PartialSuccess, RrarankError, say
from rrarank.llm.base import LLMConfig, public_name
from rrarank.llm.load import load_llm
from rrarank.llm.prompts import load_prompt
from rrarank.llm.questions import PromptedLLM
from rrarank.measures.significance import SEED
from rrarank.sets.explaining import Explainer, choose_documents
from rrarank.sets.exports import Contrast, Row, flagembedding_rows, run_hits, sentence_transformers_rows, tevatron_rows
from rrarank.sets.grades import Steps, grade
from rrarank.sets.judged import judged
from rrarank.sources.names import file_or_id
from rrarank.sources.texts import load_qrels
from rrarank.storage.files import find, is_file
from rrarank.storage.sidecar import check_output, sidecar_path, write_sidecar

MAX_FAULTS = 20
_ROWS: dict[str, Callable[[Iterable[LabelledRanking], Contrast], Iterator[Row]]] = {
    "sentence-transformers": lambda labels, _: sentence_transformers_rows(labels),
    "flagembedding": flagembedding_rows,
    "tevatron": tevatron_rows,
}
FORMATS = (*_ROWS, "trec")


def validate_set(path: str) -> int:
    """The number of queries of a set without faults.

    Raises:
        RrarankError: the set has faults; it names the first 20.
    """
    file = find(path)
    faults = list(islice(find_faults(file), MAX_FAULTS + 1))
    if faults:
        more = ["… and more"] if len(faults) > MAX_FAULTS else []
        raise RrarankError("\n".join([f"{file}: not fit to train on", *faults[:MAX_FAULTS], *more]))
    return len(read_set(file))


def split_set(
    path: str, outputs: tuple[str, str], *, share: float = 0.1, seed: int = SEED, overwrite: bool = False
) -> None:
    """Write about a `share` of the queries to the second output and the others to the first."""
    file, labels = _open(path, outputs, overwrite, packed=True)
    first, second = (Path(output).resolve() for output in outputs)
    if first in (second, sidecar_path(second)) or second == sidecar_path(first):
        raise RrarankError(f"--output: {' and '.join(outputs)} would replace each other; expected two files")
    parts = dict(zip(outputs, split(labels, share, seed), strict=True))
    if empty := [output for output, part in parts.items() if not part]:
        raise RrarankError(f"{file}: none of its {len(labels):,} queries goes to {empty[0]}; give another --share")
    for output, part in parts.items():
        write_set(output, part)
        _describe(output, file, part, {"share": share, "seed": seed, "held_out": output == outputs[1]})


@dataclass(frozen=True)
class ExportConfig:
    """How a set is exported.

    Args:
        to: one of `FORMATS`.
        contrast: positives and negatives, for FlagEmbedding and tevatron.
        unknown: put unknown documents below the missing ones in a TREC run; False: leave them out.
        runtag: tag of a TREC run.
    """

    to: str
    contrast: Contrast = field(default_factory=Contrast)
    unknown: bool = False
    runtag: str = "teacher"


def export_set(path: str, output: str, config: ExportConfig, *, overwrite: bool = False) -> None:
    """Write a set in another tool's training format, or as a TREC run."""
    if config.to not in FORMATS:
        raise RrarankError(f"no format named {config.to!r} (known: {', '.join(FORMATS)})")
    tag = check_tag(config.runtag)
    file, labels = _open(path, [output], overwrite, packed=config.to != "trec")
    if config.to == "trec":
        if not any(hits for _, hits in run_hits(labels, unknown=config.unknown)):
            raise RrarankError(f"{file}: none of its {len(labels):,} queries has a label; the run would be empty")
        write_run(output, run_hits(labels, unknown=config.unknown), tag)
        return _describe(output, file, labels, {"to": config.to, "unknown": config.unknown})
    contrast = config.contrast
    rows = list(_ROWS[config.to](labels, contrast))
    if not rows:
        hint = "" if contrast.below else "; with --below, documents listed after the first --positives are negative"
        raise RrarankError(
            f"{file}: none of its {len(labels):,} queries has both positive and negative documents{hint}"
        )
    write_rows(output, rows)
    say(f"{output}: {len(rows):,} of {len(labels):,} queries")
    _describe(output, file, labels, {"to": config.to, "positives": contrast.positives, "below": contrast.below})


def grade_set(path: str, output: str, steps: Steps | None = None, *, overwrite: bool = False) -> None:
    """Write the labels of a set as judgments; the file's suffix decides the format."""
    file, labels = _open(path, [output], overwrite)
    steps = steps or Steps()
    grades = {qid: found for qid, found in grade(labels, steps).items() if found}
    if not grades:
        raise RrarankError(f"{file}: none of its {len(labels):,} queries has a label, so there are no judgments")
    write_qrels(output, grades)
    _describe(output, file, labels, {"grades": str(steps)})


def judge_set(path: str, output: str, qrels: str, *, overwrite: bool = False) -> list[LabelledRanking]:
    """Add people's grades to a set and write the queries that show a relevant document."""
    place = file_or_id(qrels, "qrels")
    check_output(output, overwrite, [place], packed=True)
    file, labels = _open(path, [output], overwrite, packed=True)
    found = list(judged(labels, load_qrels(place)))
    if not found:
        raise RrarankError(f"{file}: {qrels} judges no document of its {len(labels):,} queries relevant")
    write_set(output, found)
    say(f"{output}: {len(found):,} of {len(labels):,} queries show a relevant document")
    _describe(output, file, found, {}, {"qrels": place})
    return found


@dataclass(frozen=True)
class ExplainConfig:
    """How reasons are asked for.

    Args:
        llm: the model.
        prompt: name of a shipped prompt, or a YAML file with rank_llm's keys; it is filled with one passage.
        most: maximum number of documents per query, relevant ones first.
        seed: draws the irrelevant documents.
        price: cost of a million tokens asked and of a million answered.
    """

    llm: LLMConfig
    prompt: str = "verdict-reason"
    most: int = 7
    seed: int = SEED
    price: Sequence[float] = FREE


def explain_set(path: str, output: str, config: ExplainConfig, *, overwrite: bool = False) -> list[LabelledRanking]:
    """Ask an LLM for a reason for each verdict and write the set with the reasons.

    Answers are journaled: a job that was stopped, or that some answers failed, continues when it is run again.

    Raises:
        RrarankError: bad input; PartialSuccess: some documents have no answer, the others are written.
    """
    from rrarank.data.verdicts import ReasoningConfig, answers  # pydantic, which --help does not need

    if not is_file(output):
        raise RrarankError("explain keeps its answers beside the set; give --output FILE")
    settings = {"most": config.most, "seed": config.seed, "prompt": config.prompt}
    settings |= {"model": public_name(config.llm.model)}
    file, labels = _open(path, [output], overwrite or is_partial(output, settings), packed=True)
    prompted = PromptedLLM(load_llm(config.llm), load_prompt(config.prompt), config.prompt)
    wanted = []
    for label in labels:
        verdicts = {docid: answer.relevant for docid, answer in answers(label, ReasoningConfig()).items()}
        wanted.append((label, choose_documents(label, verdicts, config.most, config.seed)))
    with locked_journal(output, "answers") as journal:
        explainer = Explainer(prompted, journal)
        failures = follow(explainer.ask(wanted), config.price)
        failed, explained = sorted(failures), [explainer.explained(*one) for one in wanted]
        write_set(output, explained)
        _describe(output, file, explained, settings, facts={"failed": failed})
        reasons, pairs = sum(len(one.reasons) for one in explained), sum(len(verdicts) for _, verdicts in wanted)
        say(f"{output}: {reasons:,} of {pairs:,} reasons")
        if failed:
            raise PartialSuccess(unanswered("documents", failed, failures, output))
        journal.remove_used()
    return explained


def _open(
    path: str, outputs: Sequence[str], overwrite: bool, *, packed: bool = False
) -> tuple[Path, list[LabelledRanking]]:
    file = find(path)
    for output in outputs:
        check_output(output, overwrite, [file], packed=packed)
    return file, read_set(file)


def _describe(
    output: str,
    file: Path,
    labels: Sequence[LabelledRanking],
    config: Mapping[str, object],
    inputs: Mapping[str, str | Path] | None = None,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write the sidecar; its `teacher` tells `evaluate` when a model is measured by its own teacher's judgments."""
    if not is_file(output):
        return
    teachers = sorted({teacher_name(label) for label in labels} - {""})
    facts = {"config": config, "teacher": "; ".join(teachers), **(facts or {})}
    write_sidecar(Path(output), inputs={"set": file, **(inputs or {})}, **facts)
