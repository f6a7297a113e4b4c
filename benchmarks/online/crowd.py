"""Thousands of simulated experiments, fast: the users of `rrarank.online.users`, their clicks as arrays alone.

The lists of a query are put into arrays once; an experiment is then a draw of users, queries, lists and clicks.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rrarank.data.trec import read_qrels, read_run
from rrarank.data.types import Qrels, Run
from rrarank.engine.interleaving import team_draft
from rrarank.measures.lifts import Totals, delta_interval, sums
from rrarank.online.users import USERS, UserModel, clicks, leans

MEASURES = ("ctr", "click@1", "clicks", "rr-click")
PLACES = 10
DRAFTS = 200  # drafts of each query, from which an impression's list is drawn
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """Queries, the grades of each ranker's list, and the users' behaviour.

    Args:
        grades: ranker -> (queries, places); -1 where a list has ended.
        highest: the highest grade in the judgments.
        queries: mean of a user's queries, whose number is geometric.
    """

    grades: Mapping[str, Ints]
    highest: int
    model: UserModel
    queries: float = 4.0

    @property
    def size(self) -> int:
        return len(next(iter(self.grades.values())))


@dataclass(frozen=True)
class Crowd:
    """One arm's impressions: the user of each, its clicks (impressions, places), and the day."""

    user: Ints
    clicked: NDArray[np.bool_]
    day: Ints
    users: int

    def parts(self, measure: str) -> Floats:
        """What each impression adds to a measure."""
        if measure == "clicks":
            return self.clicked.sum(axis=1).astype(np.float64)
        if measure == "click@1":
            return self.clicked[:, 0].astype(np.float64)
        any_click = self.clicked.any(axis=1)
        if measure == "rr-click":  # position-based users click from the top down
            return np.where(any_click, 1 / (self.clicked.argmax(axis=1) + 1.0), 0.0)
        return any_click.astype(np.float64)

    def totals(self, measure: str, until: int | None = None) -> Totals:
        """Each user's, of the impressions up to a day."""
        there = slice(None) if until is None else self.day <= until
        user, parts = self.user[there], self.parts(measure)[there]
        tops, bottoms = sums(user, parts, self.users), sums(user, np.ones(len(user)), self.users)
        return Totals(tops[bottoms > 0], bottoms[bottoms > 0])


def arm(world: World, ranker: str, users: int, rng: np.random.Generator, days: int = 1) -> Crowd:
    """Users who all see one ranker's lists."""
    counts = rng.geometric(1 / world.queries, users)
    user = np.repeat(np.arange(users), counts)
    asked = rng.integers(world.size, size=len(user))
    lean = leans(users, world.model, rng)[user]
    shown = world.grades[ranker][asked]
    return Crowd(user, clicks(shown, world.highest, world.model, lean, rng), rng.integers(days, size=len(user)), users)


def is_gain_found(world: World, first: str, measure: str, users: int, rng: np.random.Generator) -> bool:
    """Whether an A/B test of the first ranker and `mixed`, with so many users each, shows a gain."""
    ours, theirs = (arm(world, one, users, rng).totals(measure) for one in ("mixed", first))
    low, _ = delta_interval(ours.value - theirs.value, math.hypot(ours.error, theirs.error))
    return low > 0


@dataclass(frozen=True)
class Drafts:
    """Team-draft lists of each query: grades and, for each place, whether the second ranker put it there.

    Args:
        grades: (queries, drafts, places)
        second: (queries, drafts, places)
    """

    grades: Ints
    second: NDArray[np.bool_]


def drafts(runs: Mapping[str, Run], qrels: Qrels, qids: Sequence[str], places: int = PLACES, seed: int = 0) -> Drafts:
    rng = random.Random(seed)
    second = list(runs)[1]
    grades = np.full((len(qids), DRAFTS, places), -1)
    teams = np.zeros((len(qids), DRAFTS, places), dtype=bool)
    for row, qid in enumerate(qids):
        tops = {name: [hit.docid for hit in run[qid][:places]] for name, run in runs.items()}
        for number in range(DRAFTS):
            picks = team_draft(tops, rng, places)
            grades[row, number, : len(picks)] = [max(qrels[qid].get(pick.docid, 0), 0) for pick in picks]
            teams[row, number, : len(picks)] = [pick.team == second for pick in picks]
    return Drafts(grades, teams)


def interleaved(world: World, drafted: Drafts, users: int, rng: np.random.Generator) -> Totals:
    """Each user's won less lost lists, over the clicked ones."""
    counts = rng.geometric(1 / world.queries, users)
    user = np.repeat(np.arange(users), counts)
    asked, which = rng.integers(world.size, size=len(user)), rng.integers(DRAFTS, size=len(user))
    lean = leans(users, world.model, rng)[user]
    clicked = clicks(drafted.grades[asked, which], world.highest, world.model, lean, rng)
    second = drafted.second[asked, which]
    signs = np.sign((clicked & second).sum(axis=1) - (clicked & ~second).sum(axis=1)).astype(np.float64)
    there = clicked.any(axis=1)
    tops, bottoms = sums(user[there], signs[there], users), sums(user[there], np.ones(there.sum()), users)
    return Totals(tops[bottoms > 0], bottoms[bottoms > 0])


# -- data -------------------------------------------------------------------------------------------------------------


def parser(description: str, repetitions: int = 1000) -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--data", type=Path, required=True, help="folder with qrels.txt and runs/, such as dl21")
    found.add_argument("--runs", nargs="+", default=["bm25", "splade-pp"], help="in runs/, or paths")
    found.add_argument("--users", default="position-based", choices=USERS, help="how they behave")
    found.add_argument("--repetitions", type=int, default=repetitions)
    found.add_argument("--seed", type=int, default=1)
    found.add_argument("--output", type=Path, help="figures as JSON")
    return found


def load(flags: argparse.Namespace, places: int = PLACES) -> tuple[World, dict[str, Run], Qrels, list[str]]:
    """The world of the flags, with the runs, judgments and queries that it is made of."""
    qrels = read_qrels(getattr(flags, "qrels", "") or flags.data / "qrels.txt")
    runs = {}
    for name in flags.runs:
        path = Path(name) if Path(name).suffix else flags.data / "runs" / f"{name}.trec"
        runs[path.stem] = read_run(path)
    qids = [qid for qid in qrels if all(qid in run for run in runs.values())]
    grades = {name: _grades(run, qrels, qids, places) for name, run in runs.items()}
    highest = max(grade for qid in qids for grade in qrels[qid].values())
    return World(grades, highest, USERS[flags.users]), runs, qrels, qids


def _grades(run: Run, qrels: Qrels, qids: Sequence[str], places: int) -> Ints:
    grades = np.full((len(qids), places), -1)
    for row, qid in enumerate(qids):
        top = [hit.docid for hit in run[qid][:places]]
        grades[row, : len(top)] = [max(qrels[qid].get(docid, 0), 0) for docid in top]
    return grades


def mixed(world: World, first: str, second: str, share: float) -> World:
    """The world with a ranker `mixed`: the second's lists for a share of the queries, and the first's for the rest.

    So that effects can be as small as online ones are.
    """
    swapped = np.arange(world.size) < share * world.size
    lists = np.where(swapped[:, None], world.grades[second], world.grades[first])
    return World({**world.grades, "mixed": lists}, world.highest, world.model, world.queries)


def many(world: World, ranker: str, users: int = 200_000, seed: int = 99) -> Crowd:
    """So many users that a measure's value is the true one; its own error is far below that of an experiment."""
    return arm(world, ranker, users, np.random.default_rng(seed))
