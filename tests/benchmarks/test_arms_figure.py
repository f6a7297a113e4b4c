"""The benchmark that draws the scores of several students."""

import json
import math
import re

import numpy as np
import pytest

import benchmarks.ablation.figure as arms_figure
from benchmarks.ablation.tables import Board, Measured, as_json, board_facts
from rrarank.errors import RrarankError
from rrarank.measures.figures import Estimate


def words(svg):
    """What an SVG says, where its words are paths: matplotlib notes each beside its path."""
    return re.findall("<!-- (.*?) -->", svg)


def test_scores_of_every_student_stand_in_one_panel_a_set(tmp_path):
    estimate = Estimate(0.5, 0.4, 0.6)
    groups = {"A": {"s_base": estimate}, "D": {"s_base": estimate, "s_TCL": estimate, "sum": estimate}}
    arms_figure.plot_scores([arms_figure.ScorePanel("dl21", "ndcg@10", groups, {"bm25": 0.4})] * 2, tmp_path / "f.svg")
    said = words((tmp_path / "f.svg").read_text())
    assert said.count("dl21") == 2
    assert {"A", "D", "s_base", "s_TCL", "sum", "bm25", "ndcg@10"} <= set(said)


def test_no_student_is_no_picture(tmp_path):
    with pytest.raises(RrarankError, match="no student has been measured"):
        arms_figure.plot_scores([arms_figure.ScorePanel("dl21", "ndcg@10", {}, {})], tmp_path / "f.png")


@pytest.fixture
def report(tmp_path):
    """What arms.py writes, of two arms."""

    def measured(*scores):
        return Measured({name: np.array([0.2, 0.4, 0.9]) for name in scores}, 1.0, math.nan)

    grid = {"A": {1: measured("s_base")}, "D": {1: measured("s_base", "s_TCL", "sum")}, "D1": {}}
    references = {"bm25": measured("s_base")}
    board = Board("dl21", "ndcg@10", ["1", "2", "3"], 0.1, "all judged", references, grid)
    path = tmp_path / "arms.json"
    path.write_text(as_json({"trial": None, "boards": [board_facts(board)]}))
    return path


def test_the_arms_report_becomes_a_figure(report, tmp_path):
    assert arms_figure.main([str(report), str(tmp_path / "arms.svg")]) == 0
    said = words((tmp_path / "arms.svg").read_text())
    assert {"A", "D", "s_base", "s_TCL", "sum", "bm25", "dl21, 3 queries"} <= set(said)
    assert "D1" not in said


def test_a_trial_says_so(report):
    [board] = json.loads(report.read_text())["boards"]
    assert arms_figure.panel(board, 4).title == "dl21, 3 queries (trial: means nothing)"
    estimate = arms_figure.panel(board, None).groups["D"]["s_TCL"]
    assert estimate.mean == pytest.approx(0.5)
    assert 0.2 <= estimate.low < 0.5 < estimate.high <= 0.9


@pytest.mark.parametrize("content", ["{", "[]", '{"boards": [{}]}', '{"boards": [{"rows": [{"arm": "A"}]}]}'])
def test_another_json_is_refused(content, tmp_path, capsys):
    (tmp_path / "other.json").write_text(content)
    assert arms_figure.main([str(tmp_path / "other.json"), str(tmp_path / "f.png")]) == 2
    assert "no report of arms, expected the JSON that benchmarks/ablation/arms.py writes" in capsys.readouterr().err
