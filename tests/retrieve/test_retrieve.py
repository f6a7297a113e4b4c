import json
import os
from dataclasses import replace

import pytest

from rrarank.data.trec import read_run
from rrarank.errors import RrarankError
from rrarank.rerank.__main__ import main as rerank
from rrarank.retrieve.__main__ import main
from rrarank.retrieve.job import RetrieveJob, retrieve_run

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


def test_python_retrieves_as_the_command_does(job, capsys):
    main([*job, "--output", "command.trec"])
    capsys.readouterr()
    wanted = RetrieveJob("indexes/python", "topics.tsv", "texts.jsonl", output="python.trec")
    run = retrieve_run(wanted)
    assert capsys.readouterr() == ("", "")
    assert (run.tag, {qid: len(hits) for qid, hits in run.items()}) == ("bm25", {"1": 2, "2": 1, "3": 0})
    assert open("python.trec").read() == open("command.trec").read()
    with pytest.raises(RrarankError, match="python.trec: exists already"):
        retrieve_run(wanted)
    files = set(os.listdir())
    assert retrieve_run(replace(wanted, output="")) == run
    assert set(os.listdir()) == files


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
        (["--index", "indexes/small", "--collection", "topics.tsv"], "names another collection than topics.tsv"),
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
    from rrarank.storage.files import find

    shipped = find("bm25.trec", "runs").resolve()
    sample = shipped.parent.parent / "prebuilt" / "sample"
    monkeypatch.chdir(tmp_path)
    flags = ["--collection", str(sample / "collection.jsonl"), "--topics", str(sample / "topics.tsv")]
    assert main(["--index", "index", *flags, "--output", "bm25.trec"]) == 0
    assert (tmp_path / "bm25.trec").read_bytes() == shipped.read_bytes()


@pytest.fixture
def dense(job, bi_encoder_folder):
    return [*job, "--index", "indexes/dense", "--dense", "--model", str(bi_encoder_folder)]


def test_dense_ranks_by_the_models_own_similarity_and_reranks_by_the_sidecar_alone(dense, bi_encoder_folder, capsys):
    from sentence_transformers import SentenceTransformer

    assert main([*dense, "--hits", "2"]) == 0
    out, err = capsys.readouterr()
    assert out == "topics.dense.trec\n"
    assert "3 queries, 6 hits" in err
    model = SentenceTransformer(str(bi_encoder_folder), device="cpu")
    similar = model.similarity(model.encode(["cats", "tea", "zebra"]), model.encode(list(TEXTS.values()))).tolist()
    for (qid, hits), row in zip(read_run("topics.dense.trec").items(), similar, strict=True):
        expected = sorted(zip(row, TEXTS, strict=True), reverse=True)[:2]
        assert [hit.docid for hit in hits] == [docid for _, docid in expected], qid
        assert [hit.score for hit in hits] == pytest.approx([score for score, _ in expected], abs=1e-5)
    assert rerank(["--run", "topics.dense.trec", "--reranker", "bm25"]) == 0


def test_a_dense_index_is_made_once_and_gives_the_same_run(dense):
    main([*dense, "--output", "one.trec"])
    made = os.stat("indexes/dense/vectors.faiss").st_mtime_ns
    assert main([*dense, "--output", "two.trec", "--threads", "1"]) == 0
    assert os.stat("indexes/dense/vectors.faiss").st_mtime_ns == made
    assert open("one.trec").read() == open("two.trec").read()


def test_a_dense_index_is_refused_by_another_model_another_kind_of_search_and_when_damaged(
    dense, make_cross_encoder, capsys
):
    def refused(*flags):
        assert main([*dense, "--output", "two.trec", *flags]) == 2
        return capsys.readouterr().err

    main([*dense, "--output", "one.trec"])
    capsys.readouterr()
    assert "dense: embedded by" in refused("--model", str(make_cross_encoder(2)))
    assert "--rm3: a dense index has none" in refused("--rm3")
    assert main(["--index", "indexes/dense", "--topics", "topics.tsv"]) == 2
    assert "not a Lucene index" in capsys.readouterr().err
    os.truncate("indexes/dense/vectors.faiss", 10)
    assert "vectors.faiss: not what dense.json describes" in refused()
    os.remove("indexes/dense.json")
    assert "embedded by an unknown model" in refused()
    assert not os.path.exists("two.trec")


@pytest.mark.parametrize(
    ("rows", "message"), [("a\tone\na\ttwo\n", "1 docids stand twice"), ("a\t \n", "holds no documents")]
)
def test_a_collection_that_cannot_be_embedded_leaves_nothing_behind(dense, rows, message, tmp_path, capsys):
    (tmp_path / "odd.tsv").write_text(rows)
    assert main([*dense, "--collection", "odd.tsv"]) == 2
    assert message in capsys.readouterr().err
    assert not os.path.exists("indexes/dense")
    assert not os.path.exists("topics.dense.trec")


def test_a_model_without_dense_is_refused(job, capsys):
    assert main([*job, "--model", "x"]) == 2
    assert "--model: BM25 has none; give --dense too" in capsys.readouterr().err
