"""An ensemble orders by the mean of its members' z-scores, and asks each member only what it has not answered."""

from statistics import fmean, pstdev

import pytest

from rrarank.data.types import Candidate, Hit, LabelledRanking, Query, Run
from rrarank.engine.reranker import Reranker, RerankerConfig, reorder
from rrarank.errors import RrarankError
from rrarank.label.ensemble import Ensemble, EnsembleConfig, FirstStageScores
from rrarank.label.teacher import RerankerTeacher, ScorerConfig
from rrarank.storage.journal import Journal


class Table(Reranker):
    """Scores texts by a table, and counts the queries that it was asked."""

    def __init__(self, model, table):
        super().__init__(RerankerConfig(model=model))
        self.table, self.asked = table, 0

    def rerank_block(self, queries):
        self.asked += len(queries)
        return [reorder(ranking, [self.table[c.text] for c in ranking.candidates]) for ranking in queries]

    def fingerprint(self):
        return self.model_name


def shown(docids="abc", qid="1"):
    candidates = tuple(Candidate(docid, docid, 0.0) for docid in docids)
    return LabelledRanking(Query(qid, "why"), candidates, provenance={"preranker": "bm25"})


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "set.journal") as opened:
        yield opened


@pytest.fixture
def pair(journal):
    """Two rerankers that disagree, and their members: the second one's scores are a thousand times as large."""
    rerankers = Table("small", {"a": 0.3, "b": 0.2, "c": 0.1}), Table("large", {"a": 100, "b": 900, "c": 200})
    return rerankers, [RerankerTeacher(reranker, "table", journal) for reranker in rerankers]


def test_scores_are_normalised_before_they_are_averaged(pair):
    (small, large), teachers = pair
    ensemble = Ensemble(teachers)
    assert ensemble.label(shown()) is None
    assert [qid for qid, _ in ensemble.ask([shown()])] == ["1", "1"]

    def z(table, docid):
        return (table[docid] - fmean(table.values())) / pstdev(table.values())

    label = ensemble.label(shown())
    expected = {docid: (z(small.table, docid) + z(large.table, docid)) / 2 for docid in "abc"}
    assert label.listed == ("b", "a", "c")
    assert (label.missing, label.unknown) == ((), ())
    assert label.provenance["scores"] == pytest.approx(expected, abs=1e-6)


def test_weights_decide(pair):
    _, teachers = pair
    ensemble = Ensemble(teachers, [9.0, 1.0])
    list(ensemble.ask([shown()]))
    assert ensemble.label(shown()).listed == ("a", "b", "c")


def test_what_a_member_has_answered_is_not_asked_again(pair, journal):
    (small, large), teachers = pair
    lists = [shown(qid="1"), shown(qid="2")]
    list(Ensemble(teachers[:1]).ask(lists))
    assert (small.asked, large.asked) == (2, 0)
    whole = Ensemble(teachers)
    list(whole.ask(lists))
    list(whole.ask(lists))
    assert (small.asked, large.asked) == (2, 2)
    assert all(whole.label(one) for one in lists)


def test_a_list_that_one_member_has_not_scored_has_no_label(pair):
    _, teachers = pair
    list(teachers[0].ask([shown()]))
    assert Ensemble(teachers).label(shown()) is None


def test_the_first_stage_can_be_a_member(pair):
    _, teachers = pair
    first = FirstStageScores(Run({"1": [Hit("c", 9.0), Hit("z", 5.0), Hit("b", 4.0), Hit("a", 0.5)]}, "bm25"))
    ensemble = Ensemble([teachers[0], first], [1.0, 3.0])
    list(ensemble.ask([shown()]))
    label = ensemble.label(shown())
    assert label.listed == ("c", "b", "a")  # its own order: a large weight
    assert first.label(shown()).provenance["scores"] == {"c": 9.0, "b": 4.0, "a": 0.5}


def test_provenance_names_each_member_with_its_scores_and_weight(pair):
    (small, large), teachers = pair
    ensemble = Ensemble(teachers, [1.0, 2.0])
    list(ensemble.ask([shown()]))
    provenance = ensemble.label(shown()).provenance
    assert provenance["teacher"] == "ensemble"
    assert provenance["preranker"] == "bm25"
    assert provenance["teachers"] == [
        {"reranker": "table", "model": name, "fingerprint": one.fingerprint(), "scores": one.table, "weight": weight}
        for name, one, weight in (("small", small, 1.0), ("large", large, 2.0))
    ]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_a_weight_that_is_no_weight_is_refused(weight):
    with pytest.raises(RrarankError, match="weights .--teacher-weights.: .*, expected numbers above zero"):
        EnsembleConfig([ScorerConfig("bi-encoder")], [weight])


@pytest.mark.parametrize(
    ("members", "weights", "message"),
    [
        (["bi-encoder"], (), r"members \['bi-encoder'\], expected a list of ScorerConfig"),
        ("bi-encoder", (), "members 'bi-encoder', expected a list of ScorerConfig"),
        ([ScorerConfig("bi-encoder")], ["1"], r"weights \['1'\], expected a list of numbers"),
        ([ScorerConfig("bi-encoder")], 2.0, "weights 2.0, expected a list of numbers"),
        ([ScorerConfig("bi-encoder"), ScorerConfig("first-stage")], [1e308, 1e308], "their sum is too large"),
    ],
)
def test_what_are_no_members_or_weights_is_named(members, weights, message):
    with pytest.raises(RrarankError, match=message):
        EnsembleConfig(members, weights)


@pytest.mark.parametrize(
    ("members", "weights", "message"),
    [
        ([], [], "an ensemble needs members .--teachers."),
        (["bi-encodr"], [], "no teacher named 'bi-encodr'; did you mean 'bi-encoder'?"),
        (["listwise-llm"], [], r"no teacher named 'listwise-llm'.*known: first-stage, bi-encoder"),
        (
            ["bi-encoder", "first-stage"],
            [1.0],
            "1 weights .--teacher-weights. for 2 members .--teachers.; give one each",
        ),
    ],
)
def test_members_that_cannot_score_are_refused(members, weights, message):
    with pytest.raises(RrarankError, match=message):
        EnsembleConfig([ScorerConfig(name) for name in members], weights)
