"""LlamaIndex: any reranker as a node postprocessor of a query engine (extra `llamaindex`).

index.as_query_engine(similarity_top_k=50, node_postprocessors=[RrarankPostprocessor(top_n=3)])
"""

from __future__ import annotations

from typing import Any

from rrarank.engine.ranking import rank
from rrarank.engine.registry import DEFAULT
from rrarank.errors import RrarankError
from rrarank.extras import importing

with importing():
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle


class RrarankPostprocessor(BaseNodePostprocessor):  # type: ignore[misc]  # the library's types are not read
    """The best nodes first, with their scores. A node's text includes its metadata, as for LlamaIndex's own rerankers.

    Args:
        model: name of a reranker, folder or hub id of a cross-encoder, or a loaded reranker.
        top_n: how many to return; None: all.
    """

    model: Any = DEFAULT
    top_n: int | None = 3

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise RrarankError("RrarankPostprocessor: no query; give query_str")
        texts = [one.node.get_content(metadata_mode=MetadataMode.EMBED) for one in nodes]
        found = rank(query_bundle.query_str, texts, top_k=self.top_n, model=self.model)
        return [NodeWithScore(node=nodes[one.id].node, score=one.score_or_none) for one in found]
