"""Rank a few documents in one call: the model is loaded on first use and kept."""

from __future__ import annotations

import asyncio
import threading
from functools import cache
from pathlib import Path
from typing import Any

from rrarank.engine import registry
from rrarank.engine.ranked import RankedDocuments, check_request, read_documents
from rrarank.engine.reranker import Reranker

_LOADING = threading.Lock()


def rank(
    query: str, documents: Any, *, top_k: int | None = None, model: str | Path | Reranker = registry.DEFAULT
) -> RankedDocuments:
    """The documents, best first.

        >>> rrarank.rank("why do cats purr", ["Dogs bark.", "Cats purr when they are content."], top_k=1)[0].id
        1

    Args:
        documents: strings, mappings with a text field (and an id, if they have one), (id, text) pairs, {id: text}, a
            pandas Series or DataFrame.
        top_k: how many to return; None: all.
        model: name of a reranker, folder or hub id of a cross-encoder, or a loaded reranker.

    Raises:
        RrarankError: an argument is of another kind, or the model cannot be loaded.
    """
    check_request(query, top_k)
    given = read_documents(documents)
    if not given.texts:
        return RankedDocuments([])  # without loading a model
    reranker = model if isinstance(model, Reranker) else _load_once(str(model))
    return reranker.rank_given(query, given, top_k)


async def arank(
    query: str, documents: Any, *, top_k: int | None = None, model: str | Path | Reranker = registry.DEFAULT
) -> RankedDocuments:
    """`rank` in another thread, to be awaited."""
    return await asyncio.to_thread(rank, query, documents, top_k=top_k, model=model)


def _load_once(model: str) -> Reranker:
    with _LOADING:
        return _load(model)


@cache
def _load(model: str) -> Reranker:
    if model in registry.names():
        return registry.load_reranker(model)
    return registry.load_reranker("cross-encoder", model=model)
