"""The tables of public sets: their ids exist, and a column from ir_datasets is indexed, cut and cleaned as it says."""

import pytest

from rrarank.data.types import Hit
from rrarank.reproduce.candidates import prepare
from rrarank.reproduce.config import BM25Config, ColumnConfig, load_table
from rrarank.sources.lucene import LuceneIndex  # noqa: F401  # its library is needed to make a first stage

PUBLIC = ["nanobeir", "beir", "bright", "miracl"]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_column_is_an_id_that_ir_datasets_knows(name):
    from rrarank.sources.ir_datasets import is_id

    table = load_table(name)
    assert all(is_id(column.dataset) and column.bm25 for column in table.columns.values())
    assert all(column.dataset.split("/")[0].replace("-", "") == name for column in table.columns.values())


@pytest.mark.parametrize("name", PUBLIC)
def test_the_rows_are_the_same_everywhere_and_only_bm25_expects_scores(name):
    table = load_table(name)
    assert list(table.rows) == list(load_table("nanobeir").rows)
    assert not any(row.expected for key, row in table.rows.items() if key != "bm25")
    assert bool(table.rows["bm25"].expected) == (name != "nanobeir")


@pytest.fixture
def own_set(tmp_path, monkeypatch):
    """A data set of three documents, one of which is a query's own and one excluded for the other query."""
    import ir_datasets

    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs.tsv").write_text("q1\tthe cat sat on the mat\nb\ta cat and tea\nc\tcats drink tea\n")
    (tmp_path / "queries.tsv").write_text("q1\tthe cat sat on the mat\nq2\ttea\n")
    (tmp_path / "qrels.txt").write_text("q1 0 b 1\nq2 0 b 1\nq2 0 c -100\n")
    made = ir_datasets.create_dataset("docs.tsv", "queries.tsv", "qrels.txt")
    monkeypatch.setitem(ir_datasets.registry._registered, "own/set", made)
    return ColumnConfig("own", "bm25-top", dataset="own/set", bm25=BM25Config(), remove_query=True)


def test_a_data_set_is_indexed_and_what_must_not_be_ranked_is_left_out(own_set, tmp_path):
    found = prepare(own_set, tmp_path / "table" / "own")
    assert {qid: [hit.docid for hit in hits] for qid, hits in found.inputs.run.items()} == {
        "q1": ["b", "c"],
        "q2": ["b"],
    }
    assert found.qrels == {"q1": {"b": 1}, "q2": {"b": 1}}
    assert isinstance(found.inputs.run["q1"][0], Hit)
    index = tmp_path / "table" / "own" / "index.json"
    before = index.stat().st_mtime_ns
    prepare(own_set, tmp_path / "table" / "own")
    assert index.stat().st_mtime_ns == before
