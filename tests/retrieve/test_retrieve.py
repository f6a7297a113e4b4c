import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from rrarank.data.trec import read_run
from rrarank.errors import RrarankError
from rrarank.rerank.__main__ import main as rerank
from rrarank.retrieve.__main__ import main
from rrarank.retrieve.job import RetrieveJob, retrieve_run
from rrarank.sources.inputs import load_inputs

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
        (["--index", "indexes/small", "--runtag", "a b"], "tag (--runtag) 'a b'"),
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


def test_a_folder_that_java_cannot_name_is_one_line(job, capsys):
    index = os.fsdecode(b"i\xff")
    assert main(["--index", index, "--collection", "texts.jsonl", "--topics", "topics.tsv"]) == 2
    assert "Java reads no names that are not UTF-8; give another --index" in capsys.readouterr().err
    assert not os.path.exists(index)


def test_a_docid_with_two_texts_is_refused_by_bm25_as_by_dense(job, capsys):
    [first, *_] = open("texts.jsonl").read().splitlines()
    with open("texts.jsonl", "a") as file:
        file.write(json.dumps(json.loads(first) | {"contents": "another text"}) + "\n")
    assert main([*job, "--output", "one.trec"]) == 2
    assert "1 docids stand twice in the collection; keep one" in capsys.readouterr().err
    assert not os.path.exists("indexes/small")


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
    dense, another_bi_encoder_folder, capsys
):
    def refused(*flags):
        assert main([*dense, "--output", "two.trec", *flags]) == 2
        return capsys.readouterr().err

    main([*dense, "--output", "one.trec"])
    capsys.readouterr()
    assert "dense: embedded by" in refused("--model", str(another_bi_encoder_folder))
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


# -- what a first stage says ------------------------------------------------------------------------------------------


@pytest.fixture
def arguments(job, tmp_path):
    """A collection of which two documents are also the queries, by id and text, as in ArguAna."""
    (tmp_path / "topics.tsv").write_text("a\tthe cat sat on the mat\nb\ta dog drinks tea\nz\t\n")
    return job


def test_a_query_that_finds_itself_is_said_and_left_out_if_asked(arguments, capsys):
    assert main([*arguments, "--output", "with.trec"]) == 0
    err = capsys.readouterr().err
    assert "2 queries find a document of their own id ('a', 'b'); if it is the query itself" in err
    assert "1 queries are empty and get no hits ('z')" in err
    assert main([*arguments, "--output", "without.trec", "--remove-query", "--hits", "1"]) == 0
    assert "--remove-query" not in capsys.readouterr().err
    found = {qid: [hit.docid for hit in hits] for qid, hits in read_run("with.trec").items()}
    assert found == {"a": ["a", "c"], "b": ["b", "c"]}
    assert {qid: [hit.docid for hit in hits] for qid, hits in read_run("without.trec").items()} == {
        "a": ["c"],
        "b": ["c"],
    }


def test_the_part_of_a_topic_that_is_searched(job, tmp_path):
    (tmp_path / "topics.trec").write_text("<top><num>1<title>zebra<desc>tea</top>")
    flags = [*job, "--topics", "topics.trec"]
    assert main([*flags, "--topic-field", "description", "--output", "r.trec"]) == 0
    assert read_run("r.trec")["1"][0].docid == "b"
    assert load_inputs("r.trec").topics == {"1": "tea"}


def test_a_folder_and_a_pipe_are_indexed(job, tmp_path):
    (tmp_path / "parts").mkdir()
    os.rename("texts.jsonl", "parts/texts.jsonl")
    flags = ["--topics", "topics.tsv"]
    assert main(["--index", "one", "--collection", "parts", *flags, "--output", "one.trec"]) == 0
    assert main(["--index", "one", "--collection", "parts", *flags, "--output", "again.trec"]) == 0
    retrieve = f"'{sys.executable}' -m rrarank.retrieve --topics topics.tsv --output two.trec --index two"
    done = subprocess.run(["bash", "-c", f"{retrieve} --collection <(cat parts/texts.jsonl)"], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert open("two.trec").read() == open("one.trec").read()
    assert rerank(["--run", "two.trec", "--reranker", "bm25"]) == 0  # with the texts of the index


# -- what a killed job left -------------------------------------------------------------------------------------------


def test_an_index_without_sidecar_is_not_used_for_a_collection(job, tmp_path, capsys):
    main([*job, "--output", "one.trec"])
    os.remove("indexes/small.json")
    (tmp_path / "other.jsonl").write_text('{"id": "x", "contents": "another text on cats"}\n')
    capsys.readouterr()
    assert main([*job, "--collection", "other.jsonl", "--output", "two.trec"]) == 2
    message = capsys.readouterr().err
    assert "indexes/small: the collection that it was made from is unknown, as it has no sidecar" in message
    assert main(["--index", "indexes/small", "--topics", "topics.tsv", "--output", "two.trec"]) == 0  # as it says


@pytest.mark.parametrize("kind", ["bm25", "dense"])
def test_an_index_is_never_there_without_its_sidecar(kind, job, bi_encoder_folder, monkeypatch, capsys):
    """Killed between the two, the job leaves a sidecar and no index, which the next one makes."""
    flags = ["--dense", "--model", str(bi_encoder_folder)] if kind == "dense" else []

    def killed(*_):
        assert os.path.isfile("indexes/small.json")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rrarank.storage.folders._put_in_place", killed)
        assert main([*job, *flags, "--output", "one.trec"]) == 130
    assert os.listdir("indexes") == ["small.json"]
    assert main([*job, *flags, "--output", "one.trec"]) == 0
    assert main([*job, *flags, "--output", "two.trec"]) == 0


def test_leftovers_of_a_killed_job_are_named_and_removed(job, tmp_path, capsys):
    (tmp_path / "indexes").mkdir()
    left = [".one.trec.abcd1234.tmp", ".one.trec.json.abcd1234.tmp", "indexes/.small.abcd1234.tmp"]
    for name in left[:2]:
        (tmp_path / name).touch()
    (tmp_path / left[2]).mkdir()
    assert main([*job, "--output", "one.trec"]) == 0
    err = capsys.readouterr().err
    assert "removing what a killed job left: '.one.trec.abcd1234.tmp', '.one.trec.json.abcd1234.tmp'" in err
    assert "removing what a killed job left: '.small.abcd1234.tmp'" in err
    assert not any((tmp_path / name).exists() for name in left)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_embeddings_that_are_not_finite_are_refused(odd, dense, monkeypatch, capsys):
    from rrarank.rerankers.bi_encoder import BiEncoder

    documents, queries = BiEncoder.embed_documents, BiEncoder.embed_queries

    def broken(embed, row):
        def embedded(self, texts):
            made = embed(self, texts)
            made[row, 0] = odd
            return made

        return embedded

    with monkeypatch.context() as patch:
        patch.setattr(BiEncoder, "embed_documents", broken(documents, 1))
        assert main(dense) == 2
    assert "the model's embeddings of 1 texts are not finite (document 'b')" in capsys.readouterr().err
    assert not os.path.exists("indexes/dense")
    assert main([*dense, "--output", "one.trec"]) == 0
    monkeypatch.setattr(BiEncoder, "embed_queries", broken(queries, 2))
    assert main([*dense, "--output", "two.trec"]) == 2
    assert "(query '3')" in capsys.readouterr().err
    assert not os.path.exists("two.trec")
