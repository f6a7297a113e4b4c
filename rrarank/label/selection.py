"""Choose the list that a teacher ranks: the most and the least relevant candidates of each query, by a pre-ranker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rrarank.data.distillation_set import collapse_equal_texts
from rrarank.data.types import Candidate, LabelledRanking, Query, Ranking, Run, is_blank
from rrarank.engine.blocks import RemoteScorer, RerankConfig, rerank_queries
from rrarank.engine.reranker import Reranker, reorder
from rrarank.errors import RrarankError
from rrarank.sources.dense import DenseIndex, Encoder
from rrarank.storage.journal import Journal


@dataclass(frozen=True)
class Selection:
    """Which candidates the teacher sees, in the pre-ranker's order.

    Args:
        depth: candidates per query that the pre-ranker orders (50 in RRADistill).
        k_top, k_bottom: how many of the most and of the least relevant are kept (RRADistill; 20 fit in one prompt).
    """

    depth: int = 50
    k_top: int = 10
    k_bottom: int = 10

    def __post_init__(self) -> None:
        if min(self.k_top, self.k_bottom) < 0 or self.k_top + self.k_bottom < 2:
            raise RrarankError(f"k_top {self.k_top} and k_bottom {self.k_bottom}: expected two candidates or more")


def choose_lists(
    run: Run,
    preranker: Reranker,
    *,
    topics: Mapping[str, str],
    texts: Mapping[str, str],
    selection: Selection = Selection(),
    journal: Journal | None = None,
    remote: RemoteScorer | None = None,
) -> Iterator[LabelledRanking]:
    """A list without labels for each query, in the order of the run; of equal texts only the best-ranked is shown.

    Queries without a topic, or without a candidate that has a text, are left out.
    """
    distinct, dropped = {}, {}
    for qid, hits in run.items():
        found = [
            Candidate(hit.docid, texts[hit.docid], hit.score) for hit in hits[: selection.depth] if hit.docid in texts
        ]
        kept, dropped[qid] = collapse_equal_texts(c for c in found if not is_blank(c.text))
        if kept and qid in topics:
            docids = {candidate.docid for candidate in kept}
            distinct[qid] = [hit for hit in hits if hit.docid in docids]
    config = RerankConfig(depth=selection.depth, hits=selection.depth)
    ranked = rerank_queries(
        Run(distinct), preranker, topics=topics, texts=texts, config=config, journal=journal, remote=remote
    )
    for qid, hits in ranked:
        shown = select([Candidate(hit.docid, texts[hit.docid], hit.score) for hit in hits], selection)
        shown_docids = {candidate.docid for candidate in shown}
        not_shown = tuple(hit.docid for hit in distinct[qid] if hit.docid not in shown_docids)
        provenance = {"equal_texts": dropped[qid]} if dropped[qid] else {}
        yield LabelledRanking(Query(qid, topics[qid]), shown, not_shown=not_shown, provenance=provenance)


def select(candidates: Sequence[Candidate], selection: Selection) -> tuple[Candidate, ...]:
    """The first `k_top` and the last `k_bottom` candidates."""
    bottom = max(len(candidates) - selection.k_bottom, selection.k_top)
    return (*candidates[: selection.k_top], *candidates[bottom:])


class StoredEmbeddings(Reranker):
    """A bi-encoder that reads document embeddings from a dense index and embeds only the queries.

    Documents are looked up by docid; their texts are not used.
    """

    def __init__(self, index: DenseIndex, encoder: Encoder, name: str) -> None:
        super().__init__()
        self.index, self.encoder, self.model_name = index, encoder, name

    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        embedded = self.encoder.embed_queries([ranking.query.text for ranking in queries])  # (queries, width)
        return [
            reorder(ranking, (self.index.vectors([c.docid for c in ranking.candidates]) @ query).tolist())
            for ranking, query in zip(queries, embedded, strict=True)
        ]

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self.model_name} {self.index.fingerprint}"
