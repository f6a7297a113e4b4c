"""Rank documents in one call: the model is loaded on first use and kept."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rrarank.engine import registry
from rrarank.engine.floor import Floor
from rrarank.engine.progress import no_widget_warning
from rrarank.engine.ranked import RankedDocuments, RankedLists
from rrarank.engine.requests import Request, check_top_k, read_request, read_requests
from rrarank.engine.reranker import Reranker

_LOADING = threading.Lock()


def rank(
    query: str,
    documents: Any,
    *,
    top_k: int | None = None,
    model: str | Path | Reranker | None = registry.DEFAULT,
    min_score: float | None = None,
    min_relevance: float | None = None,
) -> RankedDocuments:
    """The documents, best first.

        >>> rrarank.rank("why do cats purr", ["Dogs bark.", "Cats purr when they are content."], top_k=1)[0].id
        1

    Args:
        documents: strings, mappings or objects with a text field (as documents of LangChain, Haystack and LlamaIndex),
            (id, text) pairs, {id: text}, a pandas Series or DataFrame. All have an id of their own, each another, or
            none has: then its index or its place from 0 is its id. Those without a text come last, in the given order,
            with the score NaN. The first text field that is not empty counts.
        top_k: how many to return; None: all.
        model: as `load_reranker` takes it, loaded on first use and kept; or a loaded reranker.
        min_score: leave out documents with a lower score, and those without a text.
        min_relevance: leave out documents less likely to be relevant, from 0 to 1; needs a calibrated model.

    Raises:
        RrarankError: an argument is of another kind, or the model cannot be loaded, or it has no calibration and
            `min_relevance` is given.
    """
    floor = Floor(min_score, min_relevance)
    check_top_k(top_k)
    return _rank([read_request(query, documents)], top_k, model, floor)[0]


def rank_many(
    queries: Sequence[str] | Mapping[Any, str] | Any,
    documents: Any = None,
    *,
    top_k: int | None = None,
    model: str | Path | Reranker | None = registry.DEFAULT,
    min_score: float | None = None,
    min_relevance: float | None = None,
    progress: bool | None = None,
) -> RankedLists:
    """The documents of each query, best first: the scores of `rank`, faster, as queries are scored together.

        >>> cats = ["Dogs bark.", "Cats purr when they are content."]
        >>> [found[0].id for found in rrarank.rank_many(["why do cats purr", "which animal barks"], cats)]
        [1, 0]

    Args:
        queries: strings; {qid: query}; or a DataFrame with the columns qid and query.
        documents: one list of documents, as `rank` takes it, for all queries, or a list of such lists, one a query. For
            queries with ids also {qid: documents}, or a DataFrame whose column qid says to which query a row belongs.
            None where the DataFrame of the queries holds the documents too, as PyTerrier's does.
        top_k: how many to return for each query; None: all.
        model: as `load_reranker` takes it, loaded on first use and kept; or a loaded reranker.
        min_score, min_relevance: leave out documents below them, as in `rank`.
        progress: whether to show a progress bar; None: for long jobs.

    Raises:
        RrarankError: an argument is of another kind, queries and documents do not fit together, or the model cannot be
            loaded.
    """
    floor = Floor(min_score, min_relevance)
    check_top_k(top_k)
    return _rank(read_requests(queries, documents), top_k, model, floor, progress)


async def arank(
    query: str,
    documents: Any,
    *,
    top_k: int | None = None,
    model: str | Path | Reranker | None = registry.DEFAULT,
    min_score: float | None = None,
    min_relevance: float | None = None,
) -> RankedDocuments:
    """`rank` in another thread, to be awaited."""
    floor = {"min_score": min_score, "min_relevance": min_relevance}
    import asyncio  # takes a tenth of the start

    return await asyncio.to_thread(rank, query, documents, top_k=top_k, model=model, **floor)


async def arank_many(
    queries: Sequence[str] | Mapping[Any, str] | Any,
    documents: Any = None,
    *,
    top_k: int | None = None,
    model: str | Path | Reranker | None = registry.DEFAULT,
    min_score: float | None = None,
    min_relevance: float | None = None,
    progress: bool | None = None,
) -> RankedLists:
    """`rank_many` in another thread, to be awaited."""
    settings: dict[str, Any] = {"min_score": min_score, "min_relevance": min_relevance, "progress": progress}
    import asyncio

    return await asyncio.to_thread(rank_many, queries, documents, top_k=top_k, model=model, **settings)


def _rank(
    requests: Sequence[Request],
    top_k: int | None,
    model: str | Path | Reranker | None,
    floor: Floor,
    progress: bool | None = False,
) -> RankedLists:
    if not any(one.given.texts for one in requests):  # without loading a model
        return RankedLists({one.qid: one.query for one in requests}, [RankedDocuments([]) for _ in requests])
    reranker = model if isinstance(model, Reranker) else load_once(model)
    floor.check(scores_all=reranker.scores_all)
    return reranker.rank_requests(requests, top_k, progress).above(floor)


def load_once(model: str | Path | None) -> Reranker:
    """The reranker of that name, or the cross-encoder in that folder or of that hub id; loaded once a process.

    Raises:
        RrarankError: it is none of these, or cannot be loaded.
    """
    registry.meant(model)  # refuse what is no model, hashable or not, before the cache
    with _LOADING, no_widget_warning():
        return _load(registry.DEFAULT if model is None else model)


@cache
def _load(model: str | Path) -> Reranker:
    return registry.load_reranker(model)
