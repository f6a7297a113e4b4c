"""The judging job: runs, judgments and texts in; the grades of an LLM out, as qrels that say who judged."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tabulate import tabulate

from rrarank.cli.llm import FREE, cost, follow, is_partial, show_question, unanswered
from rrarank.cli.verbs import locked_journal
from rrarank.data.judges import judge_mark, write_llm_qrels
from rrarank.errors import MissingResource, PartialSuccess, RrarankError, say, shown
from rrarank.judge.inputs import JudgeInputs, Pooling, load_judge_inputs
from rrarank.judge.pool import Pair
from rrarank.llm.base import Answer, Failure, LLMConfig, public_name
from rrarank.llm.grade_answers import HIGHEST, GradeReading, read_grade
from rrarank.llm.grader import TOKENS_A_GRADE, Grader, load_grade_prompt
from rrarank.llm.load import load_llm
from rrarank.llm.questions import ask_unrecorded, is_complete, recorded_answer
from rrarank.measures.kappa import JudgeAgreement, judge_agreement
from rrarank.measures.measure import parse_measures
from rrarank.measures.numbers import json_values
from rrarank.sources.inputs import Origins
from rrarank.storage.files import find, is_file, output_stem
from rrarank.storage.journal import Journal
from rrarank.storage.sidecar import check_output, sidecar_path, write_sidecar


@dataclass(frozen=True)
class JudgeJob:
    """What `judge_run` does.

    Args:
        llm: the model that grades.
        qrels: people's judgments, a file or Pyserini's name; empty: none, every pooled document is graded.
        runs: the systems whose top documents are pooled.
        pooling: which documents are graded.
        origins: queries and texts; empty: as the runs' sidecars say.
        prompt: name of a shipped prompt, or a YAML file.
        passage_tokens: maximum number of tokens of a passage.
        rel_level: lowest relevant grade, for the binary kappa.
        measure: ranks the systems, for Kendall's tau.
        output: the qrels to write; empty: `<qrels>.llm.txt`, or `<qrels>.llm-sample.txt`; `-` is stdout.
        skip_missing: leave out documents without text and queries without topic instead of refusing the job.
        price: cost of a million tokens asked and of a million answered.
        dry_run: count questions and tokens, print the first prompt and stop.
    """

    llm: LLMConfig
    qrels: str = ""
    runs: Sequence[str] = ()
    pooling: Pooling = field(default_factory=Pooling)
    origins: Origins = field(default_factory=Origins)
    prompt: str = "umbrela"
    passage_tokens: int = Grader.passage_tokens
    rel_level: int = 2
    measure: str = "ndcg@10"
    output: str = ""
    skip_missing: bool = False
    overwrite: bool = False
    price: Sequence[float] = FREE
    dry_run: bool = False


def judge_run(job: JudgeJob) -> list[str]:
    """Write an LLM's judgments and return their path: nothing for stdout or a dry run.

    With a sample of judged documents, the sidecar holds the agreement with people's judgments. Answers are journaled: a
    job that was stopped, or that some answers failed, continues when it is run again.

    Raises:
        RrarankError: bad input; PartialSuccess: some documents have no grade, the others are written; MissingResource:
            no answer holds a grade.
    """
    job = replace(job, output=job.output or _default_output(job))
    config = _config(job)
    check_output(job.output, job.overwrite or is_partial(job.output, config), [])
    _check_format(job.output)
    _check_agreement(job)
    prompt = load_grade_prompt(job.prompt)
    inputs = load_judge_inputs(job.qrels, job.runs, job.origins, job.pooling, skip_missing=job.skip_missing)
    check_output(job.output, True, inputs.origins.values())
    grader = Grader(load_llm(job.llm), prompt, job.passage_tokens)
    if job.dry_run:
        _say_estimate(job, grader, inputs)
        return []
    with ExitStack() as stack:
        folder = Path(job.output).parent
        if not is_file(job.output):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        journal = stack.enter_context(locked_journal(folder / Path(job.output).name, "answers"))
        work = _Work(job, grader, inputs, journal)
        failures = work.ask()
        return work.finish(failures, config)


def _default_output(job: JudgeJob) -> str:
    name = output_stem(job.qrels or next(iter(job.runs), "judgments"))
    return f"{name}.llm.txt" if job.pooling.unjudged else f"{name}.llm-sample.txt"


def _check_format(output: str) -> None:
    if Path(output).suffix in (".json", ".jsonl", ".tsv"):
        raise RrarankError(f"{output}: only TREC qrels say who judged; give a name such as judgments.llm.txt")


def _check_agreement(job: JudgeJob) -> None:
    """Refuse wrong settings of the agreement before the LLM is asked."""
    parse_measures([job.measure])
    if not 1 <= job.rel_level <= HIGHEST:
        raise RrarankError(f"--rel-level {job.rel_level}: the LLM's grades go from 0 to {HIGHEST}; give 1 to {HIGHEST}")


def _config(job: JudgeJob) -> dict[str, object]:
    """The settings that decide what is in the judgments."""
    names = ("prompt", "passage_tokens", "rel_level", "measure")
    settings = {name: getattr(job, name) for name in names}
    return {"model": public_name(job.llm.model), **settings, **asdict(job.pooling)}


class _Work:
    """The questions of a job and their answers in its journal."""

    def __init__(self, job: JudgeJob, grader: Grader, inputs: JudgeInputs, journal: Journal) -> None:
        self.job, self.grader, self.inputs, self.journal = job, grader, inputs, journal
        self.readings: Counter[str] = Counter()  # of the answers received now

    def key(self, pair: Pair) -> str:
        return self.grader.question(self.inputs.topics[pair.qid], self.inputs.texts[pair.docid])[0]

    def ask(self) -> dict[str, Failure]:
        """Ask what the journal lacks; (qid docid) -> why there is no answer. Answers received before an error stay."""
        try:
            return follow(self._outcomes(), self.job.price, self.readings)
        except RrarankError as error:
            if not any(self.key(pair) in self.journal for pair in self.inputs.pairs):
                raise
            say(f"stopped asking: {error}")
            return {}

    def _outcomes(self) -> Iterator[tuple[str, Answer | Failure]]:
        topics, texts = self.inputs.topics, self.inputs.texts
        questions = ((pair, *self.grader.question(topics[pair.qid], texts[pair.docid])) for pair in self.inputs.pairs)
        for pair, outcome in ask_unrecorded(self.grader.llm, self.journal, questions):
            if isinstance(outcome, Answer):
                self.readings[_read(outcome).fault or "graded"] += 1
            yield " ".join(pair), outcome

    def finish(self, failures: Mapping[str, Failure], config: Mapping[str, object]) -> list[str]:
        """Read the answers, write the judgments, and raise what is missing."""
        job, pairs = self.job, self.inputs.pairs
        answers = {pair: answer for pair in pairs if (answer := recorded_answer(self.journal, self.key(pair)))}
        readings = {pair: _read(answer) for pair, answer in answers.items()}
        grades = {pair: reading.grade for pair, reading in readings.items() if reading.grade is not None}
        failed = [" ".join(pair) for pair in pairs if pair not in answers]
        faults = Counter(reading.fault for reading in readings.values() if reading.fault)
        if answers and not grades:
            self.journal.remove()  # else the next try would read the same answers
            raise MissingResource(
                f"{self.grader.name} graded none of {len(answers):,} documents ({_described(faults)}); nothing is "
                "written. Give the model more room (--max-tokens N), turn its thinking off, or use another"
            )
        written = [job.output] if grades and is_file(job.output) else []
        if grades:
            facts = {"failed": failed, "faults": dict(faults)}
            agreement = self._agreement(grades, [pair for pair, reading in readings.items() if reading.fault])
            self._write(grades, agreement, config, facts | {"llm": self.grader.provenance(answers.values())})
        if failed and not grades:
            reason = Counter(one.reason for one in failures.values()).most_common(1)
            raise MissingResource(
                f"{self.grader.name} graded none of {len(failed):,} documents"
                f"{f' (mostly: {reason[0][0]})' if reason else ''}; nothing is written"
            )
        if failed:
            raise PartialSuccess(unanswered("documents", failed, failures, job.output), written)
        if others := self.journal.remove_used():
            say(f"{self.journal.path} stays: {others:,} of its records are of another job")
        if faults:
            ungraded = [" ".join(pair) for pair, reading in readings.items() if reading.fault]
            raise PartialSuccess(
                f"{len(ungraded):,} answers hold no grade ({_described(faults)}: {shown(ungraded)}); these documents "
                "stay unjudged",
                written,
            )
        return written

    def _write(
        self,
        grades: Mapping[Pair, int],
        agreement: JudgeAgreement | None,
        config: Mapping[str, object],
        facts: Mapping[str, object],
    ) -> None:
        job, output = self.job, Path(self.job.output)
        if is_file(job.output):
            sidecar_path(job.output).unlink(missing_ok=True)  # it describes other judgments
        mark = judge_mark(self.grader.name)
        write_llm_qrels(job.output, _qrels(grades), mark)
        if is_file(job.output):
            prompt = {"prompt": find(job.prompt)} if Path(job.prompt).is_file() else {}
            facts = {**facts, "judge": mark, "teacher": f"llm: {self.grader.name}"}  # as `label` names it
            facts |= {"agreement": described_agreement(agreement)} if agreement else {}
            write_sidecar(output, inputs={**self.inputs.origins, **prompt}, config=config, **facts)
        counts = Counter(grades.values())
        listed = ", ".join(f"grade {grade}: {counts[grade]:,}" for grade in range(HIGHEST + 1))
        say(f"{len(grades):,} of {len(self.inputs.pairs):,} documents graded ({listed})")
        for line in agreement_lines(agreement) if agreement else ():
            say(line)

    def _agreement(self, grades: Mapping[Pair, int], ungraded: Sequence[Pair]) -> JudgeAgreement | None:
        """With people's judgments, over the sample."""
        sampled = {pair: grade for pair, grade in grades.items() if pair in self.inputs.sampled}
        if not self.inputs.sampled:
            return None
        job = self.job
        return judge_agreement(
            self.inputs.judgments.people,
            _qrels(sampled),
            self.inputs.runs,
            level=job.rel_level,
            measure=job.measure,
            seed=job.pooling.seed,
            ungraded=sum(pair in self.inputs.sampled for pair in ungraded),
        )


def _read(answer: Answer) -> GradeReading:
    return read_grade(answer.text, finished=is_complete(answer))


def _qrels(grades: Mapping[Pair, int]) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for (qid, docid), grade in grades.items():
        qrels.setdefault(qid, {})[docid] = grade
    return qrels


def _described(faults: Mapping[str, int]) -> str:
    return ", ".join(f"{fault} {count:,}" for fault, count in Counter(faults).most_common())


# -- what is said -----------------------------------------------------------------------------------------------------


def described_agreement(found: JudgeAgreement) -> dict[str, object]:
    """The agreement as JSON values, with its verdict."""
    return {**json_values(asdict(found)), "verdict": found.verdict, "sentence": found.sentence}


def agreement_lines(found: JudgeAgreement) -> Iterator[str]:
    """The confusion matrix, kappas and tau, and the verdict."""
    yield f"agreement with the assessors on {found.pairs:,} documents of {found.queries:,} queries:"
    head = ["assessors", *(f"LLM {grade}" for grade in range(HIGHEST + 1))]
    rows = [[f"grade {grade}", *row] for grade, row in enumerate(found.confusion)]
    yield from tabulate(rows, headers=head, tablefmt="simple").splitlines()
    yield f"Cohen's kappa {found.kappa}, quadratic {found.quadratic}, binary {found.binary}"
    people, judge = found.levels
    yield (
        f"binary: the assessors' grades from {people} on, the LLM's from {judge} on; "
        "in brackets 95% intervals, over queries"
    )
    if found.order and not math.isnan(found.order.tau.value):
        order = found.order
        yield f"Kendall's tau of {order.systems} systems by {order.measure} on these documents alone: {order.tau}"
    yield found.sentence


def _say_estimate(job: JudgeJob, grader: Grader, inputs: JudgeInputs) -> None:
    """--dry-run."""
    asked = dict(grader.question(inputs.topics[pair.qid], inputs.texts[pair.docid]) for pair in inputs.pairs)
    show_question(next(iter(asked.values())))
    tokens = {"prompt": sum(map(grader.tokens, asked.values())), "answer": TOKENS_A_GRADE * len(asked)}
    judged = len(inputs.sampled)
    say(f"would grade {len(inputs.pairs) - judged:,} unjudged and {judged:,} judged documents")
    about = f"about {tokens['prompt']:,} tokens asked and {tokens['answer']:,} answered"
    say(f"{len(asked):,} questions, {about}{cost(tokens, job.price)} (estimated)")
