"""A crowd of simulated users in an experiment: what each is shown and clicks on, as arrays and as a log.

Everything is drawn from the seed and the experiment's own hashes: equal arguments give an equal log.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rrarank.data.types import Qrels, Run
from rrarank.data.ubi import DWELL, LoggedEvent, LoggedQuery, click, iso_time
from rrarank.engine.experiment import Experiment, Shown, show
from rrarank.errors import RrarankError, shown
from rrarank.online.users import UserModel, clicks, dwell_times, leans

START = 1_767_225_600.0  # 2026-01-01, in seconds since 1970
SCAN_S = 1.5  # median seconds on a result before the next one


@dataclass(frozen=True)
class Crowd:
    """How many users ask how much.

    Args:
        queries: mean of a user's queries; their number is geometric, so that some ask much more than others.
        places: documents shown.
        rarity: exponent of the queries' popularity: the query of rank r is asked in proportion to 1 / r ** rarity.
        days: over which the queries are spread.
    """

    users: int = 1_000
    queries: float = 5.0
    places: int = 10
    rarity: float = 0.0
    days: float = 14.0
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """What happened, an impression a row, in the order of time.

    Args:
        user: (n,): the user's number.
        qid: (n,): the query.
        seconds: (n,): when it was asked, since 1970.
        lists: what was shown; of length n.
        grades: (n, places): of what was shown; -1 where a list has ended, 0 for unjudged documents.
        clicked: (n, places)
        after: (n, places): seconds from the query to a click.
        dwell: (n, places): seconds on a clicked document.
    """

    experiment: Experiment
    user: NDArray[np.int64]
    qid: NDArray[np.str_]
    seconds: NDArray[np.float64]
    lists: Sequence[Shown]
    grades: NDArray[np.int64]
    clicked: NDArray[np.bool_]
    after: NDArray[np.float64]
    dwell: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.lists)

    @cached_property
    def arms(self) -> NDArray[np.str_]:
        """(n,): of an A/B test."""
        return np.array([one.arm for one in self.lists])

    def queries(self) -> list[LoggedQuery]:
        """The logged queries, without texts."""
        return [
            LoggedQuery(
                query_id=f"q{number:07d}",
                client_id=user_name(user),
                timestamp=_time(seconds),
                query_response_hit_ids=tuple(one.docids),
                query_attributes=one.attributes(self.experiment) | {"qid": str(qid)},
            )
            for number, (user, qid, seconds, one) in enumerate(
                zip(self.user, self.qid, self.seconds, self.lists, strict=True)
            )
        ]

    def events(self, queries: Sequence[LoggedQuery]) -> Iterator[LoggedEvent]:
        """A click and the time spent on the document, for each click."""
        for row, place in zip(*np.nonzero(self.clicked), strict=True):
            at, dwell = self.seconds[row] + self.after[row, place], round(float(self.dwell[row, place]), 3)
            yield click(queries[row], int(place) + 1, float(at))
            yield click(queries[row], int(place) + 1, float(at) + dwell, {"dwell_time": dwell}, DWELL)


def simulate(
    experiment: Experiment, runs: Mapping[str, Run], qrels: Qrels, model: UserModel, crowd: Crowd | None = None
) -> Sample:
    """Let a crowd use an experiment's rankers.

    Args:
        runs: ranker -> its run; each query that all of them and the judgments have can be asked.

    Raises:
        RrarankError: a ranker has no run, no query is in all of them, or a number of the crowd is out of range.
    """
    crowd = crowd or Crowd()
    check_crowd(crowd)
    qids = _common(experiment, runs, qrels)
    rng = np.random.default_rng(crowd.seed)
    user, asked = _asked(experiment, qids, crowd, rng)
    seconds = START + np.sort(rng.uniform(0, crowd.days * 86_400, len(user)))
    qid = np.array(qids)[asked]
    lists = _lists(experiment, runs, [(user_name(one), str(of)) for one, of in zip(user, qid, strict=True)], crowd)
    highest = highest_grade(qrels, qids)
    grades = _grades(lists, [qrels[one] for one in qid], crowd.places)
    lean = leans(crowd.users, model, rng)[user]
    clicked = clicks(grades, highest, model, lean, rng)
    dwell = dwell_times(grades, highest, model, rng)
    return Sample(experiment, user, qid, seconds, lists, grades, clicked, after(clicked, dwell, rng), dwell)


def check_crowd(crowd: Crowd) -> None:
    """
    Raises:
        RrarankError: a number is out of range.
    """
    least = {"users": 1, "queries": 1, "places": 1, "rarity": 0, "days": 0, "seed": 0}
    for name, low in least.items():
        if not low <= getattr(crowd, name) < math.inf:
            raise RrarankError(f"crowd: {name} is {getattr(crowd, name):g}, expected {low} or more")


def _common(experiment: Experiment, runs: Mapping[str, Run], qrels: Qrels) -> list[str]:
    """The queries that can be asked, in the order of the first run."""
    if lacking := [name for name in experiment.rankers if name not in runs]:
        raise RrarankError(f"experiment {experiment.name}: no run of {shown(lacking)}")
    used = [runs[name] for name in experiment.rankers]
    if not (qids := [qid for qid in used[0] if qid in qrels and all(qid in run for run in used)]):
        raise RrarankError(f"experiment {experiment.name}: no query is in all runs and in the judgments")
    return qids


def _asked(
    experiment: Experiment, qids: Sequence[str], crowd: Crowd, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n,) users and (n,) places among the qids, of users in the experiment, in random order."""
    counts = rng.geometric(1 / crowd.queries, crowd.users)
    user = rng.permutation(np.repeat(np.arange(crowd.users), counts))
    asked = rng.choice(len(qids), len(user), p=popularity(len(qids), crowd))
    inside = np.array([experiment.takes(user_name(number)) for number in range(crowd.users)], bool)[user]
    return user[inside], asked[inside]


def highest_grade(qrels: Qrels, qids: Iterable[str]) -> int:
    return max((grade for qid in qids for grade in qrels[qid].values()), default=0)


def popularity(queries: int, crowd: Crowd) -> NDArray[np.float64]:
    """(queries,): how likely each is the one that is asked."""
    weights = 1 / np.arange(1, queries + 1) ** crowd.rarity
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _lists(
    experiment: Experiment, runs: Mapping[str, Run], asked: Sequence[tuple[str, str]], crowd: Crowd
) -> list[Shown]:
    """A list for each (user, qid); equal ones are made once."""
    tops: dict[tuple[str, str], list[str]] = {}
    made: dict[tuple[str, str], Shown] = {}

    def top(name: str, qid: str) -> list[str]:
        if (name, qid) not in tops:
            tops[name, qid] = [hit.docid for hit in runs[name][qid][: crowd.places]]
        return tops[name, qid]

    for user, qid in asked:
        if (user, qid) not in made:
            rankings = {name: top(name, qid) for name in experiment.needed(user)}
            made[user, qid] = show(experiment, user, qid, rankings, length=crowd.places)
    return [made[one] for one in asked]


def _grades(lists: Sequence[Shown], judged: Sequence[Mapping[str, int]], places: int) -> NDArray[np.int64]:
    grades = np.full((len(lists), places), -1)
    for row, one, known in zip(grades, lists, judged, strict=True):
        row[: len(one.docids)] = [max(known.get(docid, 0), 0) for docid in one.docids]
    return grades


def after(clicked: NDArray[np.bool_], dwell: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Seconds from the query to each place: the results above are read, and the clicked ones stayed on."""
    scan = SCAN_S * np.exp(rng.normal(0, 0.5, clicked.shape))
    stayed = np.cumsum(dwell * clicked, axis=1)
    before = np.concatenate([np.zeros((len(clicked), 1)), stayed[:, :-1]], axis=1)
    read: NDArray[np.float64] = np.cumsum(scan, axis=1) + before
    return read


def user_name(user: int | np.int64) -> str:
    return f"u{int(user):06d}"


def _time(seconds: float | np.float64) -> str:
    return iso_time(float(seconds))
