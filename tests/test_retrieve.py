import json
import os

import pytest

from rrarank.rerank import main as rerank
from rrarank.retrieve import main
from rrarank.trec import read_run

TEXTS = {"a": "the cat sat on the mat", "b": "a dog drinks tea", "c": "cats and dogs and cats"}


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = ({"id": docid, "contents": text} for docid, text in TEXTS.items())
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "topics.tsv").write_text("1\tcats\n2\ttea\n3\tzebra\n")
    return ["--index", "indexes/small", "--collection", "texts.jsonl", "--topics", "topics.tsv"]


def test_index_search_and_rerank_by_the_sidecar_alone(job, capsys):
    assert main([*job, "--output", "bm25.trec"]) == 0
    out, err = capsys.readouterr()
    assert out == "bm25.trec\n"
    assert "3 queries, 1 without any hit, 3 hits in" in err
    assert {qid: [hit.docid for hit in hits] for qid, hits in read_run("bm25.trec").items()} == {
        "1": ["c", "a"],
        "2": ["b"],
    }
    assert rerank(["--run", "bm25.trec", "--reranker", "bm25"]) == 0


def test_an_index_is_made_once(job, capsys):
    main([*job, "--output", "one.trec"])
    made = os.stat("indexes/small").st_mtime_ns
    assert main(["--index", "indexes/small", "--topics", "topics.tsv", "--output", "two.trec"]) == 0
    assert os.stat("indexes/small").st_mtime_ns == made
    assert open("one.trec").read() == open("two.trec").read()


def test_without_the_collection_the_index_gives_the_texts(job, capsys):
    main([*job, "--output", "one.trec"])
    os.remove("texts.jsonl")
    assert main(["--index", "indexes/small", "--topics", "topics.tsv", "--output", "two.trec"]) == 0
    assert rerank(["--run", "two.trec", "--reranker", "bm25"]) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--index", "absent"], "absent: no such index; give --collection"),
        (["--index", "indexes/small", "--language", "ko"], "indexed with --language en, asked with ko"),
        (["--index", "indexes/small", "--collection", "topics.tsv"], "made from another collection than topics.tsv"),
        (["--index", "indexes/small", "--output", "one.trec"], "one.trec: exists already"),
        (["--index", "indexes/small", "--runtag", "a b"], "runtag 'a b'"),
    ],
)
def test_flags_that_contradict_what_is_there(job, flags, message, capsys):
    main([*job, "--output", "one.trec"])
    capsys.readouterr()
    assert main(["--topics", "topics.tsv", *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_collection_is_never_replaced_by_a_sidecar(job, capsys):
    os.rename("texts.jsonl", "small.json")
    before = open("small.json").read()
    assert main(["--index", "small", "--collection", "small.json", "--topics", "topics.tsv"]) == 2
    assert "small: would replace the input" in capsys.readouterr().err
    assert open("small.json").read() == before
    assert not os.path.exists("small")


def test_empty_documents_are_left_out_and_counted(job, capsys):
    with open("texts.jsonl", "a") as file:
        file.write('{"id": "empty", "contents": " "}\n')
    assert main([*job, "--output", "one.trec"]) == 0
    assert "1 empty documents left out" in capsys.readouterr().err


@pytest.mark.parametrize(("flag", "value"), [("--k1", "nan"), ("--k1", "-1"), ("--b", "1.5"), ("--language", "xx")])
def test_parameters_that_lucene_does_not_know(job, flag, value, capsys):
    assert main([*job, flag, value]) == 2
    assert value in capsys.readouterr().err
    assert not os.path.exists("indexes/small")


def test_the_sample_run_is_what_retrieve_makes(tmp_path, monkeypatch):
    """runs/bm25.trec, which ships, from prebuilt/sample, which ships."""
    from rrarank.files import find

    shipped = find("bm25.trec", "runs").resolve()
    sample = shipped.parent.parent / "prebuilt" / "sample"
    monkeypatch.chdir(tmp_path)
    flags = ["--collection", str(sample / "collection.jsonl"), "--topics", str(sample / "topics.tsv")]
    assert main(["--index", "index", *flags, "--output", "bm25.trec"]) == 0
    assert (tmp_path / "bm25.trec").read_bytes() == shipped.read_bytes()
