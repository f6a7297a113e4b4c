"""The rule that a model carries: what rerank does without --interpolate, and with --interpolate auto."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rrarank import load_reranker, rerank_run
from rrarank.data.trec import read_run
from rrarank.engine.interpolation_files import FORMAT
from rrarank.errors import RrarankError
from rrarank.merge import main as merge
from rrarank.rerank.__main__ import main
from rrarank.storage.model_folders import INTERPOLATION, fingerprint

RULE = {"threshold": 0.5, "agreeing": 0.4, "differing": 0.9}


def config_of(path):
    return json.loads(Path(f"{path}.json").read_text())["config"]["interpolation"]


def name_first_stage(tag):
    """Give the run of `make_job` another tag."""
    run = Path("bm25.trec")
    run.write_text("".join(f"{line.rsplit(maxsplit=1)[0]} {tag}\n" for line in run.read_text().splitlines()))


@pytest.fixture
def with_rule(make_job, cross_encoder_folder, tmp_path):
    """Flags of a job whose model carries a rule."""
    flags = make_job(10)
    folder = tmp_path / "model"
    shutil.copytree(cross_encoder_folder, folder)
    (folder / INTERPOLATION).write_text(json.dumps({"format": FORMAT, "rule": RULE}))
    return [*flags[:-1], str(folder)]


def test_the_rule_is_used_and_named_in_a_line_and_in_the_sidecar(with_rule, capsys):
    assert main([*with_rule, "--interpolate", "auto", "--output", "auto.trec"]) == 0
    said = capsys.readouterr().err
    assert "the reranker's weight will be 0.4 if the two rankings agree by 0.5 or more, else 0.9" in said
    found = config_of("auto.trec")
    assert f"weight of the reranker {found['weight']:g}: the two rankings agree by" in said
    assert found["rule"] == RULE | {"lexical": None, "learned": None}
    main([*with_rule, "--interpolate", str(found["weight"]), "--output", "number.trec"])
    assert Path("auto.trec").read_bytes() == Path("number.trec").read_bytes()


def test_a_rule_by_the_kind_of_first_stage(with_rule, capsys):
    """The run of `make_job` has no sidecar, and its tag is that of BM25."""
    rule = RULE | {"lexical": 0.8, "learned": 0.3}
    Path(with_rule[-1], INTERPOLATION).write_text(json.dumps({"format": FORMAT, "rule": rule}))
    for tag, weight in {"bm25": 0.8, "splade": 0.3}.items():
        name_first_stage(tag)
        kind, words = {"bm25": ("lexical", "lexical"), "splade": ("learned", "dense or learned-sparse")}[tag]
        assert main([*with_rule, "--interpolate", "auto", "--output", f"{kind}.trec"]) == 0
        assert f"the first stage is {words}, so the reranker's weight is {weight:g};" in capsys.readouterr().err
        found = config_of(f"{kind}.trec")
        assert (found["weight"], found["first_stage"], found["rule"]) == (weight, kind, rule)
        main([*with_rule, "--interpolate", str(weight), "--output", f"{kind}.number.trec"])
        assert Path(f"{kind}.trec").read_bytes() == Path(f"{kind}.number.trec").read_bytes()


def test_a_number_beats_the_rule(with_rule):
    main([*with_rule, "--interpolate", "1", "--output", "one.trec"])
    assert config_of("one.trec") == {"weight": 1.0, "norm": "z-score"}


def test_without_a_rule_auto_says_what_it_takes(make_job, capsys):
    flags = make_job(3)
    assert main([*flags, "--interpolate", "auto", "--output", "auto.trec"]) == 0
    assert "--interpolate auto: this model carries no rule; using 0.5" in capsys.readouterr().err
    assert config_of("auto.trec") == {"weight": 0.5, "norm": "z-score"}
    main([*flags, "--interpolate", "0.5", "--output", "half.trec"])
    assert Path("auto.trec").read_bytes() == Path("half.trec").read_bytes()


def test_a_rule_for_another_norm_is_refused(with_rule, capsys):
    assert main([*with_rule, "--interpolate", "auto", "--norm", "rank", "--output", "auto.trec"]) == 2
    assert "chosen for scores normalised by z-score, not by rank" in capsys.readouterr().err


def test_a_model_with_a_rule_is_still_the_same_model(cross_encoder_folder, with_rule):
    assert fingerprint(Path(with_rule[-1])) == fingerprint(cross_encoder_folder)


def test_a_part_of_a_run_cannot_choose_for_the_whole(with_rule, capsys):
    assert main([*with_rule, "--interpolate", "auto", "--shard", "1/2", "--output", "part.trec"]) == 2
    assert "--shard with --interpolate auto: the parts would not make the whole" in capsys.readouterr().err


def test_parts_refuse_a_file_whose_rule_needs_all_queries(with_rule, capsys):
    file = str(Path(with_rule[-1], INTERPOLATION))
    assert main([*with_rule, "--interpolate", file, "--shard", "1/2", "--output", "part.trec"]) == 2
    assert "--shard: this rule of --interpolate needs the scores of all queries" in capsys.readouterr().err
    assert not Path("part.trec").exists()
    Path("number.json").write_text(json.dumps({"format": FORMAT, "weight": 0.5}))
    assert main([*with_rule, "--interpolate", "number.json", "--shard", "1/2", "--output", "part.trec"]) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight": 2}, "interpolation weight 2.0, expected a number from 0 to 1"),
        ({"weight": 0.5, "depth": -3}, "depth -3, expected 1 or more, or 0 for none"),
        ({"weight": 0.5, "more": 1}, "more is an unknown key"),
        ({"rule": RULE | {"agreeing": 5}}, "interpolation weight 5.0, expected a number from 0 to 1"),
        ({"rule": RULE | {"learned": -1}}, "interpolation weight -1.0, expected a number from 0 to 1"),
        ({"rule": RULE | {"threshold": float("nan")}}, "threshold nan of a rule, expected a number"),
    ],
)
def test_a_file_with_a_wrong_number_is_named_before_anything_is_scored(with_rule, capsys, content, message):
    Path("wrong.json").write_text(json.dumps({"format": FORMAT} | content).replace("NaN", ".nan"))
    assert main([*with_rule, "--interpolate", "wrong.json", "--output", "wrong.trec"]) == 2
    assert f"error: wrong.json: {message}" in capsys.readouterr().err
    assert not Path("wrong.trec").exists()


# -- without --interpolate --------------------------------------------------------------------------------------------


@pytest.fixture
def with_kinds(with_rule):
    """The same, and the rule says weights by the kind of the first stage."""
    rule = RULE | {"lexical": 0.8, "learned": 0.3}
    Path(with_rule[-1], INTERPOLATION).write_text(json.dumps({"format": FORMAT, "rule": rule}))
    return with_rule


def alone(flags):
    main([*flags, "--interpolate", "1", "--output", "alone.trec", "--overwrite"])
    return Path("alone.trec").read_bytes()


def test_over_a_dense_first_stage_the_default_is_the_weight_of_the_rule(with_kinds, capsys):
    name_first_stage("tas-b")
    assert main([*with_kinds, "--output", "default.trec"]) == 0
    said = "the first stage is dense or learned-sparse, so the reranker's weight is 0.3; for the reranker alone: "
    assert f"{said}--interpolate 1" in capsys.readouterr().err
    main([*with_kinds, "--interpolate", "auto", "--output", "auto.trec"])
    assert config_of("default.trec") == config_of("auto.trec")
    assert config_of("default.trec")["weight"] == 0.3
    assert Path("default.trec").read_bytes() == Path("auto.trec").read_bytes() != alone(with_kinds)


def test_a_dry_run_says_the_weight(with_kinds, capsys):
    name_first_stage("splade-pp")
    assert main([*with_kinds, "--dry-run"]) == 0
    assert "the reranker's weight is 0.3; for the reranker alone: --interpolate 1" in capsys.readouterr().err


def test_over_bm25_the_reranker_decides_alone(with_kinds, capsys):
    assert main([*with_kinds, "--output", "default.trec"]) == 0
    assert "weight" not in capsys.readouterr().err
    assert config_of("default.trec") == {"weight": 1.0, "norm": "z-score"}
    assert Path("default.trec").read_bytes() == alone(with_kinds)


def test_over_an_unknown_first_stage_the_reranker_decides_and_a_line_says_what_to_give(with_kinds, capsys):
    name_first_stage("Anserini")
    assert main([*with_kinds, "--output", "default.trec"]) == 0
    said = (
        "the tag 'Anserini' does not say what the first stage is; if it is dense or learned-sparse, give --interpolate"
    )
    assert f"{said} 0.3" in capsys.readouterr().err
    assert Path("default.trec").read_bytes() == alone(with_kinds)


def test_over_a_reranked_run_nothing_is_said(with_kinds, capsys):
    assert main([*with_kinds, "--interpolate", "1", "--runtag", "e5", "--output", "once.trec"]) == 0
    capsys.readouterr()
    assert main(["--run", "once.trec", *with_kinds[2:], "--output", "twice.trec"]) == 0
    assert "--interpolate" not in capsys.readouterr().err
    assert config_of("twice.trec")["weight"] == 1


@pytest.mark.parametrize("tag", ["dense", "Anserini"])
def test_without_weights_by_kind_the_reranker_decides_and_nothing_is_said(with_rule, capsys, tag):
    name_first_stage(tag)
    assert main([*with_rule, "--output", "default.trec"]) == 0
    assert "--interpolate" not in capsys.readouterr().err
    assert config_of("default.trec") == {"weight": 1.0, "norm": "z-score"}


def test_over_equal_scores_the_default_is_the_order_of_the_reranker(with_kinds, capsys):
    Path("bm25.trec").write_text("".join(f"{qid} Q0 d{n} {n} 1 dense\n" for qid in range(10) for n in range(1, 6)))
    assert main([*with_kinds, "--output", "default.trec"]) == 0
    assert "so the reranker alone decides" in capsys.readouterr().err
    main([*with_kinds, "--interpolate", "1", "--output", "alone.trec"])
    one, other = read_run("default.trec"), read_run("alone.trec")
    assert {qid: [hit.docid for hit in one[qid]] for qid in one} == {
        qid: [hit.docid for hit in other[qid]] for qid in other
    }


def test_a_norm_that_the_rule_was_not_learnt_for_is_refused(with_kinds, capsys):
    name_first_stage("dense")
    assert main([*with_kinds, "--norm", "rank", "--output", "default.trec"]) == 2
    assert "leave --norm out, or give a weight" in capsys.readouterr().err


def test_the_parts_of_a_run_take_the_weight_of_the_whole(with_kinds):
    name_first_stage("splade")
    main([*with_kinds, "--output", "whole.trec"])
    parts = ["1.trec", "2.trec"]
    for number, part in enumerate(parts, start=1):
        assert main([*with_kinds, "--shard", f"{number}/2", "--output", part]) == 0
    assert merge([*parts, "--output", "merged.trec"]) == 0
    assert Path("merged.trec").read_bytes() == Path("whole.trec").read_bytes()
    assert config_of("merged.trec") == config_of("whole.trec")


def test_a_least_score_goes_by_the_rerankers_own(with_kinds):
    name_first_stage("splade")
    main([*with_kinds, "--interpolate", "1", "--output", "alone.trec"])
    scores = {(qid, hit.docid): hit.score for qid, hits in read_run("alone.trec").items() for hit in hits}
    least = sorted(scores.values())[len(scores) // 2] - 1e-6
    main([*with_kinds, "--min-score", str(least), "--output", "kept.trec"])
    kept = {(qid, hit.docid) for qid, hits in read_run("kept.trec").items() for hit in hits}
    assert kept == {pair for pair, score in scores.items() if score >= least}


def test_from_python_the_default_is_the_same(with_kinds):
    """By the tag of a run in memory, and by that of a file."""
    name_first_stage("dense")
    main([*with_kinds, "--output", "default.trec"])
    reranker = load_reranker("cross-encoder", model=with_kinds[-1])
    rerank = partial(rerank_run, model=reranker, topics="topics.tsv", collection="texts.jsonl")

    def order(run):
        return {qid: [hit.docid for hit in run[qid]] for qid in run}

    expected = order(read_run("default.trec"))
    assert order(rerank("bm25.trec")) == expected
    assert order(rerank(read_run("bm25.trec"))) == expected
    only = rerank("bm25.trec", interpolation=1)
    main([*with_kinds, "--interpolate", "1", "--output", "alone.trec"])
    assert order(only) == order(read_run("alone.trec")) != expected


def test_scores_that_are_all_equal_are_refused_from_python_too(with_kinds):
    lines = (f"{qid} Q0 d{n} {n} 1 bm25\n" for qid in range(2) for n in range(1, 6))
    Path("bm25.trec").write_text("".join(lines))
    ask = partial(rerank_run, "bm25.trec", "bm25", topics="topics.tsv", collection="texts.jsonl")
    with pytest.raises(RrarankError, match="the first stage's scores are equal"):
        ask(interpolation=0.5)
    assert ask(interpolation=1).keys() == ask().keys() == {"0", "1"}


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_weight_of_numpy_is_a_number(make_job, kind):
    make_job(1)
    ask = partial(rerank_run, "bm25.trec", "bm25", topics="topics.tsv", collection="texts.jsonl")
    assert ask(interpolation=kind(0.5)).hits == ask(interpolation=0.5).hits


@pytest.mark.parametrize("odd", ["auto", True, 1.5, float("nan")])
def test_another_weight_from_python_is_an_error(make_job, odd):
    make_job(1)
    with pytest.raises(RrarankError, match="expected a number from 0 to 1"):
        rerank_run("bm25.trec", "bm25", topics="topics.tsv", collection="texts.jsonl", interpolation=odd)


def test_a_rule_for_another_reranker_is_refused_from_python_too(with_kinds):
    content = json.loads(Path(with_kinds[-1], INTERPOLATION).read_text()) | {"reranker": "rra-bert"}
    Path(with_kinds[-1], INTERPOLATION).write_text(json.dumps(content))
    name_first_stage("dense")
    reranker = load_reranker("cross-encoder", model=with_kinds[-1])
    with pytest.raises(RrarankError, match="tuned for the reranker 'rra-bert', this job uses 'cross-encoder'"):
        rerank_run("bm25.trec", reranker, topics="topics.tsv", collection="texts.jsonl")
