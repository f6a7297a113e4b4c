"""rerank --min-score, --min-relevance and --relevance, as a user types them."""

import json
from pathlib import Path

import pytest

from rrarank import load_reranker
from rrarank.data.trec import read_run
from rrarank.rerank.__main__ import main
from rrarank.storage.model_folders import fingerprint


@pytest.fixture
def job(make_job, cross_encoder_folder):
    """Flags, with a calibration whose relevance is one half at the third best of the first query's documents."""
    flags = make_job(3)
    assert main([*flags, "--output", "plain.trec"]) == 0
    middle = read_run(Path("plain.trec"))["0"][2].score
    content = {
        "format": "rrarank.calibration/1",
        "model": {"name": "m", "sha256": fingerprint(cross_encoder_folder)},
        "map": {"method": "platt", "slope": 1.0, "intercept": -middle},
    }
    Path("mine.json").write_text(json.dumps(content))
    return flags


def docids(path, qid="0"):
    return [hit.docid for hit in read_run(Path(path)).hits.get(qid, [])]


def test_documents_below_the_least_score_and_the_tail_are_left_out(job, capsys):
    top = read_run(Path("plain.trec"))["0"]
    assert main([*job, "--depth", "4", "--min-score", str(top[1].score - 1e-4), "--output", "high.trec"]) == 0
    whole = docids("plain.trec")
    kept = docids("high.trec")
    assert set(kept) <= set(whole[:2])
    assert "re-ranked documents are kept, and nothing below them" in capsys.readouterr().err
    config = json.loads(Path("high.trec.json").read_text())["config"]
    assert config["floor"] == {"score": top[1].score - 1e-4, "relevance": None}


def test_a_query_that_keeps_nothing_is_not_in_the_run_and_is_counted(job, capsys):
    assert main([*job, "--min-score", "1000", "--output", "none.trec"]) == 0
    assert Path("none.trec").read_text() == ""
    err = capsys.readouterr().err
    assert "0 of 15 re-ranked documents are kept, and nothing below them; 3 queries keep none" in err
    assert "recall falls, so compare this run by precision" in err


def test_least_relevance_needs_a_map_and_goes_by_it(job, capsys):
    assert main([*job, "--min-relevance", "0.5", "--output", "half.trec"]) == 2
    assert "no calibration, so its scores say nothing of the probability of relevance" in capsys.readouterr().err
    assert not Path("half.trec").exists()
    assert main([*job, "--min-relevance", "0.499", "--calibration", "mine.json", "--output", "half.trec"]) == 0
    assert docids("half.trec") == docids("plain.trec")[:3]


def test_the_floor_goes_by_the_rerankers_own_score_when_scores_are_joined(job):
    flags = [*job, "--interpolate", "0", "--calibration", "mine.json"]
    assert main([*flags, "--min-relevance", "0.499", "--output", "joined.trec"]) == 0
    kept = set(docids("plain.trec")[:3])
    assert docids("joined.trec") == [docid for docid in docids("bm25.trec") if docid in kept]


def test_relevance_of_every_document_is_written_beside_the_run(job):
    assert main([*job, "--calibration", "mine.json", "--output", "a.trec", "--relevance", "a.tsv"]) == 0
    assert Path("a.trec").read_bytes() == Path("plain.trec").read_bytes()
    head, *rows = [line.split("\t") for line in Path("a.tsv").read_text().splitlines()]
    assert head == ["qid", "docid", "score", "relevance"]
    assert [row[1] for row in rows if row[0] == "0"] == docids("plain.trec")
    assert float(rows[2][3]) == pytest.approx(0.5, abs=1e-3)
    assert main([*job, "--calibration", "mine.json", "--output", "b.trec", "--relevance", "a.tsv"]) == 2  # it exists


@pytest.mark.parametrize("taken", ["new.trec", "./new.trec", "new.trec.json", "new.trec.journal"])
def test_the_list_does_not_take_the_place_of_the_run_or_of_a_file_beside_it(job, capsys, taken):
    assert main([*job, "--calibration", "mine.json", "--output", "new.trec", "--relevance", taken]) == 2
    assert f"--relevance {taken}: is the place of the run or of a file beside it" in capsys.readouterr().err
    assert not Path("new.trec").exists()


def test_a_calibration_file_that_is_not_there_is_named_even_if_nothing_needs_it(job, capsys):
    assert main([*job, "--calibration", "absent.json", "--output", "new.trec"]) == 2
    assert "--calibration absent.json: no such file" in capsys.readouterr().err
    assert not Path("new.trec").exists()


def test_a_map_is_no_part_of_what_a_journal_knows_a_reranker_by(job, cross_encoder_folder):
    model = {"model": str(cross_encoder_folder), "device": "cpu"}
    plain, mapped = (load_reranker("cross-encoder", **model, **more) for more in ({}, {"calibration": "mine.json"}))
    assert plain.fingerprint() == mapped.fingerprint()
    assert plain.relevance is None
    assert mapped.relevance is not None


@pytest.mark.parametrize("flag", [("--min-score", "nan"), ("--min-score", "high"), ("--min-relevance", "1.1")])
def test_another_value_is_a_usage_error(job, capsys, flag):
    with pytest.raises(SystemExit) as end:
        main([*job, *flag])
    assert end.value.code == 2
    assert "expected a number" in capsys.readouterr().err
