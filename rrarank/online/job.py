"""Read the log of an experiment, leave out whom the rules name, compare the arms and write what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rrarank.data.click_logs import ClickColumns, open_log
from rrarank.data.impressions import (
    Impression,
    Kept,
    Rules,
    check_experiment,
    check_rules,
    experiments,
    impressions,
    keep,
)
from rrarank.data.run_files import read_run_file
from rrarank.data.ubi import Log
from rrarank.errors import RrarankError, did_you_mean, say
from rrarank.measures.click_models import fit
from rrarank.measures.clicks import MEASURES
from rrarank.measures.counterfactual import CLIP, estimate
from rrarank.measures.figures import SUFFIXES as FIGURES
from rrarank.measures.figures import plot_looks
from rrarank.measures.numbers import json_values
from rrarank.measures.online_file import FORMAT
from rrarank.measures.tables import Table
from rrarank.online.analysis import OnlineResult, Question, analyse
from rrarank.online.outputs import TABLES, write_tables
from rrarank.online.result_tables import result_tables
from rrarank.storage.files import check_suffix, find, stem
from rrarank.storage.sidecar import check_output

SUFFIXES = (*TABLES, *FIGURES)


@dataclass(frozen=True)
class OnlineJob:
    """Which experiment to analyse, and how.

    Args:
        log: a folder of UBI's queries and events, or a `.csv`, `.tsv` or `.jsonl` file with `columns`.
        experiment: its name in the log; empty: the log has one.
        question: what to compare.
        rules: who is left out, and what is capped.
        estimate: runs of rankers that were not shown, whose clicks per query are estimated from the log; their qids
            are the log's.
        click_model: tells how often each place is looked at, as in `click_models.fit`.
        clip: largest weight of a click.
        simulated: whether the users are simulated; every table and file says so.
        output: files, written by their suffix; `-` is stdout.
    """

    log: str | Path
    experiment: str = ""
    question: Question = field(default_factory=Question)
    rules: Rules = field(default_factory=Rules)
    columns: ClickColumns | None = None
    estimate: Sequence[str | Path] = ()
    click_model: str = "pbm"
    clip: float = CLIP
    simulated: bool = False
    output: Sequence[str | Path] = ()
    overwrite: bool = False


def analyse_experiment(job: OnlineJob) -> OnlineResult:
    """Analyse the experiment and write every output.

    Raises:
        MissingPrerequisite: matplotlib is not installed, for a figure.
        RrarankError: an output exists, a number is out of range, the log is malformed, or it has no such experiment or
            fewer than two arms.
    """
    _check(job)
    log = open_log(job.log, job.columns)
    name = _experiment(log, job)
    everyone, stray = impressions(log, name)
    kept = keep(everyone, job.rules)
    _check_clicks(job, everyone, kept, stray)
    found = analyse(name, everyone, kept, job.question)
    found = replace(found, stray=stray, torn=log.torn, repeated=log.repeated, simulated=job.simulated)
    found = _with_estimates(found, kept.impressions, job)
    if job.question.effect and not found.plans:
        say("--plan: too few users, or all alike, or no measure can rise so far; --rate plans without a log")
    if found.is_mismatched:
        say(f"sample-ratio mismatch: p {found.split_p:.2g}; find the fault before you read the lifts")
    for output in sorted(
        job.output, key=lambda one: Path(one).suffix not in FIGURES
    ):  # a figure may have nothing to draw
        _write(output, found, job)
    return found


def _check_clicks(job: OnlineJob, everyone: Sequence[Impression], kept: Kept, stray: int) -> None:
    """Refuse a log that says nothing of what users liked; say if the rules leave out most users."""
    gone = {reason: len(users) for reason, users in kept.left_out.items()}
    users = len({one.user for one in everyone})
    if sum(gone.values()) * 2 > users:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in gone.items())
        say(f"{sum(gone.values()):,} of {users:,} users are left out ({reasons}); find out why before you read on")
    if kept.impressions and not any(one.clicks for one in kept.impressions):
        fault = f"; {stray:,} events are of no logged query or no shown document" if stray else ""
        raise RrarankError(f"{job.log}: no click on a shown document in {len(kept.impressions):,} queries{fault}")


def _with_estimates(found: OnlineResult, impressions: Sequence[Impression], job: OnlineJob) -> OnlineResult:
    """What rankers that were not shown would have earned."""
    if not job.estimate:
        return found
    looks = fit(impressions, job.click_model).examination
    shares = {arm.name: job.question.shares.get(arm.name, 1.0) for arm in found.arms} if found.lifts else None
    estimates = {
        stem(path): estimate(
            impressions,
            read_run_file(find(path, "runs")).run,
            looks,
            shares=shares,
            clip=job.clip,
            seed=job.question.seed,
        )
        for path in job.estimate
    }
    return replace(found, examination=looks, estimates=estimates)


def _check(job: OnlineJob) -> None:
    asked = job.question
    for name in [*asked.measures, asked.looked_at]:
        if name not in MEASURES:
            raise RrarankError(f"no measure {name!r}{did_you_mean(name, MEASURES)} (known: {', '.join(MEASURES)})")
    if asked.effect < 0:
        raise RrarankError(f"--plan {asked.effect:g}: expected an effect above 0")
    if asked.seed < 0:
        raise RrarankError(f"--seed {asked.seed}: expected 0 or more")
    if not job.clip > 0:
        raise RrarankError(f"--clip {job.clip:g}: expected a weight above 0")
    check_rules(job.rules)
    names = [stem(path) for path in job.estimate]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise RrarankError(f"--estimate: two runs are named {twice[0]!r}; rename one")
    for output in job.output:
        check_output(output, job.overwrite, [job.log])
        check_suffix(output, SUFFIXES)


def _experiment(log: Log, job: OnlineJob) -> str:
    if job.experiment:
        check_experiment(log, job.experiment, job.log)
        return job.experiment
    known = experiments(log)
    if len(known) > 1:
        raise RrarankError(f"{job.log}: several experiments; give --experiment (known: {', '.join(known)})")
    return known[0] if known else ""


# -- output -----------------------------------------------------------------------------------------------------------


def _write(output: str | Path, found: OnlineResult, job: OnlineJob) -> None:
    suffix = Path(output).suffix
    if suffix in FIGURES:
        return plot_looks(found.looks, MEASURES[job.question.looked_at].title, Path(output))
    tables = {name: _marked(table, job.simulated) for name, table in result_tables(found).items()}
    write_tables(
        output,
        tables,
        as_json(found),
        found.experiment or "Online experiment",
        config={"question": asdict(job.question), "rules": asdict(job.rules), "simulated": job.simulated},
        inputs={} if Path(job.log).is_dir() else {"log": job.log},
        looks=found.looks,
        measure=MEASURES[job.question.looked_at].title,
    )


def _marked(table: Table, simulated: bool) -> Table:
    return replace(table, note=f"SIMULATED USERS. {table.note}") if simulated else table


def as_json(found: OnlineResult) -> Mapping[str, object]:
    return {"format": FORMAT, **json_values(asdict(found))}
