"""Haystack: any reranker as a ranker component of a pipeline (extra `haystack`).

pipeline.add_component("ranker", RrarankRanker(top_k=3))
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rrarank.engine.ranking import load_once, rank
from rrarank.engine.registry import DEFAULT
from rrarank.extras import importing

with importing():
    from haystack import Document, component, default_to_dict


@component
class RrarankRanker:
    """The best documents first, each a copy with its score; documents without text come last.

    Args:
        model: name of a reranker, or folder or hub id of a cross-encoder.
        top_k: how many to return; None: all.
    """

    def __init__(self, model: str = DEFAULT, top_k: int | None = 10) -> None:
        self.model, self.top_k = model, top_k

    def warm_up(self) -> None:
        load_once(self.model)

    def to_dict(self) -> dict[str, Any]:
        return dict(default_to_dict(self, model=self.model, top_k=self.top_k))

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]  # its types are not read
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, list[Document]]:
        texts = [document.content or "" for document in documents]
        found = rank(query, texts, top_k=self.top_k if top_k is None else top_k, model=self.model)
        return {"documents": [replace(documents[one.id], score=one.score_or_none) for one in found]}
