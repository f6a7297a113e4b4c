"""LlamaIndex's postprocessor with a model of ours: its nodes, our scores."""

import pytest

pytest.importorskip("llama_index.core", reason="the extra `llamaindex` is not installed")

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, TextNode

import rrarank
from rrarank.integrations.llamaindex import RrarankPostprocessor

QUERY, TEXTS = "why cats", ["cat", "tea tea cat", "why dogs", "cat"]


@pytest.fixture(scope="module")
def model(steady_folder):
    return rrarank.load_reranker("cross-encoder", model=steady_folder, device="cpu")


def nodes(**metadata):
    return [NodeWithScore(node=TextNode(text=text, metadata=metadata), score=0.5) for text in TEXTS]


def test_nodes_come_best_first_with_our_scores(model):
    processor = RrarankPostprocessor(model=model, top_n=None)
    assert isinstance(processor, BaseNodePostprocessor)
    given = nodes()
    found = processor.postprocess_nodes(given, query_str=QUERY)
    ours = model.rank(QUERY, TEXTS)
    assert [one.node.node_id for one in found] == [given[one.id].node.node_id for one in ours]
    assert [one.score for one in found] == pytest.approx([one.score for one in ours])
    assert {one.score for one in given} == {0.5}  # unchanged


def test_no_text_is_last_without_a_score_and_rank_takes_the_nodes_themselves(model):
    given = [NodeWithScore(node=TextNode(text="")), *nodes()]
    found = RrarankPostprocessor(model=model, top_n=None).postprocess_nodes(given, query_str=QUERY)
    assert (found[-1].node, found[-1].score) == (given[0].node, None)
    for documents in (given, [one.node for one in given]):
        ranked = model.rank(QUERY, documents)
        assert [one.id for one in ranked] == [one.node.node_id for one in found]


def test_metadata_is_a_part_of_the_text(model):
    found = RrarankPostprocessor(model=model, top_n=1).postprocess_nodes(nodes(topic="dogs"), query_str=QUERY)
    ours = model.rank(QUERY, [f"topic: dogs\n\n{text}" for text in TEXTS], top_k=1)
    assert [one.score for one in found] == pytest.approx([one.score for one in ours])


def test_no_nodes_are_none_and_no_query_is_one_line(model):
    processor = RrarankPostprocessor(model=model)
    assert processor.postprocess_nodes([], query_str=QUERY) == []
    with pytest.raises(rrarank.RrarankError, match="no query; give query_str"):
        processor.postprocess_nodes(nodes())
