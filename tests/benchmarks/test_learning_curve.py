"""Students of fewer lists take as many steps as those of all."""

import argparse
from dataclasses import replace

import pytest

from benchmarks.ablation.arms import CURVE, Cell
from rrarank.data.distillation_set import write_set
from rrarank.data.types import Candidate, LabelledRanking, Query

SHOWN = tuple(Candidate(docid, f"text {docid}", 0.0) for docid in "abc")
LABEL = LabelledRanking(query=Query("0", "query"), shown=SHOWN, listed=("b", "a", "c"), missing=(), unknown=())


@pytest.mark.parametrize("arm", CURVE)
def test_fewer_lists_are_read_more_often(tmp_path, arm):
    labels = [replace(LABEL, query=Query(str(number), "query")) for number in range(80)]
    for name in ("top", "top-bottom"):
        write_set(tmp_path / f"{name}.jsonl", labels)
    flags = argparse.Namespace(work=tmp_path, base="model")
    [all_lists], [few] = (Cell.of(name, 1, flags).config.stages for name in (arm.split("-")[0], arm))
    lists = int(arm.split("-")[1])
    assert few.max_queries == lists
    assert few.epochs * lists == pytest.approx(all_lists.epochs * 80)
    assert replace(few, max_queries=0, epochs=all_lists.epochs) == all_lists
