"""Impressions: each logged query with what its user did, the clicks in order and with the time spent."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rrarank.data.ubi import CLICK, IMPRESSION, Log, LoggedEvent, LoggedQuery
from rrarank.errors import RrarankError, did_you_mean


@dataclass(frozen=True, slots=True)
class Click:
    """A click on a shown document.

    Args:
        place: of the document, from 1.
        after: seconds from the query to the click; NaN if the log has no times, one for both, or two clocks that
            disagree.
        dwell: seconds spent on the document; NaN if unknown.
    """

    docid: str
    place: int
    after: float
    dwell: float = math.nan


@dataclass(frozen=True, slots=True)
class Impression:
    """A query, what was shown, and what its user did there.

    Args:
        clicks: in order of time; one a document.
        converted: whether a conversion was logged for it.
    """

    query: LoggedQuery
    clicks: tuple[Click, ...] = ()
    converted: bool = False

    @property
    def user(self) -> str:
        return self.query.client_id

    @property
    def day(self) -> str:
        """The date, as the log's own clock has it; empty if the log has no times."""
        return self.query.timestamp[:10] if self.query.seconds > 0 else ""

    @property
    def name(self) -> str:
        """What repetitions of the query share: its qid, else its text in lower case; empty if neither is logged."""
        return self.query.qid or " ".join(self.query.user_query.lower().split())

    @property
    def teams(self) -> list[str]:
        """The ranker behind each clicked document; empty without interleaving."""
        teams = self.query.teams
        return [teams[click.place - 1] for click in self.clicks if click.place <= len(teams)]


def experiments(log: Log) -> list[str]:
    """The names of the experiments in a log."""
    return list(dict.fromkeys(query.experiment for query in log.queries if query.experiment))


def check_experiment(log: Log, experiment: str, place: str | Path) -> None:
    """
    Args:
        place: of the log, for the message.

    Raises:
        RrarankError: the log has no such experiment.
    """
    known = experiments(log)
    if experiment not in known:
        near = did_you_mean(experiment, known)
        raise RrarankError(f"{place}: no experiment {experiment!r}{near} (known: {', '.join(known) or 'none'})")


def impressions(log: Log, experiment: str = "") -> tuple[list[Impression], int]:
    """The impressions of an experiment, and how many events belong to no logged query or to no shown document.

    Args:
        experiment: its name; empty: all queries of the log.
    """
    events: defaultdict[str, list[LoggedEvent]] = defaultdict(list)
    for event in log.events:
        events[event.query_id].append(event)
    known = {query.query_id for query in log.queries}
    stray = sum(len(own) for query_id, own in events.items() if query_id not in known)
    found = []
    for query in log.queries:
        own = events.get(query.query_id, ())
        query = query if query.shown else replace(query, query_response_hit_ids=_impressed(own))
        stray += sum(event.action_name == CLICK and not _place(event, query) for event in own)
        if not experiment or query.experiment == experiment:
            found.append(_impression(query, own))
    return found, stray


def _impressed(events: Iterable[LoggedEvent]) -> tuple[str, ...]:
    """The documents of `impression` events by their ordinals: some loggers say only so what was shown."""
    found = [event for event in events if event.action_name == IMPRESSION and event.docid]
    found.sort(key=lambda event: math.inf if event.ordinal is None else event.ordinal)
    return tuple(dict.fromkeys(event.docid for event in found))


def _impression(query: LoggedQuery, events: Sequence[LoggedEvent]) -> Impression:
    dwell: dict[str, float] = {}
    for event in events:
        if event.dwell_s is not None:
            dwell[event.docid] = max(event.dwell_s, dwell.get(event.docid, 0.0))
    clicks: dict[str, Click] = {}
    start = query.seconds
    for event in sorted((one for one in events if one.action_name == CLICK), key=lambda one: one.seconds):
        if place := _place(event, query):
            docid = query.shown[place - 1]
            after = event.seconds - start if 0 < start < event.seconds else math.nan
            clicks.setdefault(docid, Click(docid, place, after, dwell.get(docid, math.nan)))
    return Impression(query, tuple(clicks.values()), any(event.is_conversion for event in events))


def _place(event: LoggedEvent, query: LoggedQuery) -> int:
    """Where the event's document was shown, from 1; 0 if it was not. The event's own place tells equal ids apart."""
    if (place := event.ordinal or 0) > 0 and query.shown[place - 1 : place] == (event.docid,):
        return place
    return query.shown.index(event.docid) + 1 if event.docid in query.shown else 0


# -- rules ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rules:
    """Who is left out, and what is capped.

    Args:
        most_queries: a user with more queries on one day is taken for a robot; 0: nobody is.
        click_all: a user who clicks on at least this share of all documents shown, over 5 or more queries, too.
        fastest: seconds; a user half of whose first clicks, of 5 or more, come faster, too.
        dwell_cap: seconds; longer stays count as so many.
        wait_cap: seconds; longer waits for the first click, as of a tab that was left open, count as so many.
    """

    most_queries: int = 200
    click_all: float = 0.9
    fastest: float = 0.2
    dwell_cap: float = 600.0
    wait_cap: float = 600.0


def check_rules(rules: Rules) -> None:
    """
    Raises:
        RrarankError: a number is out of its range.
    """
    if rules.most_queries < 0:
        raise RrarankError(f"--most-queries {rules.most_queries}: expected 0 or more; 0 leaves nobody out")
    if not rules.click_all > 0:
        raise RrarankError(f"--click-all {rules.click_all:g}: expected a share above 0, such as {Rules.click_all}")
    if not rules.fastest >= 0:
        raise RrarankError(f"--fastest {rules.fastest:g}: expected 0 seconds or more")
    if not rules.dwell_cap > 0:
        raise RrarankError(f"--dwell-cap {rules.dwell_cap:g}: expected more than 0 seconds")
    if not rules.wait_cap > 0:
        raise RrarankError(f"--wait-cap {rules.wait_cap:g}: expected more than 0 seconds")


@dataclass(frozen=True)
class Kept:
    """The impressions that the rules keep.

    Args:
        left_out: reason -> the users left out for it.
        caps: measure -> seconds; longer times count as so many.
    """

    impressions: Sequence[Impression]
    left_out: dict[str, set[str]] = field(default_factory=dict)
    caps: Mapping[str, float] = field(default_factory=lambda: _caps(Rules()))

    @property
    def capped(self) -> int:
        """Clicks whose dwell time is capped."""
        return sum(click.dwell > self.caps["dwell"] for one in self.impressions for click in one.clicks)

    @property
    def waits_capped(self) -> int:
        """Queries whose time to the first click is capped."""
        return sum(one.clicks[0].after > self.caps["wait"] for one in self.impressions if one.clicks)


def _caps(rules: Rules) -> dict[str, float]:
    return {"dwell": rules.dwell_cap, "wait": rules.wait_cap}


def keep(found: Sequence[Impression], rules: Rules) -> Kept:
    """Leave out users by the rules; each goes with all that he did."""
    by_user: defaultdict[str, list[Impression]] = defaultdict(list)
    for one in found:
        by_user[one.user].append(one)
    left_out: defaultdict[str, set[str]] = defaultdict(set)
    for user, own in by_user.items():
        if reason := _reason(user, own, rules):
            left_out[reason].add(user)
    gone = {user for users in left_out.values() for user in users}
    kept = [one for one in found if one.user not in gone]
    return Kept(kept, dict(left_out), _caps(rules))


def _reason(user: str, own: Sequence[Impression], rules: Rules) -> str:
    """Why a user is left out; empty if he is not."""
    if not user:
        return "no client id"
    if len({one.query.arm for one in own if one.query.arm}) > 1:
        return "in two arms"
    if (
        rules.most_queries
        and max(Counter(filter(None, (one.day for one in own))).values(), default=0) > rules.most_queries
    ):
        return f"robot: more than {rules.most_queries} queries on a day"
    shown, clicked = sum(len(one.query.shown) for one in own), sum(len(one.clicks) for one in own)
    if len(own) >= _ENOUGH and shown and clicked / shown >= rules.click_all:
        return f"robot: clicks on {rules.click_all:.0%} of all documents shown"
    firsts = list(_first_clicks(own))
    if len(firsts) >= _ENOUGH and sum(after < rules.fastest for after in firsts) * 2 >= len(firsts):
        return f"robot: half of its first clicks within {rules.fastest:g} s"
    return ""


_ENOUGH = 5


def _first_clicks(own: Iterable[Impression]) -> Iterator[float]:
    return (one.clicks[0].after for one in own if one.clicks and not math.isnan(one.clicks[0].after))
