"""The library `rerankers` with a model of ours: its results, our scores."""

import pytest
from rerankers.documents import Document

from rrarank.data.types import Candidate, Query, Ranking
from rrarank.engine.registry import load_reranker
from rrarank.integrations.rerankers import RrarankRanker

DOCS = ["cat", "tea tea cat", "why dogs", "cat"]


@pytest.fixture(scope="module")
def ranker(cross_encoder_folder):
    return RrarankRanker(str(cross_encoder_folder), reranker="cross-encoder", device="cpu")


def test_scores_are_ours_best_first_and_equal_texts_keep_their_order(ranker, cross_encoder_folder):
    found = ranker.rank("why cats", DOCS)
    ours = load_reranker("cross-encoder", model=str(cross_encoder_folder), device="cpu")
    candidates = tuple(Candidate(str(place), text, 0.0) for place, text in enumerate(DOCS))
    [wanted] = ours.rerank_block([Ranking(Query("", "why cats"), candidates)])
    assert {result.document.doc_id: result.score for result in found} == {
        int(candidate.docid): candidate.score for candidate in wanted.candidates
    }
    assert [result.rank for result in found] == [1, 2, 3, 4]
    scores = [result.score for result in found]
    assert scores == sorted(scores, reverse=True)
    places = [result.document.doc_id for result in found]
    assert places.index(0) < places.index(3)
    assert found.has_scores
    assert found.top_k(1)[0].document.text == DOCS[places[0]]


def test_documents_keep_their_ids_and_metadata(ranker):
    found = ranker.rank("why cats", [Document("tea", doc_id="x", metadata={"url": "u"}), Document("cat", doc_id="y")])
    assert {result.doc_id for result in found} == {"x", "y"}
    assert found.get_result_by_docid("x").document.metadata == {"url": "u"}


def test_one_text_has_a_score_and_none_gives_none(ranker):
    assert ranker.score("why cats", "cat") == pytest.approx(ranker.rank("why cats", "cat")[0].score)
    assert ranker.rank("why cats", []).results == []


def test_a_reranker_that_is_loaded_already_is_taken(ranker):
    assert RrarankRanker(reranker=ranker.reranker).score("q", "cat") == ranker.score("q", "cat")
