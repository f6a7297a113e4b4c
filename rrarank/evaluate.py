"""Measure runs against judgments and test their differences. `python -m rrarank.evaluate`"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.data.judges import Judgments, joined, model_of, read_llm_qrels
from rrarank.data.own_documents import REMOVE_QUERY, finding_themselves, own_documents_note
from rrarank.data.run_files import read_run_file
from rrarank.data.types import Qrels, Run
from rrarank.errors import RrarankError, printable, say, shown
from rrarank.measures.conclusions import by_two
from rrarank.measures.evaluation import Evaluation
from rrarank.measures.figures import SUFFIXES as FIGURES
from rrarank.measures.figures import plot_differences
from rrarank.measures.measure import level_note, measure_names, parse_measures
from rrarank.measures.numbers import json_values
from rrarank.measures.scores import MEASURES, evaluate_runs
from rrarank.measures.significance import SEED
from rrarank.measures.tables import html, plain, print_tables
from rrarank.sources.names import file_or_id
from rrarank.sources.texts import load_judgments
from rrarank.storage.files import STDIO, atomic_write, check_suffix, find, stem
from rrarank.storage.sidecar import check_output, read_sidecar


def main(arguments: Arguments = None) -> int:
    return run_verb(_evaluate, parser(), arguments)


def _evaluate(flags: object) -> None:
    given = vars(flags)
    del given["threads"]
    evaluate_job(EvaluateJob(**given))


def parser() -> argparse.ArgumentParser:
    """Its flags are the fields of `EvaluateJob`."""
    parser = Parser("evaluate", "Measure runs against judgments, and test them against a baseline.")
    parser.add_argument(
        "--qrels",
        required=True,
        help="TREC, BEIR or ranx qrels; a bare name is looked up in ./, ./qrels/, the package and Pyserini's names",
    )
    parser.add_argument(
        "--llm-qrels", nargs="+", default=[], metavar="FILE", help="an LLM's judgments, as rrarank.judge writes them"
    )
    parser.add_argument(
        "--runs", required=True, nargs="+", metavar="RUN", help="runs of any format; bare names also in ./runs/"
    )
    parser.add_argument("--baseline", default="", metavar="RUN", help="the run to test against (default: the first)")
    parser.add_argument("--measures", nargs="+", default=MEASURES, metavar="M", help=_MEASURES_HELP)
    parser.add_argument(
        "--rel-level",
        type=positive,
        metavar="GRADE",
        help="lowest relevant grade, for measures of binary relevance that state none; 2 for TREC DL (default: 1)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    parser.add_argument("--remove-query", action="store_true", help=REMOVE_QUERY)
    parser.add_argument("--intersection", action="store_true", help="only the queries that every run answers")
    parser.add_argument("--tukey", action="store_true", help="add Tukey's HSD over all pairs of systems")
    parser.add_argument("--seed", type=int, default=SEED, help="of the randomisation test and the bootstrap")
    parser.add_argument("--threads", help=argparse.SUPPRESS)  # of older command lines; nothing here uses several
    parser.add_argument(
        "--output", nargs="+", default=(STDIO,), metavar="FILE",
        help=f"by suffix: .txt .md .tex .html .json .csv {LONG} (every query) {' '.join(FIGURES)} (differences) "
        "(default: -, stdout)",
    )  # fmt: skip
    return parser


_MEASURES_HELP = (
    "as ir_measures, trec_eval or ranx name them, such as nDCG@10, RR(rel=2)@10 or recip_rank "
    f"(default: {' '.join(MEASURES)})"
)


LONG = ".long.csv"
SUFFIXES = (".txt", ".md", ".tex", ".html", ".json", ".csv", LONG, *FIGURES)


@dataclass(frozen=True)
class EvaluateJob:
    """What to measure, and where to write it.

    Args:
        qrels: file, BEIR folder or Pyserini's name.
        runs: files of any format; `-` is stdin.
        baseline: the run that the others are tested against; empty: the first.
        measures: as ir_measures, trec_eval or ranx name them.
        rel_level: lowest relevant grade, for measures of binary relevance that state none; None: 1.
        remove_query: leave out the document whose docid is the qid, as ArguAna and Quora need.
        intersection: measure only the queries that every run answers.
        tukey: add Tukey's HSD over all pairs of systems.
        output: files, written by their suffix; `-` is stdout.
        llm_qrels: an LLM's judgments; every conclusion is then given by people's alone and by both. Lines of `qrels`
            that an LLM's mark stands in count as such too.
    """

    qrels: str | Path
    runs: Sequence[str | Path]
    baseline: str | Path = ""
    measures: Sequence[str] = MEASURES
    rel_level: int | None = None
    remove_query: bool = False
    intersection: bool = False
    tukey: bool = False
    seed: int = SEED
    output: Sequence[str | Path] = ()
    overwrite: bool = False
    llm_qrels: Sequence[str | Path] = ()


def evaluate_job(job: EvaluateJob) -> Evaluation:
    """Measure the runs and write every output; an `EvaluationByTwo` if an LLM judged some of the documents.

    Raises:
        RrarankError: an output exists, a file is malformed, or as `evaluate_runs` does.
    """
    job = replace(job, measures=measure_names(job.measures))
    qrels = file_or_id(job.qrels, "qrels")
    paths = [Path(run) if str(run) == STDIO else find(run, "runs") for run in job.runs]
    by_llm = [find(path, "qrels") for path in job.llm_qrels]
    for output in job.output:
        check_output(output, job.overwrite, [qrels, *paths, *by_llm])
        check_suffix(output, SUFFIXES, required=True)
    measures = parse_measures(job.measures)
    if any(Path(output).suffix in FIGURES for output in job.output):
        if len(paths) < 2:
            raise RrarankError("--output: a plot of differences needs a second run")
        if all(measure.is_judged for measure in measures.values()):
            raise RrarankError("--output: a plot of differences needs a measure other than Judged")
    runs, teachers = _named_runs(paths)
    judgments = joined(load_judgments(qrels), map(read_llm_qrels, by_llm))
    found = _measured(job, judgments.people or judgments.llm, runs)
    if job.rel_level is None and (note := level_note(job.measures, judgments.people or judgments.llm)):
        say(note)
    for name, run in runs.items():
        if not job.remove_query and (themselves := finding_themselves(run)):
            say(f"{name}: {own_documents_note(themselves)}")
    for name, qids in found.unanswered.items():
        treated = "left out" if job.intersection else "counted as 0"
        say(f"{name}: no hits for {len(qids)} judged queries, {treated} ({shown(qids)})")
    judges = [qrels, *by_llm] if isinstance(qrels, Path) else by_llm
    found = _with_llm(job, found, judgments, runs, judges)
    teaching = {f"llm: {model_of(mark)}" for mark in judgments.judges}  # as sidecars name it
    teaching |= {teacher for path in judges for teacher in _teacher(path).split("; ")} - {""}
    circular = {name for name, teacher in teachers.items() if teaching & set(teacher.split("; "))}
    for output in job.output:
        _write(output, found, circular, job.tukey)
    return found


def _measured(job: EvaluateJob, qrels: Qrels, runs: Mapping[str, Run]) -> Evaluation:
    return evaluate_runs(
        qrels,
        runs,
        measures=job.measures,
        rel_level=job.rel_level or 1,  # what no level means is said once for all judgments
        baseline=stem(job.baseline) if job.baseline else "",
        remove_query=job.remove_query,
        intersection=job.intersection,
        seed=job.seed,
    )


def _with_llm(
    job: EvaluateJob, found: Evaluation, judgments: Judgments, runs: Mapping[str, Run], paths: Sequence[Path]
) -> Evaluation:
    """The evaluation by both people and LLM, where both judged."""
    if not judgments.judges:
        return found
    agreement = [sentence for path in paths if (sentence := _agreement(path))]
    if not judgments.people:
        judges = ", ".join(judgments.judges)
        for line in [f"{judges} made every judgment; no person's are given", *agreement]:
            say(line)
        return found
    unknown = "How far it agrees with people is not recorded; rrarank judge --sample 100 measures it."
    return by_two(found, _measured(job, judgments.both, runs), judgments, agreement or [unknown])


def _agreement(path: Path) -> str:
    """From the sidecar of an LLM's judgments: how far it agrees with people."""
    sidecar = read_sidecar(path)
    recorded = sidecar.content.get("agreement") if sidecar else None
    if not sidecar or not isinstance(recorded, dict):
        return ""
    return printable(f"{sidecar.content.get('judge')}: {recorded.get('sentence')}.")


def _named_runs(paths: Sequence[Path]) -> tuple[dict[str, Run], dict[str, str]]:
    """Runs and their teachers, by file stem, the name by which tables and ranx know a run."""
    runs: dict[str, Run] = {}
    teachers: dict[str, str] = {}
    for path in paths:
        name = stem(path)
        if name in runs:
            raise RrarankError(f"{path}: a second run named {name!r}; rename one, names tell the rows apart")
        runs[name] = read_run_file(path).run
        teachers[name] = _teacher(path)
    return runs, teachers


def _teacher(path: Path) -> str:
    """From the sidecar: the teacher of the run's model, or of the judgments."""
    sidecar = None if str(path) == STDIO else read_sidecar(path)
    return str(sidecar.content.get("teacher", "")) if sidecar else ""


# -- output -----------------------------------------------------------------------------------------------------------


def _write(output: str | Path, found: Evaluation, circular: Collection[str], tukey: bool) -> None:
    suffix = Path(output).suffix
    if suffix in FIGURES:
        return plot_differences(found, found.tested[0], Path(output))
    tables = found.tables(circular=circular, tukey=tukey).values()
    if str(output) == STDIO and sys.stdout and sys.stdout.isatty():
        return print_tables(tables)
    if suffix == ".json":
        text = json.dumps(json_values(asdict(found)), indent=2) + "\n"
    elif suffix == ".csv":
        text = found.to_csv(long=str(output).endswith(LONG))
    elif suffix == ".tex":
        text = found.to_latex(circular=circular, tukey=tukey)
    elif suffix == ".md":
        text = found.to_markdown(circular=circular, tukey=tukey)
    else:
        text = html(tables) if suffix == ".html" else plain(tables)
    with atomic_write(output) as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
