"""Pyserini's names, each an ir_datasets id that exists."""

import pytest

from rrarank.errors import RrarankError
from rrarank.evaluate import main as evaluate
from rrarank.rerank.__main__ import main as rerank
from rrarank.retrieve.__main__ import main as retrieve
from rrarank.sources.names import TEXTS, TOPICS, file_or_id, ids_by_name


def test_every_name_stands_for_a_data_set_that_has_what_is_asked():
    import ir_datasets

    registered = ir_datasets.registry._registered
    assert len(ids_by_name(TOPICS)) + len(ids_by_name(TEXTS)) >= 60
    for name, dataset in ids_by_name(TOPICS).items():
        assert registered[dataset].has_queries(), name
        assert registered[dataset].has_qrels(), name
    for name, dataset in ids_by_name(TEXTS).items():
        assert registered[dataset].has_docs(), name


@pytest.mark.parametrize("name", ["dl19-passage", "dl20-passage", "msmarco-passage-dev-subset", "miracl-v1.0-ko-dev"])
def test_names_that_people_type(name):
    assert file_or_id(name) == ids_by_name(TOPICS)[name]


def test_a_file_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dl20").write_text("1\tq\n")
    assert str(file_or_id("dl20")) == "dl20"


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(RrarankError, match="did you mean 'dl19-passage'"):
        file_or_id("dl19-pasage")


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """dl19-passage and msmarco-v1-passage as two small data sets made here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "ir_datasets"))
    import ir_datasets

    (tmp_path / "docs.tsv").write_text("a\tcats\nb\tdogs\n")
    (tmp_path / "queries.tsv").write_text("1\twhy cats\n")
    (tmp_path / "qrels.txt").write_text("1 0 a 2\n")
    (tmp_path / "r.trec").write_text("1 Q0 b 1 2 x\n1 Q0 a 2 1 x\n")
    made = ir_datasets.create_dataset("docs.tsv", "queries.tsv", "qrels.txt")
    for dataset in (ids_by_name(TOPICS)["dl19-passage"], ids_by_name(TEXTS)["msmarco-v1-passage"]):
        monkeypatch.setitem(ir_datasets.registry._registered, dataset, made)


@pytest.mark.usefixtures("registered")
def test_a_job_by_names_alone(capsys):
    job = ["--run", "r.trec", "--topics", "dl19-passage", "--index", "msmarco-v1-passage", "--reranker", "bm25"]
    assert rerank([*job, "--output", "out.trec"]) == 0
    assert rerank(["--run", "out.trec", "--reranker", "bm25", "--output", "again.trec"]) == 0  # by its sidecar
    capsys.readouterr()
    assert evaluate(["--qrels", "dl19-passage", "--runs", "out.trec", "--measures", "mrr"]) == 0
    assert "0.5000" in capsys.readouterr().out


def test_a_name_without_its_files_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.tsv").write_text("1\tq\n")
    assert retrieve(["--index", "msmarco-v1-passage", "--topics", "t.tsv"]) == 4
    out, err = capsys.readouterr()
    assert "a prebuilt index of Pyserini's that is not on disk" in err
    assert (out, err.count("\n")) == ("", 1)
