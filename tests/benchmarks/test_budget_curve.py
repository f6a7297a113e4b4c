"""`benchmarks speed budget` on a tiny cross-encoder."""

import gzip
import json
import sys

import pytest

from benchmarks.speed.budget import main

TEXTS = ["the cat sat", "why dogs", "tea", "bread is long", "a long document about cats and dogs", "mat"]


@pytest.fixture
def data(tmp_path):
    (tmp_path / "runs").mkdir()
    with gzip.open(tmp_path / "corpus.jsonl.gz", "wt") as file:
        file.writelines(f"{json.dumps({'id': f'd{i}', 'contents': text})}\n" for i, text in enumerate(TEXTS))
    (tmp_path / "topics.tsv").write_text("1\twhy is the cat long\n2\tbread\n")
    (tmp_path / "qrels.txt").write_text("1 0 d0 3\n2 0 d3 2\n")
    hits = [f"{qid} Q0 d{i} {i + 1} {9 - i} bm25\n" for qid in "12" for i in range(len(TEXTS))]
    (tmp_path / "runs" / "bm25.trec").write_text("".join(hits))
    return tmp_path


def rows(data, model, monkeypatch, *more):
    flags = ["--model", str(model), "--data", str(data), "--threads", "1", "--rounds", "1", *more]
    monkeypatch.setattr(sys, "argv", ["budget", *flags, "--output", str(data / "figures.json")])
    assert main() == 0
    return json.loads((data / "figures.json").read_text())["rows"]


def test_a_cascade_that_has_time_for_all_ranks_as_its_cross_encoder(data, cross_encoder_folder, monkeypatch):
    sides = ["--sides", "cascade", "rrarank-torch-fp32", "--first", "bm25", "--budgets", "1e6", "0"]
    found = rows(data, cross_encoder_folder, monkeypatch, *sides)
    _, cascade, timed, free = found
    assert [row["side"] for row in found[1:]] == ["cascade", "rrarank-torch-fp32", "rrarank-torch-fp32"]
    assert (cascade["least"], cascade["candidates"], cascade["most"]) == (6, 6, 6)
    assert cascade["nDCG@10"] == timed["nDCG@10"] == free["nDCG@10"]


def test_a_cascade_without_time_scores_one(data, cross_encoder_folder, monkeypatch):
    first, cascade = rows(
        data, cross_encoder_folder, monkeypatch, "--sides", "cascade", "--first", "bm25", "--budgets", "1e-6"
    )
    assert (cascade["least"], cascade["most"], cascade["within"]) == (1, 1, 0)
    assert cascade["nDCG@10"] == first["nDCG@10"]
