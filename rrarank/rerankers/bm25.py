"""The first stage as a reranker: candidates stay in their order. It is the first row of every table."""

from __future__ import annotations

from collections.abc import Sequence

from rrarank.data.types import Ranking
from rrarank.engine.reranker import Reranker


class FirstStage(Reranker):
    """Keeps the first stage's scores and order."""

    name = "bm25"

    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        return list(queries)
