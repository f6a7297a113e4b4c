"""LangChain: any reranker as a document compressor, for `ContextualCompressionRetriever` (extra `langchain`).

RrarankCompressor(top_n=3).compress_documents(documents, "how long to boil an egg")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rrarank.engine.ranking import rank
from rrarank.engine.registry import DEFAULT
from rrarank.extras import importing

with importing():
    from langchain_core.callbacks import Callbacks
    from langchain_core.documents import BaseDocumentCompressor, Document


class RrarankCompressor(BaseDocumentCompressor):  # type: ignore[misc]  # the library's types are not read
    """The best documents first, each a copy with its score as `metadata["relevance_score"]`.

    Args:
        model: name of a reranker, folder or hub id of a cross-encoder, or a loaded reranker.
        top_n: how many to return; None: all.
    """

    model: Any = DEFAULT
    top_n: int | None = 3

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        found = rank(query, [document.page_content for document in documents], top_k=self.top_n, model=self.model)
        pairs = [(documents[one.id], one.score_or_none) for one in found]
        return [one.model_copy(update={"metadata": {**one.metadata, "relevance_score": score}}) for one, score in pairs]
