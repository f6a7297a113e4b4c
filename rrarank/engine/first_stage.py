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
    LEXICAL: re.compile(r"bm25|rm3|bo1|kl|qld|qljm|tfidf|dfr|dph|lexical|d2q|doc2query|doct5query"),
    LEARNED: re.compile(
        r"dense|embed(ding)?s?|biencoder|dpr|mdpr|cosdpr|ance|tasb?|tct|contriever|mcontriever|colbert|colbertv\d|plaid"
        r"|minilm|mpnet|sbert|gtr|e5|me5|bge|gte|retromae|condenser|cocondenser|aggretriever|simlm|rocketqa|dragon"
        r"|arctic|snowflake|nomic|jina|mxbai|stella|instructor|llm2vec|gritlm|repllama|promptriever|nvembed"
        r"|openai|ada|ada2|ada002|cohere|voyage|titan|embeddinggemma"
        r"|splade|spladev\d|spladepp|unicoil|deepimpact|deepct|sparta|tilde|tildev2|slim|elser"
    ),
}
_BESIDE = re.compile(
    r"\d+|v\d+|\d+[bm]|l\d+|pp|b|all|small|base|large|xl|mini|default|tuned|prf|rocchio|avg|ed|sd|hnp?|nv|m3|[lms]|xs|text|passage"
    r"|multilingual|english|en|instruct|mistral|qwen\d*|modernbert|distil|distilbert|distill|ensembledistil|msmarco"
)


def kind_of(path: str | Path | None, tag: str) -> str:
    """`lexical`, `learned`, or empty: unknown.

    Args:
        path: the run's file; None: it has none.
    """
    sidecar = read_sidecar(Path(path)) if path else None
    made = (sidecar.content.get("config") if sidecar else None) or {}
    if "reranker" in made or "method" in made:  # re-ranked or fused: whatever its tag
        return ""
    return LEXICAL if "bm25" in made else LEARNED if "model" in made else _by_tag(tag)


def _by_tag(tag: str) -> str:
    words = [word for word in re.findall(r"[a-z0-9]+", tag.lower()) if not _BESIDE.fullmatch(word)]
    return next((kind for kind, known in _WORDS.items() if words and all(map(known.fullmatch, words))), "")
