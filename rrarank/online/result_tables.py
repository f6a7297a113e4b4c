"""The tables of an analysed experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rrarank.measures.clicks import MEASURES
from rrarank.measures.lifts import PERMUTATIONS, RESAMPLES, Lift
from rrarank.measures.numbers import figure, interval
from rrarank.measures.online_file import MISMATCH
from rrarank.measures.preferences import Preference
from rrarank.measures.sequential import Look
from rrarank.measures.significance import ALPHA
from rrarank.measures.tables import Cell, Table, cells
from rrarank.online.analysis import OnlineResult, Plan

DAYS = 14
"""Days shown in the table of looks: the last ones."""


def result_tables(found: OnlineResult) -> dict[str, Table]:
    """Name -> table: `arms`, then `lifts-ARM` and `looks-ARM`, or `preferences`; then `plan`."""
    made = {"arms": _arms(found)}
    for arm, lifts in found.lifts.items():
        made[f"lifts-{arm}"] = _lifts(arm, lifts, found)
        if found.looks[arm]:
            made[f"looks-{arm}"] = _looks(arm, found.looks[arm], found)
    if found.preferences:
        made["preferences"] = _preferences(found)
    if found.plans:
        made["plan"] = _plans(found)
    if found.estimates:
        made["estimates"] = _estimates(found)
    return made


def _arms(found: OnlineResult) -> Table:
    rows = [
        cells([arm.name, f"{arm.users:,}", f"{arm.queries:,}", f"{arm.fallbacks:,}", _left_out(arm.left_out)])
        for arm in found.arms
    ]
    notes = [f"{found.design}, {found.days} days." if found.days else f"{found.design}, no times.", _split(found)]
    notes += [f"{found.capped:,} dwell times were capped."] if found.capped else []
    notes += [f"{found.waits_capped:,} times to the first click were capped."] if found.waits_capped else []
    notes += [f"{count:,} {what}." for what, count in _faults(found).items() if count]
    return Table(
        ["arm", "users", "queries", "first stage stood in", "users left out"],
        rows,
        words=frozenset({0, 4}),
        title="Who saw what.",
        note=" ".join(filter(None, notes)),
    )


def _faults(found: OnlineResult) -> dict[str, int]:
    return {
        "events of no logged query or no shown document": found.stray,
        "torn lines": found.torn,
        "repeated queries and events left out": found.repeated,
    }


def _left_out(left_out: Mapping[str, int]) -> str:
    return "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())


def _split(found: OnlineResult) -> str:
    if not math.isfinite(found.split_p):
        return "Each user sees all rankers."
    said = f"Split of the users: p {found.split_p:.2g} (chi-square)"
    if found.is_mismatched:
        return (
            f"SAMPLE-RATIO MISMATCH. {said}, below {MISMATCH}: find the fault first, the lifts are not to be trusted."
        )
    return f"{said}, no mismatch."


def _lifts(arm: str, lifts: Sequence[Lift], found: OnlineResult) -> Table:
    head = ["measure", found.baseline, arm, "difference", "95% interval", "by delta method", "relative"]
    head += ["95% interval", "p", "detectable", ""]
    note = (
        f"Difference from {found.baseline}. Intervals resample users ({RESAMPLES:,} times); p permutes users between "
        f"the arms ({PERMUTATIONS:,} times), two-sided, corrected by Holm over the measures; alpha {ALPHA}. "
        "detectable: the smallest true difference that so many users show with 80% power. "
        "Queries without a click are one less those with a click, and not tested again."
    )
    if any(MEASURES[one.measure].conditional for one in lifts):
        note += " The time to the first click looks only at queries with a click, which the arm itself decides."
    return Table(
        head,
        [_lift(one) for one in lifts],
        words=frozenset({0, 10}),
        title=f"What {arm} adds to {found.baseline}.",
        note=note,
    )


def _lift(one: Lift) -> list[Cell]:
    form = MEASURES[one.measure].form
    signed = f"+{form}"
    better = one.reading in ("higher", "lower") and (one.reading == "higher") == MEASURES[one.measure].higher
    change = "" if one.reading in ("", "not resolved") else "up" if better else "down"
    return [
        Cell(MEASURES[one.measure].title),
        *cells([figure(one.reference, form), figure(one.value, form)]),
        Cell(figure(one.difference, signed), change=change),
        *cells(
            [
                interval(one.low, one.high, signed),
                interval(one.delta_low, one.delta_high, signed),
                figure(one.relative, "+.2%"),
                interval(one.relative_low, one.relative_high, "+.2%"),
                figure(one.holm, ".2g"),
                figure(one.detectable, form),
                one.reading,
            ]
        ),
    ]


def _looks(arm: str, looks: Sequence[Look], found: OnlineResult) -> Table:
    form = f"+{MEASURES[found.looked_at].form}"
    rows = [
        cells(
            [
                one.when,
                f"{one.users:,}",
                figure(one.difference, form),
                interval(one.low, one.high, form),
                figure(one.p, ".2g"),
                interval(one.naive_low, one.naive_high, form),
            ]
        )
        for one in looks[-DAYS:]
    ]
    first = next((one.when for one in looks if one.p < ALPHA), "")
    said = f"One could have stopped on {first}." if first else "Not resolved on any day so far."
    return Table(
        ["up to", "users", "difference", "always valid, 95%", "p", "if looked at once, 95%"],
        rows,
        title=f"{MEASURES[found.looked_at].title.capitalize()}, day by day.",
        note=f"Always valid: looking every day is allowed (mixture sequential test). {said} "
        "The last column is wrong for whoever looked before.",
    )


def _preferences(found: OnlineResult) -> Table:
    head = ["ranker", "queries", "users", "wins", "losses", "ties", "preference", "95% interval", "p", "detectable"]
    head += ["users for", "against", "p of votes", ""]
    return Table(
        head,
        [_preference(one) for one in found.preferences],
        words=frozenset({0, 1, 13}),
        title=f"Preferred to {found.baseline}, by interleaving.",
        note=f"Over lists with a click; a list is won by the ranker with more clicks on its team's documents. "
        f"preference: (wins - losses) / all; its interval resamples users ({RESAMPLES:,} times), p flips their signs, "
        f"two-sided, corrected by Holm over the rows of a ranker. Votes: one a user, by a sign test.",
    )


def _preference(one: Preference) -> list[Cell]:
    change = {"preferred": "up", "not preferred": "down"}.get(one.reading, "")
    return [
        *cells([one.ranker, one.part, *(f"{n:,}" for n in (one.users, one.wins, one.losses, one.ties))]),
        Cell(figure(one.preference, "+.4f"), change=change),
        *cells([interval(one.low, one.high, "+.4f"), figure(one.holm, ".2g"), figure(one.detectable)]),
        *cells([f"{one.voters_for:,}", f"{one.voters_against:,}", figure(one.votes_p, ".2g"), one.reading]),
    ]


def _estimates(found: OnlineResult) -> Table:
    looks = ", ".join(f"{look:.2f}" for look in found.examination[:10])
    rows = [
        cells(
            [
                name,
                figure(one.logged),
                figure(one.ips),
                interval(one.ips_low, one.ips_high),
                figure(one.snips),
                interval(one.snips_low, one.snips_high),
                f"{one.clicks:,}",
                f"{one.effective:,.0f}",
                figure(one.clipped, ".1%"),
                figure(one.covered, ".1%"),
            ]
        )
        for name, one in found.estimates.items()
    ]
    return Table(
        ["ranker", "logged", "IPS", "95% interval", "SNIPS", "95% interval", "clicks", "worth", "clipped", "covered"],
        rows,
        title="Clicks per query of rankers that were not shown.",
        note=f"By inverse propensities; intervals resample users. worth: equally weighted clicks that they are worth. "
        "covered: of the ranker's looks, the share on documents that were shown; the rest counts as no click. "
        f"Places are looked at, relative to the first: {looks}.",
    )


def _plans(found: OnlineResult) -> Table:
    is_lift = found.plans[0].measure != "preference"
    what = "relative lift" if is_lift else "preference"
    left_out = " Measures that would rise above 1 are left out." if is_lift else ""
    return Table(
        ["measure", "in this log", what, "users, all arms", "queries", "days"],
        [_plan(one) for one in found.plans],
        title="Traffic that a wanted effect needs.",
        note="For 80% power at alpha .05, by this log's spread between users; days at this log's users per day. "
        f"Users who come again count once: a longer experiment has more queries of each.{left_out}",
    )


def _plan(one: Plan) -> list[Cell]:
    known = MEASURES.get(one.measure)
    name, form = (known.title, known.form) if known else (one.measure, "+.4f")
    effect = format(one.effect, "+.2%" if known else "+.4f")
    return cells(
        [name, figure(one.value, form), effect, f"{one.users:,}", f"{one.queries:,}", figure(one.days, ",.1f")]
    )
