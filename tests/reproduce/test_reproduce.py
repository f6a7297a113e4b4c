"""A table end to end on a small set: commands, marks, what is skipped, and what cannot be reached."""

import json
import shutil

import pytest

from rrarank.data.trec import read_qrels, read_run
from rrarank.data.types import Run
from rrarank.measures.scores import random_floor
from rrarank.reproduce.__main__ import main

TEXTS = {"a": "the cat sat", "b": "tea and bread", "c": "a long document about cats", "d": "mat", "e": "dogs"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "topics.tsv").write_text("1\twhat is a cat\n2\ttea\n3\twhy dogs\n")
    (folder / "corpus.tsv").write_text("".join(f"{docid}\t{text}\n" for docid, text in TEXTS.items()))
    (folder / "qrels.txt").write_text("1 0 a 2\n1 0 d 0\n2 0 b 1\n2 0 a 0\n3 0 d 0\n")
    (folder / "bm25.trec").write_text(
        "".join(f"{qid} Q0 {docid} {rank} {9 - rank} t\n" for qid in "123" for rank, docid in enumerate("edcba", 1))
    )
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory, cross_encoder_folder):
    path = tmp_path_factory.mktemp("tables") / "own.yaml"
    path.write_text(
        f"""
title: cats
baseline: student
columns:
  top: {{title: cats, protocol: bm25-top, depth: 4, qrels: "{{data}}/qrels.txt", run: "{{data}}/bm25.trec",
        topics: "{{data}}/topics.tsv", collection: "{{data}}/corpus.tsv"}}
  pool: {{title: pool, protocol: judged-pool, qrels: "{{data}}/qrels.txt", topics: "{{data}}/topics.tsv",
         collection: "{{data}}/corpus.tsv"}}
  away: {{title: away, protocol: bm25-top, qrels: "{{data}}/none/qrels.txt", run: "{{data}}/none/bm25.trec",
         get: fetch it}}
  own: {{title: own, protocol: bm25-top, qrels: "{{qrels}}", run: "{{run}}"}}
rows:
  bm25: {{title: BM25, reranker: bm25, expected: {{top: {{ndcg@10: 0.1}}}}}}
  student: {{title: a student, reranker: cross-encoder, model: {cross_encoder_folder},
            settings: {{allow_pickle: true, batch_tokens: 4096}}, expected: {{pool: {{ndcg@10: [0.6, 0.5]}}}}}}
  other: {{title: another, reranker: cross-encoder, needs: a folder that somebody made}}
  hub: {{title: far away, reranker: monobert, model: nobody/nothing}}
"""
    )
    return path


@pytest.fixture(scope="module")
def made(table, data, tmp_path_factory):
    """Once for all tests: each cell is a process of its own."""
    output = tmp_path_factory.mktemp("out") / "table"
    flags = [str(table), "--data", str(data), "--output", str(output), "--threads", "1", "--device", "cpu"]
    return main(flags), output, flags


def test_a_score_that_is_not_as_expected_fails_the_table(made):
    code, output, _ = made
    assert code == 7
    marks = {
        (one["column"], one["measure"], one["ok"]) for one in json.loads((output / "table.json").read_text())["marks"]
    }
    assert marks == {("top", "nDCG@10", False), ("pool", "nDCG@10", True)}


def test_what_is_done_is_not_done_again(made):
    code, output, flags = made
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.trec") if path.name != "candidates.trec"}
    assert main(flags) == code
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(before) == 3


def test_cells_hold_scores_times_and_why_there_are_none(made):
    _, output, _ = made
    found = json.loads((output / "table.json").read_text())
    top = found["columns"]["top"]
    assert (top["judged_queries"], top["judged"], top["with_text"]) == (3, 3, 3)
    assert top["scores"]["bm25"]["means"]["nDCG@10"] != top["scores"]["student"]["means"]["nDCG@10"]
    assert top["cells"]["student"]["seconds_a_query"] > 0
    assert top["cells"]["other"]["absent"] == "give --model other=…, a folder that somebody made"
    assert "nobody/nothing" in top["cells"]["hub"]["absent"]
    assert found["columns"]["pool"]["cells"]["bm25"]["absent"].startswith("this pool is in the order of docids")
    assert [one["system"] for one in top["comparisons"]] == ["bm25", "bm25"]
    assert found["rows"]["student"]["parameters"] > 1000
    assert "no such file; fetch it" in found["columns"]["away"]["absent"]
    assert found["columns"]["own"]["absent"].startswith("not given: --run --qrels")


def test_the_pool_holds_exactly_the_judged_passages_of_queries_with_a_relevant_one(made):
    _, output, _ = made
    lines = [line.split() for line in (output / "pool" / "candidates.trec").read_text().splitlines()]
    assert [(qid, docid) for qid, _, docid, *_ in lines] == [("1", "a"), ("1", "d"), ("2", "a"), ("2", "b")]


def test_markdown_figures_and_pages(made):
    _, output, _ = made
    text = (output / "table.md").read_text()
    assert "## cats, bm25-top4" in text
    assert "[FAIL]" in text
    assert "[OK]" in text
    assert "a random order of the same candidates: nDCG@5" in text
    paper = (output / "table.tex").read_text()
    assert [paper.count(rf"\label{{tab:{name}}}") for name in ("overview", "top", "pool", "away")] == [1, 1, 1, 0]
    assert {path.name for path in output.iterdir() if path.suffix in (".png", ".html")} == {
        "top.differences.png",
        "top.html",
        "pool.html",
    }


def test_commands_are_shown_without_being_run(table, data, tmp_path, capsys):
    assert (
        main([str(table), "--data", str(data), "--output", str(tmp_path / "no"), "--dry-run", "--columns", "top"]) == 0
    )
    said = capsys.readouterr().err
    assert "python -m rrarank.rerank --run" in said
    assert "--reranker cross-encoder" in said
    assert said.count("python -m rrarank.rerank ") == said.count(" --interpolate 1 ") > 0
    assert "other: not reached: give --model other=" in said
    assert not (tmp_path / "no").exists()


@pytest.fixture
def small(tmp_path, data):
    """A table of BM25 alone on a set that a test may change, and what makes it."""
    folder = shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "small.yaml"

    def make(measures="[ndcg@10]", depth=2):
        path.write_text(
            f"""
title: small
baseline: bm25
measures: {measures}
columns:
  top: {{title: top, protocol: bm25-top, depth: {depth}, qrels: "{{data}}/qrels.txt", run: "{{data}}/bm25.trec",
        topics: "{{data}}/topics.tsv", collection: "{{data}}/corpus.tsv"}}
rows:
  bm25: {{title: BM25, reranker: bm25}}
"""
        )
        output = tmp_path / "made"
        code = main([str(path), "--data", str(folder), "--output", str(output)])
        return code, json.loads((output / "table.json").read_text())["columns"]["top"]

    return folder, make


def test_a_random_order_is_one_of_the_candidates_that_are_reranked(small):
    folder, make = small
    _, top = make()
    qrels, run = read_qrels(folder / "qrels.txt"), read_run(folder / "bm25.trec")
    cut = Run({qid: run[qid][:2] for qid in run})
    assert top["floor"]["nDCG@10"] == pytest.approx(random_floor(qrels, cut, "ndcg@10"))
    assert top["floor"]["nDCG@10"] < random_floor(qrels, run, "ndcg@10")


def test_a_run_from_other_texts_is_made_again(small, tmp_path):
    folder, make = small
    make()
    made = tmp_path / "made" / "top" / "bm25.trec"
    before = made.stat().st_mtime_ns
    make()
    assert made.stat().st_mtime_ns == before
    (folder / "corpus.tsv").write_text((folder / "corpus.tsv").read_text() + "f\tsomething new\n")
    make()
    assert made.stat().st_mtime_ns > before


def test_a_measure_without_a_formula_for_random_orders_has_no_floor(small):
    _, make = small
    code, top = make("[precision@1]")
    assert code == 0
    assert top["floor"] == {"P(rel=1)@1": None}


def test_a_faulty_file_fails_the_table_while_one_out_of_reach_does_not(small, capsys):
    folder, make = small
    (folder / "qrels.txt").write_text("1 0 a\n")
    code, top = make()
    assert code == 7
    assert top["failed"]
    assert "top: failed: " in capsys.readouterr().err
    (folder / "qrels.txt").write_text("9 0 a 1\n")
    assert "none of its queries is judged" in make()[1]["absent"]


def test_a_set_of_ones_own_by_flags(table, data, tmp_path, capsys):
    flags = ["--run", data / "bm25.trec", "--qrels", data / "qrels.txt", "--topics", data / "topics.tsv"]
    asked = [str(table), *map(str, flags), "--columns", "own", "--rows", "bm25", "--output", str(tmp_path), "--dry-run"]
    assert main(asked) == 0
    assert "failed" in capsys.readouterr().err  # this table's own column does not take --topics


def test_what_is_not_a_tables_own_is_neither_removed_nor_replaced(table, data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    theirs = {"top/index/segments_1": "an index", "pool/candidates.trec": "a run", "table.md": "notes", "top.html": ""}
    for name, text in theirs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    flags = [str(table), "--data", str(data), "--rows", "bm25", "--columns", "pool", "--output", "."]
    assert main(flags) == 0
    assert ".: holds other files; the table is written to own" in capsys.readouterr().err
    assert {name: (tmp_path / name).read_text() for name in theirs} == theirs
    assert (tmp_path / "own" / "table.md").is_file()
    assert main(flags) == 0  # in the same folder
    (tmp_path / "own" / "reproduce.json").unlink()
    before = sorted((tmp_path / "own").rglob("*"))
    assert main(flags) == 2
    assert "give a new folder as --output" in capsys.readouterr().err
    assert sorted((tmp_path / "own").rglob("*")) == before


def test_a_table_whose_baseline_is_bm25_is_drawn_with_two_other_rows(cross_encoder_folder, data, tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(
        f"""
title: t
baseline: bm25
columns:
  top: {{title: top, protocol: bm25-top, depth: 4, qrels: "{data}/qrels.txt", run: "{data}/bm25.trec",
        topics: "{data}/topics.tsv", collection: "{data}/corpus.tsv"}}
rows:
  bm25: {{title: BM25, reranker: bm25}}
  one: {{title: one, reranker: cross-encoder, model: {cross_encoder_folder}, settings: {{allow_pickle: true}}}}
  two: {{title: two, reranker: cross-encoder, model: {cross_encoder_folder}, settings: {{allow_pickle: true}}}}
"""
    )
    assert main([str(path), "--output", str(tmp_path / "out"), "--threads", "1", "--device", "cpu"]) == 0
    assert (tmp_path / "out" / "top.efficiency.png").is_file()
    assert "minus BM25" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rows", "bm26"], "--rows bm26: not in 'cats' (known: bm25, student, other, hub)"),
        (["--model", "student"], "--model 'student': expected ROW=PATH_OR_ID"),
        (["--columns", "away"], "no cell of 'cats' can be reached"),
    ],
)
def test_odd_flags_are_one_line(table, data, tmp_path, capsys, flags, said):
    assert main([str(table), "--data", str(data), "--output", str(tmp_path / "t"), *flags]) in (2, 4)
    assert said in capsys.readouterr().err.splitlines()[-1]
