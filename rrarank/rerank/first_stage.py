"""What kind of first stage made a run: lexical (BM25 and such), or learned (dense, learned-sparse).

A run of `rrarank.retrieve` has a sidecar that says it. Of another run only the tag can tell, and only if every word of
it is known: `bm25-monot5` is neither, and Anserini gives BM25's runs and SPLADE's the same tag.
"""

from __future__ import annotations

import re
from pathlib import Path

from rrarank.engine.interpolation import LEARNED, LEXICAL
from rrarank.storage.sidecar import read_sidecar

_WORDS = {
    LEXICAL: re.compile(r"bm25|rm3|bo1|kl|qld|tfidf|dfr|lexical"),
    LEARNED: re.compile(r"dense|splade|unicoil|dpr|ance|tasb?|contriever|colbert|minilm|mpnet|e5|bge|gte"),
}
_BESIDE = re.compile(r"all|pp|b|v\d|small|base|large|default|tuned")


def kind_of(path: str | Path | None, tag: str) -> str:
    """`lexical`, `learned`, or empty: unknown.

    Args:
        path: the run's file; None: it has none.
    """
    sidecar = read_sidecar(Path(path)) if path else None
    made = sidecar.content.get("config", {}) if sidecar else {}
    if "reranker" in made or "method" in made:  # re-ranked or fused: whatever its tag
        return ""
    return LEXICAL if "bm25" in made else LEARNED if "model" in made else _by_tag(tag)


def _by_tag(tag: str) -> str:
    words = [word for word in re.findall(r"[a-z0-9]+", tag.lower()) if not _BESIDE.fullmatch(word)]
    return next((kind for kind, known in _WORDS.items() if words and all(map(known.fullmatch, words))), "")
