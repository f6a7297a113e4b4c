"""A list worth asking about: of each query's candidates the most and the least relevant, by a pre-ranker."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rrarank.data.distillation_set import collapse_equal_texts
from rrarank.data.types import Candidate, LabelledRanking, Query, Ranking, Run
from rrarank.engine.blocks import RemoteScorer, RerankConfig, rerank_queries
from rrarank.engine.reranker import Reranker, reorder
from rrarank.errors import RrarankError
from rrarank.sources.dense import DenseIndex, Encoder
from rrarank.storage.journal import Journal

RULES = ("top-bottom", "top", "random", "first-stage")
ORDERS = ("pre-ranker", "reversed", "first-stage", "random")


@dataclass(frozen=True)
class Selection:
    """Which candidates a teacher is shown, and in which order.

    Args:
        depth: candidates a query that the pre-ranker orders (50, by a reader's notes of RRADistill).
        k_top, k_bottom: the most and the least relevant that are kept (RRADistill; the numbers are ours: one prompt
            of 20 holds them).
        rule: `top-bottom`; to ablate it, as many by the pre-ranker's `top`, at `random`, or from the `first-stage`'s.
        order: of the list shown: the pre-ranker's, that `reversed`, the first stage's, or `random`.
        seed: of what is random, together with the qid.
    """

    depth: int = 50
    k_top: int = 10
    k_bottom: int = 10
    rule: str = "top-bottom"
    order: str = "pre-ranker"
    seed: int = 42

    def __post_init__(self) -> None:
        if self.rule not in RULES or self.order not in ORDERS:
            raise RrarankError(f"selection {self.rule!r} in order {self.order!r} (known: {RULES}; {ORDERS})")
        if min(self.k_top, self.k_bottom) < 0 or self.k_top + self.k_bottom < 2:
            raise RrarankError(f"k_top {self.k_top} and k_bottom {self.k_bottom}: expected two candidates or more")


def worth_asking(
    run: Run,
    preranker: Reranker,
    *,
    topics: Mapping[str, str],
    texts: Mapping[str, str],
    selection: Selection = Selection(),
    journal: Journal | None = None,
    remote: RemoteScorer | None = None,
) -> Iterator[LabelledRanking]:
    """A list without labels for each query of the run, in its order; of equal texts the best-ranked one is kept.

    A query without a candidate that has a text is left out.
    """
    distinct, dropped = {}, {}
    for qid, hits in run.items():
        found = [
            Candidate(hit.docid, texts[hit.docid], hit.score) for hit in hits[: selection.depth] if hit.docid in texts
        ]
        kept, dropped[qid] = collapse_equal_texts(c for c in found if c.text.strip())
        if kept and qid in topics:
            docids = {candidate.docid for candidate in kept}
            distinct[qid] = [hit for hit in hits if hit.docid in docids]
    whole = RerankConfig(depth=selection.depth, hits=selection.depth)
    ranked = rerank_queries(
        Run(distinct), preranker, topics=topics, texts=texts, config=whole, journal=journal, remote=remote
    )
    for qid, hits in ranked:
        candidates = tuple(Candidate(hit.docid, texts[hit.docid], hit.score) for hit in hits)
        first_stage = [hit.docid for hit in distinct[qid]]
        shown = select(Ranking(Query(qid, topics[qid]), candidates), first_stage, selection)
        there = {candidate.docid for candidate in shown}
        equal = {"equal_texts": dropped[qid]} if dropped[qid] else {}
        not_shown = tuple(docid for docid in first_stage if docid not in there)
        yield LabelledRanking(Query(qid, topics[qid]), shown, not_shown=not_shown, provenance=equal)


def select(ranking: Ranking, first_stage: Sequence[str], selection: Selection) -> tuple[Candidate, ...]:
    """The candidates to show, in the order to show them.

    Args:
        ranking: by the pre-ranker.
        first_stage: the same docids in first-stage order.
    """
    rng = random.Random(f"{selection.seed} {ranking.query.qid}")
    candidates, size = ranking.candidates, selection.k_top + selection.k_bottom
    by_docid = {candidate.docid: candidate for candidate in candidates}
    bottom = max(len(candidates) - selection.k_bottom, selection.k_top)
    kept: Sequence[Candidate]
    if selection.rule == "top-bottom":
        kept = [*candidates[: selection.k_top], *candidates[bottom:]]
    elif selection.rule == "top":
        kept = candidates[:size]
    elif selection.rule == "random":
        kept = rng.sample(candidates, min(size, len(candidates)))
    else:
        kept = [by_docid[docid] for docid in first_stage[:size]]
    there = {candidate.docid for candidate in kept}
    shown = [candidate for candidate in candidates if candidate.docid in there]
    if selection.order == "reversed":
        shown.reverse()
    if selection.order == "first-stage":
        shown = [by_docid[docid] for docid in first_stage if docid in there]
    if selection.order == "random":
        rng.shuffle(shown)
    return tuple(shown)


class StoredEmbeddings(Reranker):
    """A bi-encoder whose embeddings of the whole collection lie in a dense index: only queries are embedded.

    Documents are known by their docids; their texts are not read.
    """

    def __init__(self, index: DenseIndex, encoder: Encoder, name: str) -> None:
        super().__init__()
        self.index, self.encoder, self.model_name = index, encoder, name

    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        asked = self.encoder.embed_queries([ranking.query.text for ranking in queries])  # (queries, width)
        return [
            reorder(ranking, (self.index.vectors([c.docid for c in ranking.candidates]) @ query).tolist())
            for ranking, query in zip(queries, asked, strict=True)
        ]

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self.model_name} {self.index.fingerprint}"
