import re
from collections import Counter
from dataclasses import replace

import pytest

import rrarank
from rrarank import Candidate, Query, Ranking, RrarankError
from rrarank.data.types import Hit, Run
from rrarank.engine.blocks import RerankConfig, rerank_queries
from rrarank.engine.budget import Pace
from rrarank.engine.floor import Floor
from rrarank.engine.registry import load_reranker
from rrarank.rerank.relevance import Scored
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.cascade import Cascade, CascadeConfig
from rrarank.rerankers.cross_encoder import CrossEncoder
from rrarank.storage.journal import Journal

TEXTS = ["the cat sat", "why dogs", "tea", "bread is long", "a long document about cats and dogs", "mat"]
ASKED = Ranking(Query("1", "why is the cat long"), tuple(Candidate(f"d{i}", t, 9.0 - i) for i, t in enumerate(TEXTS)))


def docids(ranking):
    return [candidate.docid for candidate in ranking.candidates]


def test_the_second_orders_what_the_first_puts_on_top_and_the_rest_follows(cross_encoder_folder, bi_encoder_folder):
    first = load_reranker("bi-encoder", model=str(bi_encoder_folder), device="cpu")
    second = CrossEncoder(CrossEncoderConfig(model=str(cross_encoder_folder), device="cpu"))
    [ordered] = first.rerank_block([ASKED])
    [best] = second.rerank_block([Ranking(ASKED.query, ordered.candidates[:4])])
    config = CascadeConfig(
        model=str(cross_encoder_folder), first="bi-encoder", first_model=str(bi_encoder_folder), keep=4, device="cpu"
    )
    [found] = Cascade(config).rerank_block([ASKED])
    assert docids(found) == [*docids(best), *docids(ordered)[4:]]
    assert [c.score for c in found.candidates[:4]] == [c.score for c in best.candidates]


def test_without_a_number_the_second_orders_thirty(cross_encoder_folder):
    many = Ranking(ASKED.query, tuple(Candidate(f"d{i:02}", "the cat " * (i % 9 + 1), -i) for i in range(40)))
    config = CascadeConfig(model=str(cross_encoder_folder), first="bm25", device="cpu")
    default, thirty = (Cascade(one).rerank_block([many]) for one in (config, replace(config, keep=30)))
    assert default == thirty
    assert docids(default[0])[30:] == [f"d{i}" for i in range(30, 40)]
    assert docids(default[0])[:30] != sorted(docids(default[0])[:30])


def budgeted(model, budget_ms, pace=None, journal=None):
    run = Run({"1": [Hit(c.docid, c.score) for c in ASKED.candidates]})
    texts = {c.docid: c.text for c in ASKED.candidates}
    config = RerankConfig(budget_ms=budget_ms)
    topics = {"1": ASKED.query.text}
    return dict(rerank_queries(run, model, topics=topics, texts=texts, config=config, pace=pace, journal=journal))["1"]


@pytest.fixture
def over_bm25(cross_encoder_folder):
    return CascadeConfig(model=str(cross_encoder_folder), first="bm25", device="cpu")


def test_a_budget_chooses_how_many_the_second_orders(over_bm25):
    cascade = Cascade(over_bm25)
    pairs = cascade.second.encode(ASKED.query.text, TEXTS)
    tokens = [len(pair["input_ids"]) for pair in pairs]
    read = sum(map(len, TEXTS))
    for n in range(1, len(TEXTS) + 1):  # a millisecond a token, and one a character of what the first reads
        found = budgeted(cascade, read + sum(tokens[:n]) + 0.5, Pace(0.0, 0.001, 0.001))
        [expected] = Cascade(replace(over_bm25, keep=n)).rerank_block([ASKED])
        assert [hit.docid for hit in found] == docids(expected)
        assert [hit.score for hit in found] == pytest.approx([c.score for c in expected.candidates])


def test_the_number_is_the_most_that_a_budget_chooses(over_bm25):
    found = budgeted(Cascade(replace(over_bm25, keep=2)), 1e6, Pace(0.0, 0.001, 0.001))
    assert [hit.docid for hit in found][2:] == ["d2", "d3", "d4", "d5"]


def test_where_the_first_leaves_no_time_the_second_scores_one(over_bm25, caplog):
    found = budgeted(Cascade(over_bm25), 1e-6)
    [expected] = Cascade(replace(over_bm25, keep=1)).rerank_block([ASKED])
    assert [hit.docid for hit in found] == docids(expected)
    assert found[0].score == pytest.approx(expected.candidates[0].score)  # of the second, as all scores of a cascade
    [line] = [record.message for record in caplog.records]
    assert re.match(
        r"budget_ms \(--budget-ms\) 1e-06: a query takes about \d+ ms before the second reranker scores its one", line
    )


def test_a_finished_query_is_not_scored_again_at_the_same_pace(over_bm25, tmp_path, monkeypatch):
    cascade, journal, pace = Cascade(over_bm25), Journal(tmp_path / "journal"), Pace(0.0, 0.001, 0.001)
    first = budgeted(cascade, 120, pace, journal)
    budgeted(cascade, 121, pace, journal)
    budgeted(cascade, 120, Pace(0.0, 0.001, 0.002), journal)
    assert len(journal) == 3  # another time or pace is other work
    monkeypatch.setattr(cascade.first, "rerank_block", lambda queries: pytest.fail("scored again"))
    assert budgeted(cascade, 120, pace, journal) == first


def test_texts_that_are_too_long_are_counted_once(sparse_encoder_folder, over_bm25):
    given = replace(over_bm25, first="sparse-encoder", first_model=str(sparse_encoder_folder), max_length=8)
    counts: Counter[str] = Counter()
    run, texts = Run({"1": [Hit("a", 2.0), Hit("b", 1.0)]}), {"a": "the cat sat " * 30, "b": "tea"}
    config, pace = RerankConfig(budget_ms=1e6), Pace(0.0, 0.001)
    ranked = rerank_queries(
        run, Cascade(given), topics={"1": "why"}, texts=texts, config=config, pace=pace, counts=counts
    )
    assert len(dict(ranked)["1"]) == 2
    assert counts["cut"] == 2  # once by each of the two


def test_the_first_keeps_documents_vectors(cross_encoder_folder, sparse_encoder_folder, tmp_path):
    plain = CascadeConfig(
        model=str(cross_encoder_folder), first="sparse-encoder", first_model=str(sparse_encoder_folder), device="cpu"
    )
    kept = replace(plain, cache=str(tmp_path))
    expected, *found = (docids(Cascade(config).rerank_block([ASKED])[0]) for config in (plain, kept, kept))
    assert found == [expected, expected]
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 1
    assert Cascade(kept).fingerprint() == Cascade(plain).fingerprint()


def test_a_cache_that_the_first_has_no_use_for_is_refused(cross_encoder_folder, tmp_path):
    config = CascadeConfig(model=str(cross_encoder_folder), first="bm25", cache=str(tmp_path), device="cpu")
    with pytest.raises(RrarankError, match=r"bm25.*cache"):
        Cascade(config)


def test_the_first_stage_itself_can_be_the_first(cross_encoder_folder):
    config = CascadeConfig(model=str(cross_encoder_folder), first="bm25", keep=2, device="cpu")
    [found] = Cascade(config).rerank_block([ASKED])
    assert docids(found)[2:] == ["d2", "d3", "d4", "d5"]


def test_it_gives_no_relevance_as_only_the_best_have_a_score_that_means_one():
    cascade = Cascade(CascadeConfig(first="bm25", keep=2, device="cpu"))
    assert {one.relevance for one in cascade.rank("why is the cat long", TEXTS)} == {None}
    assert {one.relevance for one in cascade.second.rank("why is the cat long", TEXTS)} != {None}
    with pytest.raises(RrarankError, match=r"cascade: .* nothing is known of the others' relevance; use the second"):
        cascade.needed_relevance()


@pytest.mark.parametrize("floor", [{"min_score": 0.0}, {"min_relevance": 0.5}])
def test_a_floor_is_refused_as_nothing_is_known_of_what_stands_below(floor):
    [named] = floor
    message = rf"{named}: .* use it alone, with fewer documents"
    cascade = Cascade(CascadeConfig(first="bm25", keep=2, device="cpu"))
    run, topics = Run({"q": [Hit("d0", 2.0), Hit("d1", 1.0)]}), {"q": "cats"}
    with pytest.raises(RrarankError, match=message):
        rrarank.rank("why is the cat long", TEXTS, model=cascade, **floor)
    with pytest.raises(RrarankError, match=message):
        rrarank.rerank_run(run, model=cascade, topics=topics, texts={"d0": "a cat", "d1": "a dog"}, **floor)
    with pytest.raises(RrarankError, match=message):
        Scored.by(cascade, Floor(floor.get("min_score"), floor.get("min_relevance")), listed=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": -1}, "keep=-1, expected a number from 1, or 0 for the default"),
        ({"keep": "3"}, "keep='3', expected a number"),
        ({"keep": 1.0}, "keep=1.0, expected a number"),
        ({"first": "cascade"}, "would never end"),
        ({"first": "x"}, "'x'"),
    ],
)
def test_faulty_settings_are_one_line(settings, message, cross_encoder_folder):
    with pytest.raises(RrarankError, match=message):
        Cascade(CascadeConfig(model=str(cross_encoder_folder), device="cpu", **settings))
