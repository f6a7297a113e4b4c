"""Simulated users: their clicks follow the models' published definitions, and their logs are ordinary logs."""

import math
from collections import Counter

import numpy as np
import pytest

from rrarank.data.trec import parse_run
from rrarank.data.ubi_files import read_log, write_log
from rrarank.engine.experiment import Experiment, Ranker
from rrarank.errors import RrarankError
from rrarank.online.simulator import Crowd, simulate
from rrarank.online.users import USERS, UserModel, clicks, dwell_times, user_model

N = 40_000
RANKERS = {"good": Ranker("mini"), "bad": Ranker("first-stage")}
QRELS = {str(qid): {"a": 3, "b": 1, "c": 0} for qid in range(20)}
RUNS = {
    "good": parse_run([f"{qid} Q0 {d} {r} {9 - r} x" for qid in QRELS for r, d in enumerate("abcd", 1)]),
    "bad": parse_run([f"{qid} Q0 {d} {r} {9 - r} x" for qid in QRELS for r, d in enumerate("dcba", 1)]),
}


def clicked(model, *grades, highest=4):
    """The share of clicks at each place."""
    rows = np.tile(np.array(grades), (N, 1))
    return clicks(rows, highest, model, np.zeros(N), np.random.default_rng(7))


def test_position_based_users_look_at_place_k_with_probability_1_over_k():
    found = clicked(UserModel(spread=0), 4, 4, 0, 2).mean(axis=0)
    assert found == pytest.approx([0.95, 0.95 / 2, 0.05 / 3, 0.5 / 4], abs=0.01)


def test_cascade_users_click_once():
    found = clicked(UserModel("cascade"), 2, 4, 2)
    assert found.sum(axis=1).max() == 1
    assert found.mean(axis=0) == pytest.approx([0.5, 0.5 * 0.95, 0.5 * 0.05 * 0.5], abs=0.01)


def test_dependent_users_stop_by_the_grade_of_what_they_clicked():
    found = clicked(USERS["navigational"], 4, 2)
    assert found[:, 1].mean() == pytest.approx((1 - 0.95 * 0.9) * 0.5, abs=0.01)


def test_perfect_users_click_on_the_best_and_never_on_the_irrelevant():
    assert clicked(USERS["perfect"], 4, 0, 4).mean(axis=0).tolist() == [1, 0, 1]


def test_random_users_do_not_tell_grades_apart():
    assert clicked(USERS["random"], 4, 0)[:, 0].mean() == pytest.approx(0.5, abs=0.01)
    assert clicked(USERS["random"], 0, 4)[:, 1].mean() == pytest.approx(0.25, abs=0.01)


def test_nothing_is_clicked_below_the_end_of_a_list():
    assert not clicked(USERS["random"], 4, -1, -1)[:, 1:].any()


def test_grades_of_another_scale_have_the_same_ends():
    assert UserModel().by_grade((0.05, 0.3, 0.5, 0.7, 0.95), 3) == pytest.approx([0.05, 0.3667, 0.6333, 0.95], abs=1e-3)


def test_better_documents_are_read_for_longer():
    times = dwell_times(np.tile([0, 4], (N, 1)), 4, UserModel(), np.random.default_rng(1))
    assert np.median(times, axis=0) == pytest.approx([8, 90], rel=0.05)


def test_an_a_b_test_shows_each_user_one_ranker():
    sample = simulate(Experiment("e", "ab", RANKERS), RUNS, QRELS, UserModel(), Crowd(users=400, seed=3))
    arms: dict[int, set[str]] = {}
    for user, arm in zip(sample.user.tolist(), sample.arms, strict=True):
        arms.setdefault(user, set()).add(arm)
    assert Counter(map(len, arms.values())) == {1: 400}
    good = sample.arms == "good"
    assert sample.clicked[good, 0].mean() > 2 * sample.clicked[~good, 0].mean()


def test_interleaving_credits_the_better_ranker():
    sample = simulate(Experiment("e", "team-draft", RANKERS), RUNS, QRELS, user_model("perfect"), Crowd(users=200))
    teams = Counter(sample.lists[row].teams[place] for row, place in zip(*np.nonzero(sample.clicked), strict=True))
    assert teams["good"] > 2 * teams["bad"]


def test_the_same_seed_gives_the_same_log_and_a_log_is_read_back(tmp_path):
    logs = []
    for folder in ("one", "two"):
        sample = simulate(Experiment("e", "team-draft", RANKERS), RUNS, QRELS, UserModel(), Crowd(users=30, seed=5))
        queries = sample.queries()
        write_log(tmp_path / folder, queries, sample.events(queries))
        logs.append((tmp_path / folder / "ubi_events.jsonl").read_bytes())
    assert logs[0] == logs[1]
    log = read_log(tmp_path / "one")
    assert (len(log.queries), len(log.events), log.repeated) == (len(sample), 2 * sample.clicked.sum(), 0)
    assert {event.action_name for event in log.events} == {"click", "dwell"}


def test_traffic_leaves_users_out():
    sample = simulate(Experiment("e", "ab", RANKERS, traffic=0.25), RUNS, QRELS, UserModel(), Crowd(users=2_000))
    assert 0.2 < len(set(sample.user.tolist())) / 2_000 < 0.3


@pytest.mark.parametrize(
    ("runs", "qrels", "fault"),
    [({"good": RUNS["good"]}, QRELS, "no run of 'bad'"), (RUNS, {"x": {"a": 1}}, "no query is in all runs")],
)
def test_what_cannot_be_simulated_is_named(runs, qrels, fault):
    with pytest.raises(RrarankError, match=fault):
        simulate(Experiment("e", "ab", RANKERS), runs, qrels, UserModel())


@pytest.mark.parametrize(
    ("crowd", "fault"),
    [(Crowd(users=0), "users is 0"), (Crowd(days=math.nan), "days is nan"), (Crowd(rarity=-1), "rarity is -1")],
)
def test_a_crowd_out_of_range_is_named(crowd, fault):
    with pytest.raises(RrarankError, match=f"crowd: {fault}, expected"):
        simulate(Experiment("e", "ab", RANKERS), RUNS, QRELS, UserModel(), crowd)


def test_an_unknown_kind_of_users_is_named():
    with pytest.raises(RrarankError, match="no users 'perfet'; did you mean 'perfect'"):
        user_model("perfet")
