"""tune as a user types it: the choice, its honest value, and the file that rerank takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from rrarank.data.trec import read_run
from rrarank.engine.interpolation_files import FORMAT
from rrarank.rerank.__main__ import main as rerank
from rrarank.storage.yaml_settings import read_yaml
from rrarank.tune.__main__ import main
from rrarank.tune.job import TuneJob, tune_interpolation

QUERIES = 12


def read_tuned(path: str | Path) -> dict[str, Any]:
    return dict(read_yaml(path))


def write_run(path, scores, tag):
    lines = (f"{qid} Q0 {docid} 1 {score} {tag}\n" for qid in range(QUERIES) for docid, score in scores.items())
    Path(path).write_text("".join(lines))


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Document b is relevant. The first stage has it second, the reranker too, each behind another document."""
    monkeypatch.chdir(tmp_path)
    write_run("first.trec", {"a": 10, "b": 9, "c": 1, "d": 0}, "first")
    write_run("reranked.trec", {"c": 10, "b": 9, "a": 1, "d": 0}, "rra")
    Path("qrels.txt").write_text("".join(f"{qid} 0 b 1\n{qid} 0 d 0\n" for qid in range(QUERIES)))
    return ["--run", "first.trec", "--qrels", "qrels.txt", "--reranked", "reranked.trec"]


def test_the_weight_is_found_where_only_both_scores_together_find_the_document(judged, capsys):
    assert main([*judged, "--figure", "curve.png"]) == 0
    out, err = capsys.readouterr()
    assert out == "first.interpolation.yaml\ncurve.png\n"
    content = read_tuned("first.interpolation.yaml")
    assert content["format"] == FORMAT
    assert 0 < content["weight"] < 1
    assert content["chosen_on"]["queries"] == QUERIES
    assert content["chosen_on"]["held_out_mean"] == 1.0
    assert "minus reranker alone: +0.3691" in err
    assert Path("curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_sidecar_names_the_inputs_and_every_test(judged):
    main(judged)
    sidecar = json.loads(Path("first.interpolation.yaml.json").read_text())
    assert set(sidecar["inputs"]) == {"run", "reranked", "qrels"}
    assert [one["system"] for one in sidecar["comparisons"]] == ["first stage", "reranker alone"]
    assert sidecar["chosen"][0]["share"] == 1.0


def test_what_queries_cannot_tell_apart_is_said_to_be_not_resolved(judged, capsys):
    """Half of the queries want b, the others c: what a weight wins here it loses there."""
    lines = (f"{qid} 0 {'b' if qid % 2 else 'c'} 1\n" for qid in range(QUERIES))
    Path("qrels.txt").write_text("".join(lines))
    assert main(judged) == 0
    assert "not resolved: these queries do not show" in capsys.readouterr().err


def test_depths_are_chosen_too_and_ties_go_to_the_smaller(judged):
    found = tune_interpolation(TuneJob("first.trec", "qrels.txt", "reranked.trec", depths=(3, 2, 4)))
    assert found.depth == 2
    assert {depth for _, depth in found.tuned.means} == {2, 3, 4}


def test_what_the_file_promises_is_what_rerank_then_writes(make_job, capsys):
    """Tune by re-ranking here, then re-rank with the file: the mean on these queries is the promised one."""
    flags = make_job(QUERIES)
    Path("qrels.txt").write_text("".join(f"{qid} 0 d{1 + qid % 5} 1\n" for qid in range(QUERIES)))
    assert main([*flags, "--qrels", "qrels.txt", "--depths", "3", "5", "--output", "tuned.yaml"]) == 0
    assert not Path("tuned.yaml.journal").exists()
    stored = read_tuned("tuned.yaml")
    assert stored["reranker"] == "cross-encoder"
    assert len(stored["model"]) == 64
    assert rerank([*flags, "--interpolate", "tuned.yaml", "--output", "out.trec"]) == 0
    config = json.loads(Path("out.trec.json").read_text())["config"]
    assert config["depth"] == stored["depth"]
    assert config["interpolation"] == {"weight": stored["weight"], "norm": "z-score"}

    from rrarank import evaluate_runs, read_qrels

    found = evaluate_runs(read_qrels("qrels.txt"), {"out": read_run("out.trec")}, measures=["ndcg@10"])
    assert found.rows[0].means["ndcg@10"] == pytest.approx(stored["chosen_on"]["mean"], abs=1e-4)


def test_a_reranked_run_says_which_model_made_it(make_job):
    flags = make_job(QUERIES)
    Path("qrels.txt").write_text("".join(f"{qid} 0 d{1 + qid % 5} 1\n" for qid in range(QUERIES)))
    rerank([*flags, "--interpolate", "1", "--output", "alone.trec"])
    here = tune_interpolation(TuneJob("bm25.trec", "qrels.txt", "alone.trec", output="from-run.yaml"))
    main([*flags, "--qrels", "qrels.txt", "--output", "by-model.yaml"])
    assert read_tuned("from-run.yaml") == read_tuned("by-model.yaml")
    assert here.interpolation.weight == read_tuned("by-model.yaml")["weight"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--norm", "min-max"], "tuned.yaml: chosen for scores normalised by z-score, not by min-max"),
        (["--reranker", "bm25"], "tuned.yaml: tuned for the reranker 'cross-encoder', this job uses 'bm25'"),
    ],
)
def test_a_file_for_something_else_is_refused(make_job, capsys, flags, message):
    job = make_job(QUERIES)
    Path("tuned.yaml").write_text(f"format: {FORMAT}\nweight: 0.5\nreranker: cross-encoder\n")
    job = job[:-4] if "--reranker" in flags else job
    assert rerank([*job, "--interpolate", "tuned.yaml", *flags, "--output", "out.trec"]) == 2
    assert message in capsys.readouterr().err


def test_a_file_for_another_model_is_refused(make_job, capsys):
    job = make_job(2)
    Path("tuned.yaml").write_text(f"format: {FORMAT}\nweight: 0.5\nmodel: {'ab' * 32}\n")
    assert rerank([*job, "--interpolate", "tuned.yaml", "--output", "out.trec"]) == 2
    assert "tuned.yaml: tuned for a model with other files" in capsys.readouterr().err
    assert not Path("out.trec").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weight: 0.5\n", "format None, expected 'rrarank.interpolation/1'"),
        (f"format: {FORMAT}\nweight: 1.5\n", "interpolation weight 1.5"),
        (f"format: {FORMAT}\n", "expected either weight or rule"),
        (f"format: {FORMAT}\nweight: 0.5\nwait: 3\n", "wait is an unknown key"),
    ],
)
def test_a_file_that_is_none_gets_one_line(make_job, capsys, text, message):
    job = make_job(1)
    Path("tuned.yaml").write_text(text)
    assert rerank([*job, "--interpolate", "tuned.yaml", "--output", "out.trec"]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_absent_is_named(make_job, capsys):
    assert rerank([*make_job(1), "--interpolate", "absent.yaml", "--output", "out.trec"]) == 2
    assert "absent.yaml: cannot be read (No such file" in capsys.readouterr().err


def test_candidates_that_a_reranked_run_has_no_scores_of_are_counted(make_job, capsys):
    flags = make_job(QUERIES)
    Path("passages.jsonl").write_text("".join(list(open("texts.jsonl"))[1:]))
    flags[flags.index("texts.jsonl")] = "passages.jsonl"
    assert rerank([*flags, "--skip-missing", "--output", "gaps.trec"]) == 0
    lacking = json.loads(Path("gaps.trec.json").read_text())["without_text"]
    assert lacking > 0
    Path("qrels.txt").write_text("".join(f"{qid} 0 d1 1\n" for qid in range(QUERIES)))
    assert main(["--run", "bm25.trec", "--qrels", "qrels.txt", "--reranked", "gaps.trec"]) == 0
    assert f"gaps.trec: {lacking} candidates had no text, so their scores are not" in capsys.readouterr().err


def test_the_figure_does_not_take_the_place_of_the_file(judged, capsys):
    assert main([*judged, "--output", "tuned.png", "--figure", "./tuned.png"]) == 2
    assert "--figure ./tuned.png: is the place of the file to write" in capsys.readouterr().err
    assert not Path("tuned.png").exists()


def test_an_interpolated_run_cannot_be_tuned_on(make_job, capsys):
    flags = make_job(QUERIES)
    Path("qrels.txt").write_text("".join(f"{qid} 0 d1 1\n" for qid in range(QUERIES)))
    rerank([*flags, "--interpolate", "0.5", "--output", "half.trec"])
    assert main(["--run", "bm25.trec", "--qrels", "qrels.txt", "--reranked", "half.trec"]) == 2
    assert "half.trec: was made with interpolation" in capsys.readouterr().err


def test_a_run_that_lacks_candidates_is_refused(judged, capsys):
    write_run("reranked.trec", {"c": 10, "b": 9}, "rra")
    assert main(judged) == 2
    assert "lacks candidates of 12 queries" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--step", "0.3"], "step 0.3: 1 is no multiple of it"),
        (["--step", "0"], "step 0.0, expected above 0"),
        (["--folds", "1"], "1 folds, 10 times"),
        (["--measure", "nonsense"], "nonsense"),
        (["--figure", "curve.txt"], "curve.txt"),
    ],
)
def test_wrong_settings_are_named_before_anything_is_read(judged, capsys, flags, message):
    assert main([*judged, *flags]) == 2
    assert message in capsys.readouterr().err
    assert not Path("first.interpolation.yaml").exists()


def test_an_existing_file_needs_overwrite(judged, capsys):
    Path("first.interpolation.yaml").write_text("mine\n")
    assert main(judged) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert main([*judged, "--overwrite"]) == 0


def test_too_few_judged_queries_are_refused(judged, capsys):
    Path("qrels.txt").write_text("0 0 b 1\n1 0 b 1\n")
    assert main(judged) == 2
    assert "2 judged queries, expected at least 10" in capsys.readouterr().err
