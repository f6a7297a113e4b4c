"""The traffic that an A/B test needs, from a base rate alone: before there is a log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rrarank.errors import RrarankError
from rrarank.measures.lifts import users_needed
from rrarank.measures.numbers import figure
from rrarank.measures.tables import Table, cells
from rrarank.online.outputs import TABLES, write_tables
from rrarank.storage.files import check_suffix
from rrarank.storage.sidecar import check_output

FORMAT = "rrarank.plan/1"


@dataclass(frozen=True)
class PlanJob:
    """What an A/B test with two arms of equal size is to show.

    Args:
        rate: the share of queries with a click today, or of anything else that a query has or has not.
        effect: the relative lift of it that is wanted.
        queries: of a user, during the experiment.
        output: files, written by their suffix; `-` is stdout.
    """

    rate: float
    effect: float
    queries: float = 1.0
    output: Sequence[str | Path] = ()
    overwrite: bool = False


@dataclass(frozen=True)
class Traffic:
    """What shows the effect with 80% power, tested at .05.

    Args:
        alike: how much a user's queries are alike: 0, they share nothing; 1, all have a click or none.
        users, queries: of both arms.
    """

    alike: float
    users: int
    queries: int


def plan_traffic(job: PlanJob) -> list[Traffic]:
    """The traffic if users do not differ, and if they differ as much as they can; real users are between.

    Raises:
        RrarankError: a number is out of range, or an output exists.
    """
    _check(job)
    found = [_traffic(job, alike) for alike in ((0.0,) if job.queries == 1 else (0.0, 1.0))]
    table = _table(job, found)
    facts = {"rate": job.rate, "effect": job.effect, "queries": job.queries}
    content = {"format": FORMAT, **facts, "traffic": [asdict(one) for one in found]}
    for output in job.output:
        write_tables(output, {"plan": table}, content, "Plan of an online experiment", config=facts)
    return found


def _check(job: PlanJob) -> None:
    if not 0 < job.rate < 1:
        raise RrarankError(f"--rate {job.rate:g}: expected a share between 0 and 1, such as 25% or 0.25")
    if not job.effect > 0:
        raise RrarankError(f"--plan {job.effect:g}: expected an effect above 0")
    if (after := job.rate * (1 + job.effect)) > 1:
        raise RrarankError(
            f"--plan {job.effect:g}: a rate of {job.rate:g} would become {after:g}, which is above 1; "
            "the effect is relative, such as 5%"
        )
    if not (math.isfinite(job.queries) and job.queries >= 1):
        raise RrarankError(f"--queries {job.queries:g}: expected 1 or more")
    for output in job.output:
        check_output(output, job.overwrite, [])
        check_suffix(output, TABLES)


def _traffic(job: PlanJob, alike: float) -> Traffic:
    """By the variance of each arm's rate, and the design effect of queries that users share (Kish, 1965)."""
    after = job.rate * (1 + job.effect)
    variance = (job.rate * (1 - job.rate) + after * (1 - after)) / 2
    design = (1 + (job.queries - 1) * alike) / job.queries
    users = users_needed(math.sqrt(variance * design), after - job.rate)
    return Traffic(alike, users, round(users * job.queries))


def _table(job: PlanJob, found: Sequence[Traffic]) -> Table:
    said = {0.0: "share nothing", 1.0: "all have a click, or none has"} if len(found) > 1 else {0.0: "one"}
    rows = [
        cells(
            [
                said[one.alike],
                figure(job.rate, ".4f"),
                figure(job.rate * (1 + job.effect), ".4f"),
                f"{one.users:,}",
                f"{one.queries:,}",
            ]
        )
        for one in found
    ]
    note = "For 80% power at alpha .05, in two arms of equal size."
    if len(found) > 1:
        note += f" {job.queries:g} queries a user; real users are between the rows, and a log of yours tells where."
    return Table(
        ["a user's queries", "rate", "with the lift", "users, both arms", "queries"],
        rows,
        title=f"Traffic that a relative lift of {job.effect:+.2%} needs.",
        note=note,
    )
