"""What a column's rows re-rank: samples by a seed, first stages made here, pools in the order of BM25."""

import pytest

from rrarank.data.trec import read_run
from rrarank.errors import RrarankError
from rrarank.reproduce.candidates import prepare
from rrarank.reproduce.config import BM25Config, ColumnConfig


@pytest.fixture
def column(tmp_path):
    (tmp_path / "topics.tsv").write_text("".join(f"{n}\tcat number {n}\n" for n in range(6)))
    (tmp_path / "corpus.tsv").write_text("x\tdogs\n" + "".join(f"d{n}\tcat number {n}\n" for n in range(6)))
    (tmp_path / "qrels.txt").write_text("".join(f"{n} 0 d{n} 1\n{n} 0 x 0\n" for n in range(6)))
    places = {name: str(tmp_path / name) for name in ("topics.tsv", "corpus.tsv", "qrels.txt")}

    def make(**changes):
        given = {"qrels": places["qrels.txt"], "topics": places["topics.tsv"], "collection": places["corpus.tsv"]}
        return ColumnConfig(**{"title": "t", "protocol": "bm25-top", "bm25": BM25Config(), **given, **changes})

    return make


def test_a_first_stage_is_made_where_there_is_none(column, tmp_path):
    found = prepare(column(depth=3), tmp_path / "made")
    run = read_run(found.run)
    assert run["4"][0].docid == "d4"
    assert max(len(run[qid]) for qid in run) == 3
    assert (found.queries, len(found.qrels), found.judged, found.with_text) == (6, 6, 7, 7)


def test_an_index_is_kept_until_the_collection_is_another(column, tmp_path):
    one = prepare(column(depth=3), tmp_path / "made")
    kept = sorted((tmp_path / "made" / "index").iterdir())
    assert prepare(column(depth=3), tmp_path / "made").inputs.run["4"] == one.inputs.run["4"]
    assert sorted((tmp_path / "made" / "index").iterdir()) == kept
    (tmp_path / "corpus.tsv").write_text("new\tcat number 4\n" + (tmp_path / "corpus.tsv").read_text())
    again = prepare(column(depth=3), tmp_path / "made").inputs.run["4"]
    assert "new" in {hit.docid for hit in again}


def test_an_index_that_no_sidecar_of_ours_claims_is_left_alone(column, tmp_path):
    theirs = tmp_path / "made" / "index" / "segments_1"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("an index")
    with pytest.raises(RrarankError, match="no sidecar says that rrarank made it"):
        prepare(column(depth=3), tmp_path / "made")
    assert theirs.read_text() == "an index"


def test_a_sample_is_the_same_for_the_same_seed(column, tmp_path):
    drawn = [list(prepare(column(sample=3, seed=seed), tmp_path / str(n)).qrels) for n, seed in enumerate((1, 1, 2))]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(one) == 3 for one in drawn)
    assert list(read_run(tmp_path / "0" / "candidates.trec")) == drawn[0]


def test_a_pool_is_in_the_order_of_bm25_and_what_it_does_not_find_comes_last(column, tmp_path):
    found = prepare(column(protocol="judged-pool"), tmp_path / "made")
    run = read_run(found.run)
    assert all([hit.docid for hit in run[str(n)]] == [f"d{n}", "x"] for n in range(6))
    bare = prepare(column(protocol="judged-pool", bm25=None), tmp_path / "bare")
    assert [hit.docid for hit in read_run(bare.run)["3"]] == ["d3", "x"]  # by docid
