"""A plan without a log: the traffic that an A/B test needs, from a base rate."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from online_log import make_log  # type: ignore[import-not-found]  # pytest finds it beside this folder

from rrarank.data.impressions import Kept, impressions
from rrarank.errors import RrarankError
from rrarank.measures.lifts import Totals, delta_interval
from rrarank.online.__main__ import main
from rrarank.online.analysis import Question, analyse
from rrarank.online.plan import PlanJob, plan_traffic


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_planned_traffic_has_the_power_that_is_promised():
    [found] = plan_traffic(PlanJob(0.25, 0.2))
    rng, shown, times = np.random.default_rng(1), 0, 1000
    for _ in range(times):
        ones = np.ones(found.users // 2)
        ours, theirs = (Totals((rng.random(len(ones)) < rate).astype(float), ones) for rate in (0.3, 0.25))
        shown += delta_interval(ours.value - theirs.value, np.hypot(ours.error, theirs.error))[0] > 0
    assert 0.76 < shown / times < 0.84


def test_queries_of_one_user_are_worth_up_to_as_many_users():
    few, many = plan_traffic(PlanJob(0.25, 0.05, queries=4))
    [one] = plan_traffic(PlanJob(0.25, 0.05))
    assert one.users == 38_287  # (1.96 + .84)^2 (p1 q1 + p2 q2) / .0125^2 an arm
    assert many.users == one.users
    assert few.queries == pytest.approx(one.queries, abs=4)


def test_a_command_plans_without_a_log(capsys):
    assert main(["--plan", "5%", "--rate", "25%", "--output", "-", "plan.json"]) == 0
    assert "38,287" in capsys.readouterr().out
    assert json.loads(Path("plan.json").read_text())["traffic"] == [{"alike": 0, "users": 38_287, "queries": 38_287}]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "give --log, or --plan with --rate"),
        (["--plan", "5%"], "give --log, or --plan with --rate"),
        (["--rate", "25%"], "give --plan EFFECT too"),
        (["--rate", "25", "--plan", "5%"], "--rate 25: expected a share between 0 and 1"),
        (["--rate", "0.9", "--plan", "20%"], "would become 1.08, which is above 1"),
        (["--rate", "0.9", "--plan", "5%", "--queries", "0"], "--queries 0: expected 1 or more"),
        (["--rate", "0.9", "--plan", "5%", "--log", "x"], "--log is about a log"),
        (["--log", "x", "--queries", "3"], "--queries: only with --rate"),
        (["--rate", "0.9", "--plan", "5%", "--output", "x.png"], "x.png: unknown suffix"),
    ],
)
def test_a_plan_that_cannot_be_made_is_one_line(capsys, flags, said):
    assert main(flags) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("effect", ["nan", "0", "-5%", "inf", "5%%"])
def test_an_effect_is_a_number_above_0(capsys, effect):
    with pytest.raises(SystemExit) as ended:
        main([f"--plan={effect}", "--rate", "0.2"])
    assert ended.value.code == 2
    assert "expected a number above 0 such as 2%" in capsys.readouterr().err


def test_python_is_checked_too():
    with pytest.raises(RrarankError, match="expected an effect above 0"):
        plan_traffic(PlanJob(0.2, -0.1))


def plans_of(log, **asked):
    found, _ = impressions(log)
    return {one.measure: one for one in analyse("e", found, Kept(found), Question(effect=0.05, **asked)).plans}


def test_more_arms_need_more_users():
    """The two that are compared are a part of all, and the smaller arm decides."""
    arms = {name: {"1": ["a", "b"]} for name in ("bm25", "s", "t")}
    log = make_log(arms, {"1": {"a": 0.3, "b": 0.4}}, users=90)
    [found, two] = (
        plans_of(replace(log, queries=[q for q in log.queries if q.arm in names]))["ctr"]
        for names in (("bm25", "s", "t"), ("bm25", "s"))
    )
    assert found.users == pytest.approx(two.users * 1.5, abs=2)
    uneven = plans_of(log, shares={"bm25": 2, "s": 1, "t": 1})["ctr"]
    assert uneven.users == pytest.approx(
        two.users / 4 * (1 / 0.5 + 1 / 0.25), abs=2
    )  # the variances at N / 2 and N / 4


def test_a_preference_above_1_cannot_be_planned():
    log = make_log({"a": {"1": ["x", "y"]}, "b": {"1": ["y", "x"]}}, {"1": {"x": 0.5}}, users=30, design="team-draft")
    found, _ = impressions(log)
    with pytest.raises(RrarankError, match=r"--plan 3: expected a preference of at most 1"):
        analyse("e", found, Kept(found), Question(effect=3))


def test_a_rate_that_cannot_rise_so_far_is_not_planned():
    """Nearly every query has a click: 5% more of them there cannot be, but 5% more clicks there can."""
    log = make_log({"a": {"1": ["x", "y"]}, "b": {"1": ["y", "x"]}}, {"1": {"x": 0.97, "y": 0.97}}, users=60)
    made = plans_of(log)
    assert {"clicks", "dwell"} <= set(made)
    assert not {"ctr", "click@1", "rr-click"} & set(made)


def test_users_without_a_click_are_part_of_the_traffic_that_interleaving_needs():
    arms = {name: {"1": list(order)} for name, order in (("a", "xyz"), ("b", "zyx"))}
    log = make_log(arms, {"1": dict.fromkeys("xyz", 0.3)}, users=60, design="team-draft", queries=1.0)
    clicking = {event.client_id for event in log.events}
    some = replace(log, queries=[one for one in log.queries if one.client_id in clicking])
    assert len(clicking) < 50
    every, of_clicking = plans_of(log)["preference"], plans_of(some)["preference"]
    assert every.users == pytest.approx(of_clicking.users * 60 / len(clicking), abs=2)
