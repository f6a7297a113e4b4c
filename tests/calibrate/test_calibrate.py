"""calibrate, as a user types it, and what rerank makes of the file."""

import json
import math
import shutil
from pathlib import Path

import pytest

import rrarank
from rrarank.calibrate.__main__ import main
from rrarank.data.calibration import Isotonic, Platt, find_map, read_calibration
from rrarank.data.trec import read_run
from rrarank.errors import RrarankError
from rrarank.rerank.__main__ import main as rerank
from rrarank.storage.model_folders import fingerprint

QUERIES = 12


@pytest.fixture
def work(make_job, cross_encoder_folder):
    """(flags, folder): a run of 12 queries with judgments, and a model folder of its own: longer documents, which
    this model scores higher, are mostly relevant."""
    flags = make_job(QUERIES)
    folder = shutil.copytree(cross_encoder_folder, Path("model"))
    scores = by_docid([*flags[:-1], str(folder)])
    order = sorted(scores, key=scores.__getitem__)
    lines = []
    for qid in range(QUERIES):
        flipped = qid % 3 == 0  # in these queries the best document is not relevant
        grades = {docid: 2 * int(place >= 3) for place, docid in enumerate(order)}
        grades[order[-1]] = 0 if flipped else 2
        lines += [f"{qid} 0 {docid} {grade}\n" for docid, grade in grades.items() if docid != order[2]]  # one unjudged
    Path("qrels.txt").write_text("".join(lines))
    return [*flags[:-1], str(folder)], folder


def by_docid(flags):
    assert rerank([*flags, "--output", "plain.trec", "--overwrite"]) == 0
    hits = read_run(Path("plain.trec"))["0"]
    return {hit.docid: hit.score for hit in hits}


def calibrate(flags, *more):
    return main([*flags, "--qrels", "qrels.txt", "--rel-level", "2", *more])


def test_the_map_lies_in_the_models_folder_and_changes_neither_scores_nor_fingerprint(work, capsys):
    flags, folder = work
    before = fingerprint(folder)
    assert calibrate(flags) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "model/calibration.json"
    assert "P(relevant) = 1 / (1 + exp(" in said.out
    assert "12 queries, 48 of 60 candidates judged, 20 relevant (grade 2 and up)" in said.err
    assert fingerprint(folder) == before
    assert not Path("model/calibration.json.journal").exists()
    plain = Path("plain.trec").read_bytes()
    assert rerank([*flags, "--output", "plain.trec", "--overwrite"]) == 0
    assert Path("plain.trec").read_bytes() == plain


def test_the_file_says_what_it_rests_on(work):
    flags, folder = work
    assert calibrate(flags, "--target-precision", ".5", ".99") == 0
    content = json.loads(Path("model/calibration.json").read_text())
    assert content["format"] == "rrarank.calibration/1"
    assert content["model"] == {"name": "model", "sha256": fingerprint(folder)}
    [one] = content["sets"]
    assert (one["queries"], one["pairs"], one["relevant"], one["candidates"]) == (12, 48, 20, 60)
    assert (one["rel_level"], one["unjudged"], one["run"]["name"]) == (2, "leave-out", "bm25.trec")
    assert content["held_out"]["share"] == pytest.approx(20 / 48)
    assert [row["wanted"] for row in content["thresholds"]] == [0.5, 0.99]
    assert content["thresholds"][1]["score"]["value"] is None  # not reached; JSON has no infinity
    assert str(Path.cwd()) not in Path("model/calibration.json").read_text()


def test_a_run_that_this_model_ranked_is_not_scored_again(work, capsys):
    flags, folder = work
    by_docid(flags)
    assert main(["--run", "plain.trec", "--qrels", "qrels.txt", "--rel-level", "2", "--model", str(folder)]) == 0
    ranked = json.loads(Path("model/calibration.json").read_text())
    assert ranked["sets"][0]["scores"] == "of the run"
    assert calibrate(flags, "--overwrite") == 0
    scored = json.loads(Path("model/calibration.json").read_text())
    assert scored["sets"][0]["scores"] == "made here"
    assert scored["map"]["slope"] == pytest.approx(ranked["map"]["slope"], rel=1e-4)


def test_an_interpolated_run_is_scored_again(work):
    flags, folder = work
    assert rerank([*flags, "--interpolate", "0.5", "--output", "half.trec"]) == 0
    assert main(["--run", "half.trec", "--qrels", "qrels.txt", "--rel-level", "2", "--model", str(folder)]) == 0
    assert json.loads(Path("model/calibration.json").read_text())["sets"][0]["scores"] == "made here"


def test_a_map_elsewhere_is_used_by_its_flag(work):
    flags, _ = work
    assert calibrate(flags, "--output", "mine.json", "--method", "isotonic") == 0
    assert not Path("model/calibration.json").exists()
    assert rerank([*flags, "--output", "a.trec", "--relevance", "a.tsv"]) == 2
    assert rerank([*flags, "--output", "a.trec", "--relevance", "a.tsv", "--calibration", "mine.json"]) == 0
    assert len(Path("a.tsv").read_text().splitlines()) == 1 + 5 * QUERIES


def test_checking_measures_the_map_and_writes_nothing(work, capsys):
    flags, _ = work
    assert calibrate(flags, "--check") == 2
    assert "has no calibration to check; leave --check out" in capsys.readouterr().err
    assert calibrate(flags, "--target-precision", ".4") == 0
    written = Path("model/calibration.json").read_bytes()
    capsys.readouterr()
    assert calibrate(flags, "--check", "--figure", "diagram.svg") == 0
    assert "these queries" in capsys.readouterr().out
    assert Path("model/calibration.json").read_bytes() == written
    assert "<svg" in Path("diagram.svg").read_text()


def test_several_runs_are_pooled_each_with_its_own_grade(work):
    flags, folder = work
    by_docid(flags)
    Path("yes.txt").write_text("".join(f"{qid} 0 d5 1\n" for qid in range(QUERIES)))
    more = ["--run", "plain.trec", "plain.trec", "--qrels", "qrels.txt", "yes.txt", "--model", str(folder)]
    assert main([*more, "--rel-level", "2", "1", "--unjudged", "leave-out", "irrelevant"]) == 0
    sets = json.loads(Path("model/calibration.json").read_text())["sets"]
    assert [(one["queries"], one["pairs"], one["relevant"]) for one in sets] == [(12, 48, 20), (12, 60, 12)]
    assert main([*more, "--rel-level", "2", "1", "2"]) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--rel-level", "3"], "no judged candidate has grade 3 or more; give another --rel-level"),
        (["--target-precision", "1.5"], "--target-precision 1.5: expected a number between 0 and 1"),
        (["--reranker", "bm25", "--model", ""], "bm25: has no model that scores each document on its own"),
        (["--figure", "x.gif"], "x.gif"),
        (["--check", "--calibration", "absent.json"], "--calibration absent.json: no such file"),
        (["--check", "--output", "x.json"], "--output with --check, which writes no map"),
        (["--calibration", "qrels.txt"], "--calibration is the map that --check measures"),
    ],
)
def test_what_cannot_be_done_is_one_line(work, capsys, more, said):
    flags, _ = work
    capsys.readouterr()
    assert calibrate(flags, *more) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert said in line
    assert not Path("model/calibration.json").exists()


def test_judgments_of_relevant_documents_alone_need_a_word(work, capsys):
    flags, _ = work
    Path("qrels.txt").write_text("".join(f"{qid} 0 d5 2\n" for qid in range(QUERIES)))
    assert calibrate(flags) == 2
    assert "give --unjudged irrelevant" in capsys.readouterr().err


def test_scores_that_fall_with_relevance_give_no_map(work, capsys):
    flags, _ = work
    scores = by_docid(flags)
    worst = min(scores, key=scores.__getitem__)
    lines = (f"{qid} 0 {docid} {2 * (docid == worst)}\n" for qid in range(QUERIES) for docid in scores)
    Path("qrels.txt").write_text("".join(lines))
    assert calibrate(flags) == 2
    assert "relevant documents do not have higher scores than others" in capsys.readouterr().err


# -- reading a map ----------------------------------------------------------------------------------------------------


def written(path, **changes):
    content = {
        "format": "rrarank.calibration/1",
        "model": {"name": "m", "sha256": "abc"},
        "map": {"method": "platt", "slope": 2.0, "intercept": -1.0},
    }
    path.write_text(json.dumps(content | changes))
    return path


def test_a_map_reads_back(tmp_path):
    found = read_calibration(written(tmp_path / "c.json")).map
    assert found == Platt(2.0, -1.0)
    assert found(0.5) == 0.5
    assert found(1e9) == 1
    assert found(-1e9) == 0


def test_isotonic_rises_in_straight_lines_and_is_flat_beyond_its_ends():
    found = Isotonic((0.0, 1.0, 3.0), (0.1, 0.1, 0.9))
    assert [found(score) for score in (-5, 0, 0.5, 1, 2, 3, 9)] == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.5, 0.9, 0.9])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "rrarank.calibration/2"}, "this version reads 'rrarank.calibration/1'; update rrarank"),
        ({"format": "other"}, "not a calibration file"),
        ({"map": {"method": "platt", "slope": -1, "intercept": 0}}, "its map is damaged"),
        ({"map": {"method": "platt", "slope": 1}}, "its map is damaged"),
        ({"map": {"method": "spline"}}, "its map is damaged"),
        ({"map": {"method": "isotonic", "scores": [1, 0], "relevance": [0, 1]}}, "its map is damaged"),
        ({"map": {"method": "isotonic", "scores": [0, 1], "relevance": [0]}}, "its map is damaged"),
        ({"map": {"method": "isotonic", "scores": [], "relevance": []}}, "its map is damaged"),
    ],
)
def test_a_file_that_is_no_map_of_ours_is_refused(tmp_path, changes, said):
    with pytest.raises(RrarankError, match=said.replace("/", "/")):
        read_calibration(written(tmp_path / "c.json", **changes))


def test_a_map_of_other_weights_is_refused(tmp_path):
    assert find_map(written(tmp_path / "c.json"), "rra-bert {} abc") == Platt(2.0, -1.0)
    with pytest.raises(RrarankError, match="was fitted to the scores of other weights"):
        find_map(tmp_path / "c.json", "rra-bert {} abd")


# -- rank -------------------------------------------------------------------------------------------------------------


def test_rank_returns_relevance_and_leaves_out_what_is_below_the_least(work):
    flags, folder = work
    texts = ["tea cat", "tea tea tea cat", "tea tea tea tea tea cat", ""]
    before = rrarank.rank("why cats and dogs", texts, model=rrarank.load_reranker("cross-encoder", model=str(folder)))
    assert [one.relevance for one in before] == [None] * 4
    with pytest.raises(RrarankError, match="min_relevance: the model has no calibration"):
        rrarank.rank("q", texts, min_relevance=0.5, model=rrarank.load_reranker("cross-encoder", model=str(folder)))
    assert calibrate(flags) == 0
    model = rrarank.load_reranker("cross-encoder", model=str(folder))
    found = rrarank.rank("why cats and dogs", texts, model=model)
    assert [one.score for one in found] == [one.score for one in before]
    assert found[-1].relevance is None  # it has no text
    by = read_calibration(folder / "calibration.json").map
    assert [one.relevance for one in found[:3]] == [by(one.score) for one in found[:3]]
    least = found[1].relevance
    assert rrarank.rank("why cats and dogs", texts, model=model, min_relevance=least) == found[:2]
    assert rrarank.rank("why cats and dogs", texts, model=model, min_score=found[0].score) == found[:1]
    assert len(rrarank.rank("why cats and dogs", texts, model=model, min_score=-1e9)) == 3
    for score, relevance in ((None, 1.5), (None, math.nan), (math.inf, None)):
        with pytest.raises(RrarankError):
            rrarank.rank("q", texts, model=model, min_score=score, min_relevance=relevance)
