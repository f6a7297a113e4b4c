"""`rrarank.rank`: documents in any usual shape, the same scores as `rerank`, one model for all calls."""

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import rrarank
from rrarank.data.types import Candidate, Run
from rrarank.engine import ranking, registry
from rrarank.errors import RrarankError

QUERY = "what is a cat"
TEXTS = ["bread about tea", "the cat sat", "a long document of dogs"]


@pytest.fixture(scope="module")
def model(steady_folder):
    return str(steady_folder)


@pytest.fixture(scope="module")
def expected(steady_folder):
    """(place, score), best first, as `rerank_run` scores them."""
    hits = [rrarank.Hit(str(n), 1.0 - n) for n in range(len(TEXTS))]
    texts = {str(n): text for n, text in enumerate(TEXTS)}
    reranker = rrarank.load_reranker("cross-encoder", model=str(steady_folder))
    run = rrarank.rerank_run(Run({"1": hits}, "x"), reranker, topics={"1": QUERY}, texts=texts)
    return [(int(hit.docid), hit.score) for hit in run["1"]]


def shapes():
    import pandas

    rows = [{"docid": f"d{n}", "text": text, "year": n} for n, text in enumerate(TEXTS)]
    names = [row["docid"] for row in rows]
    return {
        "strings": (TEXTS, [0, 1, 2], TEXTS),
        "a generator": ((text for text in TEXTS), [0, 1, 2], TEXTS),
        "mappings": (rows, names, rows),
        "mappings without id": ([{"body": text} for text in TEXTS], [0, 1, 2], [{"body": text} for text in TEXTS]),
        "pairs": (list(zip(names, TEXTS, strict=True)), names, list(zip(names, TEXTS, strict=True))),
        "id -> text": (dict(zip(names, TEXTS, strict=True)), names, TEXTS),
        "a series": (pandas.Series(TEXTS, index=names), names, TEXTS),
        "a frame": (pandas.DataFrame(rows), names, rows),
        "a frame by its index": (pandas.DataFrame({"text": TEXTS}, names), names, [{"text": text} for text in TEXTS]),
    }


@pytest.mark.parametrize("shape", shapes())
def test_every_shape_gives_the_scores_of_rerank_and_its_own_objects_back(shape, model, expected):
    documents, ids, objects = shapes()[shape]
    found = rrarank.rank(QUERY, documents, model=model)
    assert [(one.id, one.document) for one in found] == [(ids[place], objects[place]) for place, _ in expected]
    assert [one.score for one in found] == pytest.approx([score for _, score in expected], abs=1e-6)
    assert [one.rank for one in found] == [1, 2, 3]
    assert [one.text for one in found] == [TEXTS[place] for place, _ in expected]


def test_a_document_without_a_text_has_no_score_and_comes_last_in_the_given_order(model, expected):
    documents = ["", TEXTS[0], " ", TEXTS[1], "\u200b", TEXTS[2]]
    found = rrarank.rank(QUERY, documents, model=model)
    assert [one.id for one in found] == [1 + 2 * place for place, _ in expected] + [0, 2, 4]
    assert [one.score for one in found[:3]] == pytest.approx([score for _, score in expected], abs=1e-6)
    assert all(math.isnan(one.score) and one.score_or_none is None for one in found[3:])
    assert found[0].score_or_none == found[0].score
    assert found == rrarank.rank_many([QUERY], documents, model=model)[0]
    assert rrarank.rank(QUERY, documents, model=model, top_k=4) == found[:4]
    assert len(rrarank.rank(QUERY, documents, model=model, min_score=-1e9)) == 3
    assert all(math.isnan(one.score) for one in rrarank.rank(QUERY, ["", ""], model=model))


def test_a_run_holds_documents_without_a_text_as_rerank_writes_them(model):
    texts = {"a": "", "b": "the cat sat", "c": " ", "d": "tea"}
    ranked = rrarank.rank_many({"q": QUERY}, texts, model=model)
    run = rrarank.rerank_run({"q": {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}}, model, topics={"q": QUERY}, texts=texts)
    assert [hit.docid for hit in ranked.to_run()["q"]] == [hit.docid for hit in run["q"]]
    assert [hit.score for hit in ranked.to_run()["q"]] == pytest.approx([hit.score for hit in run["q"]], abs=1e-6)


def test_a_reranker_is_not_shown_documents_without_a_text():
    class Listwise(rrarank.Reranker):
        def rerank_block(self, queries):
            self.shown = [candidate.text for ranking in queries for candidate in ranking.candidates]
            return list(queries)

    reranker = Listwise()
    reranker.rank(QUERY, ["", "tea", " "])
    assert reranker.shown == ["tea"]


@pytest.mark.parametrize("fields", [{"text": "", "contents": "tea"}, {"text": " ", "segment": None, "body": "tea"}])
def test_the_first_field_that_holds_a_text_counts(fields, model):
    assert rrarank.rank(QUERY, [fields], model=model)[0].text == "tea"
    assert rrarank.rank(QUERY, [{**fields, "title": "green"}], model=model)[0].text == "green tea"


@dataclass
class Page:
    """As LangChain's Document, which is iterable too."""

    page_content: str
    id: str | None = None

    def __iter__(self):
        yield from vars(self).items()


class Content:
    """As Haystack's Document."""

    def __init__(self, content, id):
        self.content, self.id = content, id


class Node:
    """As LlamaIndex's nodes that have no attribute for the text."""

    def __init__(self, text, id_):
        self._text, self.id_ = text, id_

    def get_content(self):
        return self._text

    def text(self):  # a method is no text
        return None


class Row(NamedTuple):
    """As documents of ir_datasets."""

    doc_id: str
    title: str
    body: str


@pytest.mark.parametrize(
    ("objects", "has_ids"),
    [
        ([Page(text) for text in TEXTS], False),
        ([Page(text, f"d{n}") for n, text in enumerate(TEXTS)], True),
        ([Content(text, f"d{n}") for n, text in enumerate(TEXTS)], True),
        ([Node(text, f"d{n}") for n, text in enumerate(TEXTS)], True),
        ([Row(f"d{n}", "", text) for n, text in enumerate(TEXTS)], True),
        ([Candidate(f"d{n}", text, 1.0) for n, text in enumerate(TEXTS)], True),
    ],
)
def test_objects_of_other_libraries_are_documents_by_their_attributes(objects, has_ids, model, expected):
    found = rrarank.rank(QUERY, objects, model=model)
    assert [one.id for one in found] == [f"d{place}" if has_ids else place for place, _ in expected]
    assert all(one.document is objects[place] for one, (place, _) in zip(found, expected, strict=True))
    many = rrarank.rank_many([QUERY, "tea"], [objects, objects[:1]], model=model)
    assert [one.document for one in many[0]] == [one.document for one in found]
    assert many[1][0].document is objects[0]
    again = rrarank.rank(QUERY, found, model=model)  # so are results
    assert [(one.id, one.score) for one in again] == [(one.id, one.score) for one in found]
    calls: Any = ((rrarank.rank, QUERY), (rrarank.rank_many, [QUERY]), (rrarank.rank_many, {"q": QUERY}))
    for rank, query in calls:
        with pytest.raises(
            RrarankError, match="^documents is one document, as it has the field '[a-z_]*'; put it in a"
        ):
            rank(query, objects[0], model=model)
    keyed = rrarank.rank_many({"q": QUERY}, {f"x{n}": one for n, one in enumerate(objects)}, model=model)
    assert {one.id for one in keyed[0]} == {"x0", "x1", "x2"}
    assert [len(ranked) for ranked in rrarank.rank_many(["a", "b", "c"], objects, model=model)] == [3, 3, 3]


def test_an_object_without_a_text_is_one_line(model):
    with pytest.raises(RrarankError, match="^document 0: its 'content' is None, expected a string$"):
        rrarank.rank(QUERY, [Content(None, "a")], model=model)


def test_a_title_comes_before_the_text_as_in_collections(model):
    one = rrarank.rank(QUERY, [{"title": "the cat", "text": "sat"}], model=model)[0]
    assert one.text == "the cat sat"


@pytest.mark.parametrize("top_k", [1, 2, 9, None, np.int64(2)])
def test_the_best_of_them(top_k, model, expected):
    found = rrarank.rank(QUERY, TEXTS, top_k=top_k, model=model)
    assert [one.id for one in found] == [place for place, _ in expected][:top_k]


def test_nothing_one_and_the_same_text_twice(model):
    assert len(rrarank.rank(QUERY, [], model="no such model")) == 0
    assert [one.id for one in rrarank.rank(QUERY, ["the cat"], model=model)] == [0]
    found = rrarank.rank(QUERY, ["the cat", "bread", "the cat", "the cat"], model=model)
    assert [one.id for one in found if one.text == "the cat"] == [0, 2, 3]


@pytest.mark.parametrize(
    ("query", "documents", "top_k", "message"),
    [
        (7, TEXTS, None, "query is of type int, expected a string"),
        (QUERY, "the cat", None, "documents is of type str, expected a list of documents"),
        (QUERY, 7, None, "documents is of type int, expected a list of documents"),
        (
            QUERY,
            ["a", 7],
            None,
            "document 1 is of type int, expected a string, an object with a text field, or (id, text)",
        ),
        (QUERY, ["a", None], None, "document 1 is of type NoneType, expected a string"),
        (QUERY, [("a", 1)], None, "document 0 is of type tuple, expected a string"),
        (QUERY, [{"id": "a"}], None, "document 0: fields 'id'; expected one of 'text'"),
        (QUERY, [{"text": None}], None, "document 0: its 'text' is None, expected a string"),
        (QUERY, ["a", float("nan")], None, "document 1 is nan, a missing value, expected a string"),
        ("a\ud800", TEXTS, None, "query: half of a surrogate pair ('\\ud800'), which no text can hold; remove it"),
        (QUERY, ["a", {"text": "b\udfff"}], None, "document 1: half of a surrogate pair ('\\udfff')"),
        (QUERY, TEXTS, True, "top_k True: expected a whole number from 1, or None for all"),
        (QUERY, TEXTS, 2.0, "top_k 2.0: expected a whole number from 1, or None for all"),
        (QUERY, TEXTS, 0, "top_k 0: expected a whole number from 1, or None for all"),
    ],
)
def test_what_cannot_be_ranked_is_one_clear_line(query, documents, top_k, message, model):
    with pytest.raises(RrarankError) as error:
        rrarank.rank(query, documents, top_k=top_k, model=model)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("nothing", [float("nan"), None, "NA"])
def test_a_missing_value_in_a_frame(nothing, model):
    import pandas

    nothing = pandas.NA if nothing == "NA" else nothing
    with pytest.raises(RrarankError, match="document 1: its 'text' is .*, expected a string"):
        rrarank.rank(QUERY, pandas.DataFrame({"text": ["the cat", nothing]}), model=model)
    found = rrarank.rank(QUERY, pandas.DataFrame({"title": ["the cat", nothing], "text": ["sat", "tea"]}), model=model)
    assert {one.text for one in found} == {"the cat sat", "tea"}
    with pytest.raises(RrarankError, match="documents: document 0 has the id 'a', document 1 has none"):
        rrarank.rank(QUERY, pandas.DataFrame({"docno": ["a", nothing], "text": ["sat", "tea"]}), model=model)


def frames(*ids):
    import pandas

    return pandas.DataFrame({"docno": ids, "text": TEXTS[: len(ids)]})


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([("a", "x"), ("b", "y"), ("a", "z")], "document 0 has the id 'a', document 2 has the id 'a'; give each its"),
        (
            [{"id": 1, "text": "x"}, {"id": "1", "text": "y"}],
            "document 0 has the id 1, document 1 has the id '1'; give",
        ),
        (frames("a", "b", "b"), "document 1 has the id 'b', document 2 has the id 'b'; give each its own"),
        (frames("a", "b").set_axis([0, 0])[["text"]], "document 0 has the id 0, document 1 has the id 0; give each"),
        (frames("a", "b").set_axis([0, 0])["text"], "document 0 has the id 0, document 1 has the id 0; give each"),
        ({1: "x", "1": "y"}, "document 0 has the id 1, document 1 has the id '1'; give each its own"),
        ([{"text": "x"}, {"id": 0, "text": "y"}], "document 1 has the id 0, document 0 has none; give all an id, or"),
        (["x", ("a", "y")], "document 1 has the id 'a', document 0 has none; give all an id, or none"),
        ([{"id": None, "text": "x"}, {"docno": "a", "text": "y"}], "document 1 has the id 'a', document 0 has none"),
    ],
)
def test_ids_are_all_there_and_all_different_or_left_out(documents, message, model):
    with pytest.raises(RrarankError) as error:
        rrarank.rank(QUERY, documents, model=model)
    assert str(error.value).startswith(f"documents: {message}")
    assert "\n" not in str(error.value)


def test_a_frame_without_ids_whose_index_repeats_is_told_what_to_do(model):
    with pytest.raises(RrarankError, match="its own, or use .reset_index.drop=True.$"):
        rrarank.rank(QUERY, frames("a", "b").set_axis([0, 0])[["text"]], model=model)


def test_the_keys_of_a_mapping_are_the_ids_whatever_the_documents_are_called(model):
    found = rrarank.rank(QUERY, {"a": {"id": "x", "text": "tea"}, "b": {"text": "sat"}}, model=model)
    assert {one.id for one in found} == {"a", "b"}


@pytest.mark.parametrize("fields", [{"id": "a", "text": "tea"}, {"body": "tea"}, {"text": None, "title": "a"}])
def test_one_document_without_its_brackets_is_refused(fields, model):
    with pytest.raises(RrarankError) as error:
        rrarank.rank(QUERY, fields, model=model)
    assert str(error.value) == (
        f"documents is one document, as it has the field {next(f for f in fields if f in ('text', 'body'))!r}; "
        "put it in a list"
    )
    with pytest.raises(RrarankError, match="documents is one document"):
        rrarank.rank_many(["a", "b"], fields, model=model)
    assert {one.id for one in rrarank.rank(QUERY, {"id": "a", "texts": "b"}, model=model)} == {"id", "texts"}


def test_a_reranker_that_invents_loses_or_spoils_scores_is_one_line():
    class Broken(rrarank.Reranker):
        def rerank_block(self, queries):
            return [rrarank.reorder(ranking, [float("nan")] * len(ranking.candidates)) for ranking in queries]

    with pytest.raises(RrarankError, match="Broken: scores of .* are not finite"):
        Broken().rank(QUERY, TEXTS)


def test_a_loaded_reranker_and_a_name_serve_as_models(model, expected):
    reranker = rrarank.load_reranker("cross-encoder", model=model)
    assert rrarank.rank(QUERY, TEXTS, model=reranker) == reranker.rank(QUERY, TEXTS)
    assert [one.id for one in rrarank.rank(QUERY, TEXTS, model="bm25")] == [0, 1, 2]  # keeps the given order


def test_no_model_is_the_default_and_what_names_none_is_one_line(monkeypatch):
    shipped = rrarank.rank("tea", ["bread", "green tea"], model="rra-bert")
    assert rrarank.rank("tea", ["bread", "green tea"], model=None) == shipped
    for odd in (3, "", " ", ["rra-bert"]):
        with pytest.raises(RrarankError, match="^model .*: expected the name of a reranker, a folder or hub id"):
            rrarank.rank("tea", ["bread"], model=odd)  # type: ignore[arg-type]
    with pytest.raises(RrarankError, match="did you mean 'rra-bert'") as error:
        rrarank.rank("tea", ["bread"], model="rra-brt")
    assert "\n" not in str(error.value)
    with pytest.raises(RrarankError, match="did you mean 'monot5'"):
        rrarank.rank("tea", ["bread"], model="monot-5")


def test_the_path_of_a_model_by_its_reranker_or_a_hint():
    assert rrarank.model_path("rra-bert") == rrarank.model_path(None) == rrarank.model_path("rra-bert-mini")
    assert (rrarank.model_path("rra-bert") / "config.json").is_file()
    for odd in (3, "", " "):
        with pytest.raises(RrarankError, match="^model .*: expected a folder, a hub id, or a model that ships"):
            rrarank.model_path(odd)  # type: ignore[arg-type]
    with pytest.raises(RrarankError, match="did you mean 'rra-bert-mini'"):
        rrarank.model_path("rra-bert-min")


def test_a_result_prints_no_control_characters():
    found = rrarank.rank_many({"q\x1b": "tea"}, [("d\x1b", "a\x07b")], model="bm25")
    assert not {"\x1b", "\x07"} & set(repr(found) + repr(found[0]))


def test_threads_and_tasks_share_one_model(model, expected, monkeypatch):
    loads = []
    load = registry.load_reranker

    def counted(name, **config):
        loads.append(name)
        return load(name, **config)

    monkeypatch.setattr(registry, "load_reranker", counted)
    ranking._load.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: rrarank.rank(QUERY, TEXTS, model=model), range(8)))

    async def together():
        return await asyncio.gather(*(rrarank.arank(QUERY, TEXTS, model=model) for _ in range(3)))

    reranker = load("cross-encoder", model=model)
    assert all(one == found[0] for one in [*found, *asyncio.run(together()), asyncio.run(reranker.arank(QUERY, TEXTS))])
    assert len(loads) == 1


def test_a_result_is_a_table_a_page_and_a_frame(model, capsys):
    found = rrarank.rank(QUERY, [("a", "the cat <b>"), ("b", "bread " * 50)], model=model)
    header, first, second = repr(found).splitlines()
    assert header.split() == ["rank", "score", "id", "text"]
    assert {first.split()[2], second.split()[2]} == {"a", "b"}
    assert len(repr(found)) < 300
    assert "the cat &lt;b&gt;" in found._repr_html_()
    frame = found.to_pandas()
    assert list(frame.columns) == ["rank", "score", "id", "text", "document", "relevance"]
    assert list(frame["id"]) == [one.id for one in found]
    assert len(found[:1]) == 1
    assert capsys.readouterr() == ("", "")


def test_the_model_that_ships_loads_elsewhere_by_its_path():
    from sentence_transformers import CrossEncoder

    text = "Cats purr when they are content."
    folder = rrarank.model_path("rra-bert-mini")
    theirs = CrossEncoder(folder, device="cpu").predict([("why do cats purr", text)])
    ours = rrarank.rank("why do cats purr", [text], model="rra-bert-mini")
    assert ours[0].score == pytest.approx(float(theirs[0]), abs=1e-4)
    assert rrarank.rank("why do cats purr", [text])[0].score == pytest.approx(ours[0].score, abs=1e-6)
    with pytest.raises(RrarankError, match="no such folder, and no hub id"):
        rrarank.model_path("rra-bert-mni/../x")
