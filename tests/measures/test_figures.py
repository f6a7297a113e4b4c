import json
import math
import re
from pathlib import Path

import pytest

from rrarank.errors import RrarankError
from rrarank.measures.figures import (
    Estimate,
    ScorePanel,
    System,
    differences_svg,
    plot_differences,
    plot_efficiency,
    plot_scores,
    training_curves,
)
from rrarank.measures.scores import Evaluation, Row

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
SYSTEMS = [
    System("BM25", 0.5, Estimate(0.5, 0.4, 0.6)),
    System("RRA-BERT", 1.0, Estimate(0.7, 0.65, 0.75)),
    System("LLM <$x$>", 400.0, Estimate(0.71, math.nan, math.nan)),
]


def evaluation(*names):
    rows = [
        Row(name, {"mrr": 0.5}, 1.0, {"mrr": {"1": place / 4, "2": 0.5, "3": 1 - place / 4}})
        for place, name in enumerate(names)
    ]
    return Evaluation(rows, {"mrr": 0.1}, names[0], [], ["1", "2", "3"], {})


def words(svg):
    """What an SVG says, where its words are paths: matplotlib notes each beside its path."""
    return re.findall("<!-- (.*?) -->", svg)


def test_efficiency_names_every_point_and_counts_from_the_baseline(tmp_path):
    plot_efficiency(SYSTEMS, "RRA-BERT", "nDCG@10", tmp_path / "f.svg")
    said = words((tmp_path / "f.svg").read_text())
    assert {"BM25", "RRA-BERT", "nDCG@10", "inference time, RRA-BERT = 1", "1×", "100×"} <= set(said)
    assert any("$x$" in word for word in said)


@pytest.mark.parametrize(
    ("systems", "baseline", "message"),
    [
        (SYSTEMS, "bert", "no system named 'bert' to set times against (known: BM25, RRA-BERT, LLM <$x$>)"),
        ([System("a", 0.0, Estimate(1, 1, 1))], "a", "'a' has no time above 0"),
        ([System("a", math.nan, Estimate(1, 1, 1))], "a", "'a' has no time above 0"),
    ],
)
def test_efficiency_refuses_what_has_no_ratio(systems, baseline, message, tmp_path):
    with pytest.raises(RrarankError, match=re.escape(message)):
        plot_efficiency(systems, baseline, "nDCG@10", tmp_path / "f.png")
    assert not list(tmp_path.iterdir())


def test_scores_of_every_student_stand_in_one_panel_a_set(tmp_path):
    estimate = Estimate(0.5, 0.4, 0.6)
    groups = {"A": {"s_base": estimate}, "D": {"s_base": estimate, "s_TCL": estimate, "sum": estimate}}
    plot_scores([ScorePanel("dl21", "ndcg@10", groups, {"bm25": 0.4})] * 2, tmp_path / "f.svg")
    said = words((tmp_path / "f.svg").read_text())
    assert said.count("dl21") == 2
    assert {"A", "D", "s_base", "s_TCL", "sum", "bm25", "ndcg@10"} <= set(said)


def test_an_estimate_is_a_mean_with_its_interval():
    found = Estimate.of([0.0, 1.0] * 50)
    assert found.mean == 0.5
    assert (found.low, found.high) == pytest.approx((0.4, 0.6), abs=0.02)
    assert Estimate.of([0.5, 0.5]) == Estimate(0.5, 0.5, 0.5)


def test_no_student_is_no_picture(tmp_path):
    with pytest.raises(RrarankError, match="no student has been measured"):
        plot_scores([ScorePanel("dl21", "ndcg@10", {}, {})], tmp_path / "f.png")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_equal_values_give_equal_bytes(suffix, tmp_path):
    for name in ("one", "other"):
        plot_differences(evaluation("bm25", "better"), "mrr", tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"other{suffix}").read_bytes()


def test_an_unknown_kind_of_picture_is_named(tmp_path):
    with pytest.raises(RrarankError, match=re.escape("no kind of picture (known: .png .svg .pdf)")):
        plot_differences(evaluation("bm25", "better"), "mrr", tmp_path / "f.gif")


def test_differences_from_the_baseline_inside_a_page():
    svg = differences_svg(evaluation("bm25", "a<b>", "c", "d", "e"), "mrr")
    assert svg.startswith("<svg")
    assert "a&lt;b&gt; - bm25" in svg
    assert "1 better, 1 worse" in svg
    assert svg.count(" - bm25") == 4  # no panel for what is not there
    assert "metadata" not in svg


def test_training_curves_are_a_file_of_their_own():
    svg = training_curves([[{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "eval_ndcg@10": 0.5}]])
    assert svg.startswith("<?xml")
    assert {"loss", "eval ndcg@10", "steps"} <= set(words(svg))


@pytest.fixture
def arms_figure(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import arms_figure

    return arms_figure


@pytest.fixture
def report(arms_figure, tmp_path):
    """What arms.py writes, of two arms."""
    import numpy as np
    from arms_report import Board, Measured, as_json, board_facts

    def measured(*scores):
        return Measured({name: np.array([0.2, 0.4, 0.9]) for name in scores}, 1.0, math.nan)

    grid = {"A": {1: measured("s_base")}, "D": {1: measured("s_base", "s_TCL", "sum")}, "D1": {}}
    references = {"bm25": measured("s_base")}
    board = Board("dl21", "ndcg@10", ["1", "2", "3"], 0.1, "all judged", references, grid)
    path = tmp_path / "arms.json"
    path.write_text(as_json({"trial": None, "boards": [board_facts(board)]}))
    return path


def test_the_arms_report_becomes_a_figure(arms_figure, report, tmp_path):
    assert arms_figure.main([str(report), str(tmp_path / "arms.svg")]) == 0
    said = words((tmp_path / "arms.svg").read_text())
    assert {"A", "D", "s_base", "s_TCL", "sum", "bm25", "dl21, 3 queries"} <= set(said)
    assert "D1" not in said


def test_a_trial_says_so(arms_figure, report):
    [board] = json.loads(report.read_text())["boards"]
    assert arms_figure.panel(board, 4).title == "dl21, 3 queries (trial: means nothing)"
    estimate = arms_figure.panel(board, None).groups["D"]["s_TCL"]
    assert estimate.mean == pytest.approx(0.5)
    assert 0.2 <= estimate.low < 0.5 < estimate.high <= 0.9


@pytest.mark.parametrize("content", ["{", "[]", '{"boards": [{}]}', '{"boards": [{"rows": [{"arm": "A"}]}]}'])
def test_another_json_is_refused(arms_figure, content, tmp_path, capsys):
    (tmp_path / "other.json").write_text(content)
    assert arms_figure.main([str(tmp_path / "other.json"), str(tmp_path / "f.png")]) == 2
    assert "no report of arms, expected the JSON that benchmarks/arms.py writes" in capsys.readouterr().err
