"""The rule of --interpolate auto, learnt from cells whose right weights are known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.quality.interpolation_rule import Cell, learn, line, read_cells, summary, weights_left_out, without


def cell(data, first, agreement, best, kind=""):
    """nDCG@10 falls with the distance from the best weight."""
    weights = np.arange(21) / 20
    return Cell("mini", data, first, kind, 50, 0.8 - abs(weights - best), agreement)


CELLS = [
    cell("one", "bm25", 0.3, 0.9),
    cell("two", "bm25", 0.34, 0.9),
    cell("one", "dense", 0.6, 0.4),
    cell("two", "dense", 0.7, 0.4),
]


def test_the_rule_finds_both_weights_and_a_threshold_in_the_gap():
    rule = learn(CELLS)
    assert (rule.agreeing, rule.differing) == (0.4, 0.9)
    assert rule.threshold == pytest.approx(0.475, abs=0.01)  # the middle of .35 to .60


def test_the_weights_of_the_kinds_are_learnt_from_their_own_cells():
    kinds = {"bm25": "lexical", "dense": "learned"}
    cells = [replace(one, kind=kinds[one.first]) for one in CELLS]
    misleading = replace(cell("two", "odd", 0.8, 0.9), kind="lexical")  # agrees, and should not be mixed in
    rule = learn([*cells, misleading])
    assert (rule.lexical, rule.learned) == (0.9, 0.4)
    assert misleading.by_kind(rule) == pytest.approx(0.8)
    assert misleading.by_agreement(rule) < 0.6
    assert learn(CELLS).lexical is None


def test_what_is_left_out_does_not_count():
    assert without("set", CELLS[2], CELLS) == [CELLS[1], CELLS[3]]
    assert without("first stage", CELLS[2], CELLS) == CELLS[:2]
    dense = [replace(one, kind="learned") for one in CELLS[2:]]
    other = replace(cell("two", "other", 0.6, 0.8), kind="learned")
    found = line(dense[0], [*dense, other], learn(dense))
    assert (found["default"], found["without the set"]) == pytest.approx((0.8, 0.5))  # weights .4 and .7


def test_the_default_is_the_student_alone_over_lexical_and_unknown_first_stages():
    rule = replace(learn(CELLS), lexical=0.9, learned=0.4)
    assert [replace(CELLS[0], kind=kind).by_default(rule) for kind in ("lexical", "", "learned")] == pytest.approx(
        [0.7, 0.7, 0.3]
    )


def test_the_summary_names_the_cell_with_the_largest_loss():
    kinds = {"bm25": "lexical", "dense": "learned"}
    cells = [replace(one, kind=kinds[one.first]) for one in CELLS]
    found = {row["way"]: row for row in summary(cells, learn(cells))}
    assert found["alone"]["of"] == "mini, one, dense"  # .2 below the first stage
    assert found["alone"]["largest loss"] == pytest.approx(0.2)
    assert found["default"]["largest loss"] == pytest.approx(0)
    assert found["default, learnt without the set"]["largest loss"] == pytest.approx(0)


def test_the_weights_without_each_first_stage():
    kinds = {"bm25": "lexical", "dense": "learned"}
    rows = weights_left_out([replace(one, kind=kinds[one.first]) for one in CELLS])
    assert {"learnt without": "first stage dense", "learned": None, "lexical": 0.9} in rows


def test_cells_are_read_from_a_line_a_query(tmp_path):
    lines = [
        {"set": "one", "first": "bm25", "kind": "lexical", "qid": str(n), "agreement": n / 10, "values": [n / 10] * 21}
        for n in range(3)
    ]
    (tmp_path / "cells.jsonl").write_text("\n".join(map(json.dumps, lines)))
    [found] = read_cells("mini", str(tmp_path / "cells.jsonl"))
    assert (found.queries, found.kind) == (3, "lexical")
    assert [found.agreement, found.at(0.5)] == pytest.approx([0.1, 0.1])
