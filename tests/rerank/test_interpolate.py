"""rerank --interpolate, as a user types it."""

import json
from pathlib import Path

import pytest

from rrarank.data.trec import read_run
from rrarank.rerank.__main__ import main


def order(path):
    run = read_run(path)
    return {qid: [hit.docid for hit in run[qid]] for qid in run}


def test_at_weight_zero_the_first_stages_order_comes_back_and_the_sidecar_says_so(make_job):
    assert main([*make_job(3), "--interpolate", "0", "--output", "zero.trec"]) == 0
    assert order("zero.trec") == order("bm25.trec")
    config = json.loads(Path("zero.trec.json").read_text())["config"]
    assert config["interpolation"] == {"weight": 0.0, "norm": "z-score"}


def test_at_weight_one_the_run_is_that_of_the_reranker_alone(make_job):
    flags = make_job(3)
    assert main([*flags, "--output", "alone.trec"]) == 0
    assert main([*flags, "--interpolate", "1", "--norm", "min-max", "--output", "one.trec"]) == 0
    assert Path("one.trec").read_bytes() == Path("alone.trec").read_bytes()


def test_scores_that_are_only_ranks_are_named(make_job, capsys):
    assert main([*make_job(3), "--interpolate", "0.5", "--output", "half.trec"]) == 0
    assert "so they are ranks; --norm rank may fit better" in capsys.readouterr().err


def test_a_first_stage_of_equal_scores_is_refused_before_the_model_loads(make_job, capsys):
    flags = make_job(2)
    Path("bm25.trec").write_text("".join(f"{qid} Q0 d{n} {n} 1 bm25\n" for qid in range(2) for n in range(1, 6)))
    assert main([*flags, "--interpolate", "0.5", "--output", "half.trec"]) == 2
    assert "the first stage's scores are equal" in capsys.readouterr().err
    assert not Path("half.trec").exists()


@pytest.mark.parametrize("weight", ["-0.1", "1.5", "half", "nan"])
def test_another_weight_is_a_usage_error(make_job, capsys, weight):
    with pytest.raises(SystemExit) as end:
        main([*make_job(1), "--interpolate", weight])
    assert end.value.code == 2
    assert "expected a number from 0 to 1" in capsys.readouterr().err
