"""Two rerankers in a row: a fast one orders all candidates, then a cross-encoder re-ranks the best of them.

This is multi-stage ranking (Nogueira et al., 2019): the slow model reads `keep` documents per query instead of all, or
as many as a time per query allows (`budget_ms`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from rrarank.data.frames import is_whole
from rrarank.data.types import Candidate, Hit, Ranking
from rrarank.engine.registry import load_reranker
from rrarank.engine.reranker import Cascaded
from rrarank.engine.tail import with_tail
from rrarank.errors import RrarankError
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.cross_encoder import CrossEncoder, RRABERTConfig

KEEP = 30  # documents per query that the cross-encoder re-ranks by default


@dataclass(frozen=True)
class CascadeConfig(RRABERTConfig):
    """The cross-encoder's settings (by default the model that ships), and those of the first reranker.

    Args:
        first: name of the reranker that orders all candidates.
        first_model: its model; empty for its own default.
        cache: folder where it keeps documents' vectors for the next query, run and job; empty to keep none.
        keep: documents per query that the cross-encoder re-ranks, or with a budget the most of them; 0: 30, or with a
            budget as many as fit.
    """

    first: str = "sparse-encoder"
    first_model: str = ""
    cache: str = ""
    keep: int = 0


class Cascade(Cascaded):
    """Scores are the cross-encoder's. The other documents follow in the first reranker's order."""

    name = "cascade"

    Config = CascadeConfig
    config: CascadeConfig
    second: CrossEncoder
    precisions: ClassVar[Mapping[str, Sequence[str]]] = CrossEncoder.precisions

    def __init__(self, config: CascadeConfig | None = None) -> None:
        super().__init__(config)
        if not is_whole(self.config.keep) or self.config.keep < 0:
            raise RrarankError(f"cascade: keep={self.config.keep!r}, expected a number from 1, or 0 for the default")
        if self.config.first == "cascade":
            raise RrarankError("cascade: first=cascade would never end; give another reranker")
        shared = {"device": self.config.device, "threads": self.config.threads}
        own = {setting.name: getattr(self.config, setting.name) for setting in fields(CrossEncoderConfig)}
        self.second = CrossEncoder(CrossEncoderConfig(**own))
        theirs = {"model": self.config.first_model or None, "cache": self.config.cache or None}
        self.first = load_reranker(self.config.first, **theirs, **shared)
        self.most = self.config.keep

    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        ordered = self.first.rerank_block(queries)
        kept = [Ranking(ranking.query, ranking.candidates[: self.config.keep or KEEP]) for ranking in ordered]
        return [_append_rest(best, all_) for best, all_ in zip(self.second.rerank_block(kept), ordered, strict=True)]

    @property
    def cut(self) -> int:
        return self.first.cut + self.second.cut

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} [{self.first.fingerprint()}] [{self.second.fingerprint()}]"


def _append_rest(best: Ranking, ordered: Ranking) -> Ranking:
    """`best`, then the other documents of `ordered`."""
    text = {candidate.docid: candidate.text for candidate in ordered.candidates}
    hits, rest = ([Hit(c.docid, c.score) for c in ranking.candidates] for ranking in (best, ordered))
    return Ranking(best.query, tuple(Candidate(docid, text[docid], score) for docid, score in with_tail(hits, rest)))
