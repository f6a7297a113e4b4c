"""LangChain's compressor with a model of ours: its documents, our scores."""

import asyncio

import pytest

pytest.importorskip("langchain_core", reason="the extra `langchain` is not installed")

from langchain_core.documents import BaseDocumentCompressor, Document

import rrarank
from rrarank.integrations.langchain import RrarankCompressor

QUERY, TEXTS = "why cats", ["cat", "tea tea cat", "why dogs", "cat"]


@pytest.fixture(scope="module")
def model(steady_folder):
    return rrarank.load_reranker("cross-encoder", model=steady_folder, device="cpu")


def test_documents_come_best_first_with_our_scores_and_their_metadata(model):
    documents = [Document(text, metadata={"page": place}, id=f"d{place}") for place, text in enumerate(TEXTS)]
    compressor = RrarankCompressor(model=model, top_n=None)
    assert isinstance(compressor, BaseDocumentCompressor)
    found = compressor.compress_documents(documents, QUERY)
    ours = model.rank(QUERY, TEXTS)
    assert [one.metadata["page"] for one in found] == [one.id for one in ours]
    assert [one.metadata["relevance_score"] for one in found] == pytest.approx([one.score for one in ours])
    assert [one.id for one in found] == [f"d{one.id}" for one in ours]
    assert [one.metadata for one in documents] == [{"page": place} for place in range(4)]  # unchanged
    assert asyncio.run(compressor.acompress_documents(documents, QUERY)) == found


def test_only_the_best_and_none_of_none(model):
    compressor = RrarankCompressor(model=model, top_n=1)
    assert len(compressor.compress_documents([Document(text) for text in TEXTS], QUERY)) == 1
    assert compressor.compress_documents([], QUERY) == []


def test_no_text_is_last_without_a_score_and_rank_takes_the_documents_themselves(model):
    documents = [Document(""), *(Document(text) for text in TEXTS)]
    found = RrarankCompressor(model=model, top_n=None).compress_documents(documents, QUERY)
    assert found[-1].metadata == {"relevance_score": None}
    assert [one.document.page_content for one in model.rank(QUERY, documents)] == [one.page_content for one in found]
    with pytest.raises(rrarank.RrarankError, match="^documents is one document, as it has the field 'page_content'"):
        model.rank(QUERY, documents[1])
