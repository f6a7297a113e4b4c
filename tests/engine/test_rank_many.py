"""`rank_many`: many queries in one call, the scores of `rank` and `rerank_run`, lists in the order of the queries."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pandas
import pytest

import rrarank
from rrarank.engine import progress, reranker
from rrarank.errors import RrarankError

QUERIES = {"q1": "what is a cat", "q2": "why dogs", "q3": "tea"}
TEXTS = ["bread about tea", "the cat sat", "a long document of dogs"]
IDS = ["d0", "d1", "d2"]
PAIRS = list(zip(IDS, TEXTS, strict=True))


@pytest.fixture(scope="module")
def model(steady_folder):
    return rrarank.load_reranker("cross-encoder", model=str(steady_folder), device="cpu")


@pytest.fixture(scope="module")
def expected(model):
    """qid -> (docid, score), best first, as `rerank_run` scores them."""
    run = {qid: {docid: -float(place) for place, docid in enumerate(IDS)} for qid in QUERIES}
    found = rrarank.rerank_run(run, model, topics=QUERIES, collection=dict(PAIRS))
    return {qid: list(hits) for qid, hits in found.items()}


def rows(**more):
    return [
        {"qid": qid, "query": query, "docno": docid, "text": text, **more}
        for qid, query in QUERIES.items()
        for docid, text in PAIRS
    ]


SHAPES = {
    "ids and one list for all": (QUERIES, PAIRS),
    "ids and {docid: text} for all": (QUERIES, dict(PAIRS)),
    "ids and {qid: list}": (QUERIES, dict.fromkeys(reversed(QUERIES), PAIRS)),
    "ids and {qid: {docid: text}}": (QUERIES, {qid: dict(PAIRS) for qid in QUERIES}),
    "ids and {docid: object} for all": (QUERIES, {docid: {"text": text} for docid, text in PAIRS}),
    "frames": (pandas.DataFrame(QUERIES.items(), columns=["qid", "query"]), pandas.DataFrame(rows())),
    "a frame for all": (QUERIES, pandas.DataFrame(PAIRS, columns=["docno", "text"])),
    "one frame": (pandas.DataFrame(rows(score=1.0)), None),
    "ir_measures' names": (pandas.DataFrame(rows()).rename(columns={"qid": "query_id", "docno": "doc_id"}), None),
    "a series": (pandas.Series(QUERIES), PAIRS),
    "ids and {qid: tuple}": (QUERIES, {qid: tuple(PAIRS) for qid in QUERIES}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_scores_of_rerank(shape, model, expected):
    queries, documents = SHAPES[shape]
    found = model.rank_many(queries, documents)
    assert list(found.queries.items()) == list(QUERIES.items())
    for qid, wanted in expected.items():
        assert [one.id for one in found.by_qid[qid]] == [hit.docid for hit in wanted]
        assert [one.score for one in found.by_qid[qid]] == pytest.approx([hit.score for hit in wanted], abs=1e-6)


@pytest.mark.parametrize("documents", [TEXTS, [TEXTS] * 3, (TEXTS for _ in range(3)), [pandas.Series(TEXTS)] * 3])
def test_strings_are_numbered_by_their_place(documents, model, expected):
    found = rrarank.rank_many(list(QUERIES.values()), documents, model=model)
    assert [[one.id for one in ranked] for ranked in found] == [
        [IDS.index(hit.docid) for hit in hits] for hits in expected.values()
    ]
    assert list(found.queries) == [0, 1, 2]


@pytest.mark.parametrize("make", [list, tuple, iter])
def test_tuples_that_could_be_pairs_or_groups_are_refused(make, model):
    """`zip` makes groups of tuples; read as (id, text) pairs, the first texts would not be ranked."""
    groups = [("the cat sat", "tea"), ("a dog", "bread")]
    with pytest.raises(RrarankError) as error:
        rrarank.rank_many(["cat", "dog"], make(groups), model=model)
    assert str(error.value) == (
        "documents: 2 tuples for 2 queries are (id, text) pairs or the documents of each query; "
        "give {id: text} for the first, lists for the second"
    )
    assert [len(found) for found in rrarank.rank_many(["cat", "dog"], [*groups, ("d3", "tea")], model=model)] == [3, 3]
    found = rrarank.rank_many({"q1": "cat", "q2": "dog"}, {"q1": groups[0], "q2": groups[1]}, model=model)
    assert [sorted(one.text for one in ranked) for ranked in found] == [["tea", "the cat sat"], ["a dog", "bread"]]


def test_each_list_is_what_rank_gives_alone(model):
    lists = [TEXTS[:2], [], TEXTS, ["the cat sat", "the cat sat"], [" ", "tea"]]
    queries = ["why dogs", "tea", "tea", "what is a cat", "tea"]
    found = model.rank_many(queries, lists)
    for query, documents, ranked in zip(queries, lists, found, strict=True):
        alone = model.rank(query, documents)
        assert [one.id for one in ranked] == [one.id for one in alone]
        assert [one.score for one in ranked] == pytest.approx([one.score for one in alone], abs=1e-6, nan_ok=True)
    assert [one.id for one in found[3]] == [0, 1]
    assert [len(ranked) for ranked in model.rank_many(queries, lists, top_k=1)] == [1, 0, 1, 1, 1]


def test_nothing_to_rank_loads_no_model():
    assert len(rrarank.rank_many([], [], model="no such model")) == 0
    assert [len(ranked) for ranked in rrarank.rank_many(["a", "b"], [], model="no such model")] == [0, 0]
    assert rrarank.rank_many({}, {}, model="no such model").queries == {}


FRAME = pandas.DataFrame(rows())


@pytest.mark.parametrize(
    ("queries", "documents", "message"),
    [
        ("a query", TEXTS, "queries is of type str, expected a list of queries; one: `rank`"),
        (7, TEXTS, "queries is of type int, expected a list of queries"),
        (["a", None], TEXTS, "query 1 is of type NoneType, expected a string"),
        ({"q": float("nan")}, TEXTS, "query 'q' is nan, a missing value, expected a string"),
        (["a", "b"], [TEXTS], "1 lists of documents for 2 queries; give one list a query"),
        (["a"], [TEXTS, 7], "document 0 is of type list, expected a string"),
        (["a"], [["x", None]], "query 0: document 1 is of type NoneType, expected a string"),
        (["a"], None, "documents is None, expected a list of documents; only a DataFrame of queries can hold them"),
        (["a"], 7, "documents is of type int, expected a list of documents"),
        (QUERIES, {"q1": TEXTS}, "documents: none for 'q2', 'q3'; give an empty list where a query has none"),
        (QUERIES, {"q9": TEXTS}, "documents: of 'q9', which is no query; the queries are 'q1', 'q2', 'q3'"),
        ({19: "a"}, FRAME, "documents: of 'q1', 'q2', 'q3', which is no query; the queries are 19; are the ids of"),
        (
            FRAME.drop(columns="query").drop(columns="text"),
            TEXTS,
            "queries: a DataFrame with the columns 'qid', 'docno'",
        ),
        ({1: "a", "1": "b"}, TEXTS, "queries: 1 and '1' are one name as strings; rename one"),
        (["a\ud800"], TEXTS, "query 0: half of a surrogate pair ('\\ud800'), which no text can hold; remove it"),
        (["a"], ["b", "\udcff"], "document 1: half of a surrogate pair ('\\udcff')"),
        ({None: "a"}, TEXTS, "queries: the qid in row 0 is None, a missing value; give one, or drop the row"),
        (FRAME.assign(qid=["q1", None, *["q2"] * 7]), None, "queries: the qid in row 1 is "),
        (
            FRAME.assign(qid=pandas.array(["q1", None, *["q2"] * 7])),
            None,
            "queries: the qid in row 1 is <NA>, a missing",
        ),
        (QUERIES, FRAME.assign(qid=["q1", None, *["q2"] * 7]), "documents: the qid in row 1 is "),
        (QUERIES, FRAME.assign(qid=["q1", float("nan"), *["q2"] * 7]), "documents: the qid in row 1 is nan"),
        (QUERIES, pandas.concat([FRAME, FRAME[["text"]]], axis=1), "query 'q1': documents: a DataFrame with several"),
        (FRAME.assign(query=range(9)), None, "query 'q1' is of type int, expected a string"),
        (FRAME.assign(query=list("abcdefghi")), None, "queries: 'q1' stands for 'a' and for 'b'; keep one"),
        (FRAME.assign(text=[*TEXTS, None, *TEXTS, "a", "b"]), None, "query 'q2': document 0: its 'text' is"),
    ],
)
def test_what_cannot_be_ranked_is_one_clear_line(queries, documents, message, model):
    with pytest.raises(RrarankError) as error:
        rrarank.rank_many(queries, documents, model=model)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_least_score_leaves_out_what_is_below_it(model):
    scores = sorted(one.score for found in model.rank_many(QUERIES, PAIRS) for one in found)
    least = scores[4]
    found = rrarank.rank_many(QUERIES, PAIRS, model=model, min_score=least)
    assert found == asyncio.run(rrarank.arank_many(QUERIES, PAIRS, model=model, min_score=least))
    for query, kept in zip(QUERIES.values(), found, strict=True):
        assert kept == rrarank.rank(query, PAIRS, model=model, min_score=least)
    assert sum(map(len, found)) == 5
    with pytest.raises(RrarankError, match="min_relevance: the model has no calibration"):
        rrarank.rank_many(QUERIES, PAIRS, model=model, min_relevance=0.5)
    for odd in ("1", float("nan"), True):
        with pytest.raises(RrarankError, match="^min_score .*, expected a finite number$"):
            rrarank.rank_many(QUERIES, PAIRS, model=model, min_score=odd)  # type: ignore[arg-type]


def test_tasks_and_threads_get_the_same(model, expected):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: model.rank_many(QUERIES, PAIRS), range(6)))

    async def together():
        ours = [rrarank.arank_many(QUERIES, PAIRS, model=model), model.arank_many(QUERIES, PAIRS)]
        return await asyncio.gather(*ours)

    assert all(one == found[0] for one in [*found, *asyncio.run(together())])


def test_queries_are_scored_together(model, monkeypatch):
    asked = []
    block = type(model).rerank_block

    def counted(self, queries):
        asked.append(len(queries))
        return block(self, queries)

    monkeypatch.setattr(type(model), "rerank_block", counted)
    monkeypatch.setattr(reranker, "PAIRS", 7)
    model.rank_many([f"tea {n}" for n in range(7)], TEXTS)
    assert asked == [3, 3, 1]


def test_a_result_is_a_table_a_page_a_frame_and_a_run(model, expected, capsys):
    found = model.rank_many(QUERIES, PAIRS)
    header, first, *_ = repr(found).splitlines()
    assert header.split() == ["qid", "docs", "score", "id", "best", "text"]
    assert first.split()[:2] == ["q1", "3"]
    assert found._repr_html_().count("<table>") == 3
    frame = found.to_pandas()
    assert list(frame.columns) == ["qid", "query", "rank", "score", "id", "text", "document", "relevance"]
    assert len(frame) == 9
    assert found.to_run("x").tag == "x"
    assert {qid: [hit.docid for hit in hits] for qid, hits in found.to_run().items()} == {
        qid: [hit.docid for hit in hits] for qid, hits in expected.items()
    }
    assert found[1:].queries == {qid: QUERIES[qid] for qid in ("q2", "q3")}
    assert found[-1] == found.by_qid["q3"]
    assert len(repr(model.rank_many([f"tea {n}" for n in range(200)], TEXTS[:1]))) < 2000
    assert capsys.readouterr() == ("", "")


def test_a_result_is_found_by_its_qid_and_by_its_place(model):
    found = model.rank_many(QUERIES, PAIRS)
    assert found["q2"] is found[1] is found[-2] is found.by_qid["q2"]
    assert "q2" in found
    assert found[0] in found
    assert "q9" not in found
    with pytest.raises(KeyError, match="no query 'q9' .known: 'q1', 'q2', 'q3'."):
        found["q9"]
    with pytest.raises(IndexError):
        found[3]
    numbered = model.rank_many({7: "tea", 0: "cat"}, PAIRS)
    assert numbered[0] is numbered.by_qid[7]  # a number is a place
    with pytest.raises(KeyError, match="no query '7' .known: 7, 0; a number is a place, so use .by_qid"):
        numbered["7"]


def test_a_bar_shows_for_long_jobs_on_a_terminal_only(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS", 0)

    def shown(total, wanted, terminal):
        monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
        with progress.progress_bar(total, " pairs", wanted) as advance:
            advance(total)
            time.sleep(0.02)
        return "pairs" in capsys.readouterr().err

    assert shown(5, True, False)
    assert shown(progress.LONG, None, True)
    assert not shown(progress.LONG, None, False)
    assert not shown(progress.LONG - 1, None, True)
    assert not shown(progress.LONG, False, True)
