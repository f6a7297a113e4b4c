import math
import re

import pytest

from rrarank.errors import RrarankError
from rrarank.measures.calibration import Bin, Estimated, Reliability
from rrarank.measures.evaluation import Evaluation, Row
from rrarank.measures.figures import (
    Estimate,
    System,
    differences_svg,
    plot_differences,
    plot_efficiency,
    plot_reliability,
    plot_weights,
    training_curves,
)
from rrarank.measures.measure import ByMeasure

SYSTEMS = [
    System("BM25", 0.5, Estimate(0.5, 0.4, 0.6)),
    System("RRA-BERT", 1.0, Estimate(0.7, 0.65, 0.75)),
    System("LLM <$x$>", 400.0, Estimate(0.71, math.nan, math.nan)),
]


def evaluation(*names):
    rows = [
        Row(
            name,
            ByMeasure({"RR(rel=1)": 0.5}),
            1.0,
            ByMeasure({"RR(rel=1)": {"1": place / 4, "2": 0.5, "3": 1 - place / 4}}),
        )
        for place, name in enumerate(names)
    ]
    return Evaluation(rows, ByMeasure({"RR(rel=1)": 0.1}), names[0], [], ["1", "2", "3"], {})


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
        (SYSTEMS, "bert", "no system named 'bert' to compare times with (known: BM25, RRA-BERT, LLM <$x$>)"),
        ([System("a", 0.0, Estimate(1, 1, 1))], "a", "'a' has no time above 0"),
        ([System("a", math.nan, Estimate(1, 1, 1))], "a", "'a' has no time above 0"),
    ],
)
def test_efficiency_refuses_what_has_no_ratio(systems, baseline, message, tmp_path):
    with pytest.raises(RrarankError, match=re.escape(message)):
        plot_efficiency(systems, baseline, "nDCG@10", tmp_path / "f.png")
    assert not list(tmp_path.iterdir())


def test_the_curve_of_weights_says_what_it_is_measured_against(tmp_path):
    curve = {
        weight: Estimate(mean, mean - 0.01, mean + 0.01) for weight, mean in ((0.0, -0.1), (0.5, 0.02), (1.0, 0.0))
    }
    plot_weights({"depth 20": curve, "depth 100": curve}, 0.5, "ndcg@10", tmp_path / "f.svg")
    said = words((tmp_path / "f.svg").read_text())
    assert {"depth 20", "depth 100", "chosen: 0.5", "nDCG@10 minus the reranker alone"} <= set(said)


def test_an_estimate_of_differences_may_lie_below_zero():
    found = Estimate.of_differences([-0.2, -0.1, -0.3] * 10)
    assert found.mean == pytest.approx(-0.2)
    assert found.low < found.mean < found.high < 0


def test_an_estimate_is_a_mean_with_its_interval():
    found = Estimate.of([0.0, 1.0] * 50)
    assert found.mean == 0.5
    assert (found.low, found.high) == pytest.approx((0.4, 0.6), abs=0.02)
    assert Estimate.of([0.5, 0.5]) == Estimate(0.5, 0.5, 0.5)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_equal_values_give_equal_bytes(suffix, tmp_path):
    for name in ("one", "other"):
        plot_differences(evaluation("bm25", "better"), "mrr", tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"other{suffix}").read_bytes()


def test_an_unknown_kind_of_picture_is_named(tmp_path):
    with pytest.raises(RrarankError, match=re.escape("unknown kind of picture (known: .png .svg .pdf)")):
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


def test_a_reliability_diagram_has_a_panel_for_each_set_and_equal_bytes(tmp_path):
    value = Estimated(0.05, 0.02, 0.09)
    bins = (Bin(0.1, Estimated(0.2, 0.1, 0.3), 90), Bin(0.8, Estimated(0.7, math.nan, math.nan), 10))
    one = Reliability(20, 100, 0.25, value, 0.01, value, 0.19, bins)
    for name in ("a.svg", "b.svg"):
        plot_reliability({"DL19 $x$": one, "other": one}, tmp_path / name)
    said = words((tmp_path / "a.svg").read_text())
    assert said.count("ECE 0.050") == said.count("predicted relevance") == 2
    assert "DL19 $x$" in said
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
