"""Our rerankers for the library `rerankers` (AnswerDotAI): `rank` and `score`.

RrarankRanker().rank(query="who was first on the moon", docs=["Armstrong …", "Gagarin …"]).top_k(1)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rrarank.data.trec import falling_docid, place_of
from rrarank.data.types import Candidate, Query, Ranking
from rrarank.engine import registry
from rrarank.engine.blocks import score_block
from rrarank.engine.reranker import Reranker
from rrarank.extras import importing

with importing():
    from rerankers.documents import Document
    from rerankers.models.ranker import BaseRanker
    from rerankers.results import RankedResults, Result
    from rerankers.utils import prep_docs


class RrarankRanker(BaseRanker):  # type: ignore[misc]  # the library has no types
    """Any registered reranker.

    Args:
        model_name_or_path: folder or hub id; empty for the reranker's own model.
        verbose: accepted for compatibility; nothing is printed.
        reranker: a reranker or its name.
        settings: keyword settings of the reranker, as for `rrarank.load_reranker`.
    """

    def __init__(
        self,
        model_name_or_path: str = "",
        verbose: int = 0,
        *,
        reranker: Reranker | str = registry.DEFAULT,
        **settings: Any,
    ) -> None:
        given = {**settings, **({"model": model_name_or_path} if model_name_or_path else {})}
        self.reranker = registry.load_reranker(reranker, **given) if isinstance(reranker, str) else reranker
        self.verbose = verbose

    def rank(
        self,
        query: str,
        docs: str | Sequence[str] | Document | Sequence[Document],
        doc_ids: Sequence[str] | Sequence[int] | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
    ) -> RankedResults:
        """The documents best first, with ranks from 1; equal scores keep the order given."""
        given = prep_docs([docs] if isinstance(docs, str) else docs, doc_ids, metadata) if docs else []
        candidates = tuple(Candidate(falling_docid(place), one.text, 0.0) for place, one in enumerate(given))
        [hits] = score_block([Ranking(Query("", query), candidates)], self.reranker).hits
        ranked = ((given[place_of(hit.docid)], hit.score) for hit in hits)
        found = [Result(document, score=score, rank=rank) for rank, (document, score) in enumerate(ranked, start=1)]
        return RankedResults(found, query, has_scores=True)

    def score(self, query: str, doc: str) -> float:
        return float(self.rank(query, [doc])[0].score)
