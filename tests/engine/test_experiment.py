"""What an experiment shows: shares by a hash of the user, teams by the draft, the same again for one user and query."""

import random
from collections import Counter

import pytest

from rrarank.engine.experiment import Experiment, Ranker, read_experiment, show
from rrarank.engine.interleaving import team_draft
from rrarank.errors import RrarankError

TWO = {"a": Ranker("first-stage"), "b": Ranker("mini", share=3)}
USERS = [f"user {number}" for number in range(4_000)]


def test_the_draft_takes_turns():
    picks = team_draft({"a": ["1", "2", "3", "4"], "b": ["3", "1", "2", "5"]}, random.Random(1))
    assert {pick.docid for pick in picks} == {"1", "2", "3", "4", "5"}
    for start in range(0, 4, 2):
        assert {pick.team for pick in picks[start : start + 2]} == {"a", "b"}


def test_each_pick_is_the_teams_best_that_is_left():
    rankings = {name: random.Random(name).sample("abcdefgh", 8) for name in ("x", "y", "z")}
    for seed in range(50):
        seen: set[str] = set()
        for docid, team in team_draft(rankings, random.Random(seed)):
            assert docid == next(one for one in rankings[team] if one not in seen)
            seen.add(docid)
        assert len(seen) == 8


def test_who_picks_first_is_even():
    firsts = Counter(
        team_draft({"a": ["1"], "b": ["2"], "c": ["3"]}, random.Random(n), 1)[0].team for n in range(3_000)
    )
    assert all(900 < count < 1_100 for count in firsts.values())


def test_a_ranker_without_documents_is_passed_over():
    assert [p.docid for p in team_draft({"a": ["1", "2", "3"], "b": []}, random.Random(0))] == ["1", "2", "3"]
    assert len(team_draft({"a": ["1", "2"], "b": ["3"]}, random.Random(0), 2)) == 2
    assert team_draft({"a": ["1"], "b": ["1"]}, random.Random(0), 0) == []


def test_users_are_divided_by_shares_and_traffic():
    test = Experiment("e", "ab", TWO, traffic=0.5)
    inside = [user for user in USERS if test.takes(user)]
    assert 0.47 < len(inside) / len(USERS) < 0.53
    assert 0.72 < Counter(map(test.arm, inside))["b"] / len(inside) < 0.78


@pytest.mark.parametrize("design", ["ab", "team-draft"])
def test_users_keep_their_lists_when_the_file_names_the_rankers_in_another_order(design):
    one, other = Experiment("e", design, TWO), Experiment("e", design, dict(reversed(TWO.items())))
    rankings = {"a": list("123"), "b": list("321")}
    for user in USERS[:50]:
        assert show(one, user, "q", rankings) == show(other, user, "q", rankings)


def test_another_experiment_divides_users_anew():
    one, other = Experiment("e", "ab", TWO), Experiment("f", "ab", TWO)
    both = sum(one.arm(user) == other.arm(user) == "b" for user in USERS) / len(USERS)
    assert 0.53 < both < 0.59  # 0.75 squared


def test_one_user_and_query_is_shown_the_same_again():
    test = Experiment("e", "team-draft", TWO)
    rankings = {"a": list("123456"), "b": list("654321")}
    assert show(test, "u", "q", rankings) == show(test, "u", "q", rankings)
    assert len({tuple(show(test, user, "q", rankings).docids) for user in USERS[:50]}) > 5


def test_the_log_says_which_ranker_a_document_came_from():
    found = show(Experiment("e", "team-draft", TWO), "u", "q", {"a": ["1", "2"], "b": ["2", "1"]}, {"b": "out of time"})
    attributes = found.attributes(Experiment("e", "team-draft", TWO))
    assert attributes == {
        "experiment": "e",
        "design": "team-draft",
        "teams": list(found.teams),
        "fallback": {"b": "out of time"},
    }
    shown = show(Experiment("e", "ab", TWO), "u", "q", {"a": ["1", "2"], "b": ["2", "1"]}, length=1)
    assert (len(shown.docids), shown.arm in TWO, shown.teams) == (1, True, ())


def test_an_experiment_is_read_from_a_file(tmp_path):
    text = "name: e\ndesign: team-draft\nrankers:\n  a: {model: first-stage}\n  b: {model: mini, share: 3}\n"
    (tmp_path / "e.yaml").write_text(text)
    assert read_experiment(tmp_path / "e.yaml") == Experiment("e", "team-draft", TWO)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "a YAML NoneType, expected keys such as rankers"),
        ("name: e\ndesign: ab\nrankers: {a: {model: x}}", "rankers is .*: dictionary should have at least 2 items"),
        (
            "name: e\ndesign: abc\nrankers: {a: {model: x}, b: {model: y}}",
            "design is 'abc': input",
        ),
        (
            "name: e\ndesign: ab\nrankers: {a: {model: x, share: 0}, b: {model: y}}",
            "rankers.a.share is 0: ",
        ),
        (
            "name: e\ndesign: ab\ntrafic: 1\nrankers: {a: {model: x}, b: {model: y}}",
            "trafic is an unknown key; did you mean 'traffic'?",
        ),
    ],
)
def test_faults_of_a_file_are_named(tmp_path, text, fault):
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(RrarankError, match=rf"e.yaml: {fault}"):
        read_experiment(tmp_path / "e.yaml")
