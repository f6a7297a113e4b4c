"""Haystack's pipeline with a ranker of ours: its documents, our scores."""

import os

import pytest

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
pytest.importorskip("haystack", reason="the extra `haystack` is not installed")

from haystack import Document, Pipeline

import rrarank
from rrarank.integrations.haystack import RrarankRanker

QUERY, TEXTS = "why cats", ["cat", "tea tea cat", "why dogs"]
DOCUMENTS = [Document(content=text, meta={"page": place}) for place, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def model(steady_folder):
    return str(steady_folder)


def test_a_pipeline_ranks_best_first_with_our_scores_and_survives_yaml(model):
    pipeline = Pipeline()
    pipeline.add_component("ranker", RrarankRanker(model, top_k=None))
    ours = rrarank.rank(QUERY, TEXTS, model=model)
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["rrarank.integrations.haystack"])
    for made in (pipeline, again):
        found = made.run({"ranker": {"query": QUERY, "documents": DOCUMENTS}})["ranker"]["documents"]
        assert [document.meta["page"] for document in found] == [one.id for one in ours]
        assert [document.score for document in found] == pytest.approx([one.score for one in ours])
    assert {document.score for document in DOCUMENTS} == {None}  # unchanged


def test_only_the_best_and_none_of_none_and_no_text_last(model):
    ranker = RrarankRanker(model, top_k=1)
    ranker.warm_up()
    assert len(ranker.run(QUERY, DOCUMENTS)["documents"]) == 1
    assert len(ranker.run(QUERY, DOCUMENTS, top_k=2)["documents"]) == 2
    assert ranker.run(QUERY, [])["documents"] == []
    with pytest.raises(rrarank.RrarankError, match="top_k 0: expected a whole number from 1"):
        ranker.run(QUERY, DOCUMENTS, top_k=0)
    last = ranker.run(QUERY, [Document(content=None), *DOCUMENTS], top_k=9)["documents"][-1]
    assert last.content is last.score is None


def test_rank_takes_the_documents_themselves(model):
    found = rrarank.rank(QUERY, DOCUMENTS, model=model)
    ours = rrarank.rank(QUERY, TEXTS, model=model)
    assert [one.document for one in found] == [DOCUMENTS[one.id] for one in ours]
    assert [one.id for one in found] == [DOCUMENTS[one.id].id for one in ours]
