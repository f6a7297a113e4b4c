"""PyTerrier transformers (1.1 or newer; Terrier's Java is not needed): a run as first stage, and our rerankers.

    pt.Experiment([first, first >> Rerank(texts="passages.jsonl")], topics, qrels, ["ndcg_cut_10"])

Scores equal those that `rrarank.rerank` writes, so an Experiment gives the figures of our command.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rrarank.data.trec import best_first, read_run, written_scores
from rrarank.data.types import Hit, Run
from rrarank.engine import registry
from rrarank.engine.blocks import RerankConfig, rerank_checked
from rrarank.engine.interpolation import check_first_stage
from rrarank.engine.reranker import Reranker
from rrarank.errors import RrarankError, say, shown
from rrarank.extras import importing
from rrarank.sources.inputs import Origins, places_of, sources_of
from rrarank.sources.texts import gather

with importing():
    import pyterrier as pt

if TYPE_CHECKING:
    from pandas import DataFrame


class FirstStage(pt.Transformer):
    """The hits of a run for the given queries: qid, query, docno, score, rank (from 0).

    Args:
        run: a run, or its file.
        hits: most hits per query.
    """

    def __init__(self, run: Run | str | Path, hits: int = 1000) -> None:
        self.run, self.hits = run if isinstance(run, Run) else read_run(run), hits

    def transform(self, topics: DataFrame) -> DataFrame:
        _check_arguments(topics, ["qid", "query"])
        queries = dict(zip(topics["qid"], topics["query"], strict=True))
        return _frame(Run({qid: self.run[qid][: self.hits] for qid in queries if qid in self.run}), queries)


class Rerank(pt.Transformer):
    """The rows of a first stage (qid, query, docno; ordered by rank, or else by score) in a reranker's order.

    Args:
        reranker: a reranker or its name; by default the shipped model.
        texts: docno -> text, or a collection as for `rrarank.rerank --collection`; None for the column `text`.
        config: depth (100), passages, interpolation, floor; documents below the depth follow in first-stage order. No
            row says what the first stage is, so its scores count only if `interpolation` says so.
        settings: keyword settings of the reranker, as for `rrarank.load_reranker`.
    """

    def __init__(
        self,
        reranker: Reranker | str = registry.DEFAULT,
        *,
        texts: Mapping[str, str] | str | Path | None = None,
        config: RerankConfig | None = None,
        **settings: Any,
    ) -> None:
        self.reranker = registry.load_reranker(reranker, **settings) if isinstance(reranker, str) else reranker
        self.texts, self.config = texts, config or RerankConfig()

    def transform(self, results: DataFrame) -> DataFrame:
        """
        Raises:
            RrarankError: a column is absent, an id is not a string, a document has no text or two texts, or the scores
                cannot be interpolated.
        """
        how = self.config.joining
        needed = (["text"] if self.texts is None else []) + (["score"] if how.weight < 1 and how.norm != "rank" else [])
        _check_arguments(results, ["qid", "query", "docno", *needed])
        run, queries = _run(results), dict(zip(results["qid"], results["query"], strict=True))
        if warning := check_first_stage(run, self.config.depth, how):
            say(warning)
        texts = self._texts(results, {hit.docid for qid in run for hit in run[qid][: self.config.depth]})
        ranked = rerank_checked(run, self.reranker, topics=queries, texts=texts, config=self.config)
        found = _frame(ranked, queries)
        more = [name for name in results.columns if name not in found.columns]
        return found.merge(results[["qid", "docno", *more]], on=["qid", "docno"], how="left") if more else found

    def _texts(self, results: DataFrame, wanted: set[str]) -> Mapping[str, str]:
        texts: Mapping[str, str]
        if self.texts is None:
            texts = _column_of_texts(results)
        elif isinstance(self.texts, Mapping):
            texts = self.texts
        else:
            texts = gather(sources_of(places_of(Origins(collection=self.texts))), wanted)
        if missing := sorted(docid for docid in wanted if docid not in texts):
            raise RrarankError(
                f"{len(missing):,} documents have no text ({shown(missing)}); give texts that include them"
            )
        return texts


def _column_of_texts(results: DataFrame) -> dict[str, str]:
    texts: dict[str, str] = {}
    for docno, text in zip(results["docno"], results["text"], strict=True):
        if texts.setdefault(docno, text) != text:
            raise RrarankError(f"docno {docno!r} has two texts; give each passage its own docno")
    return texts


def _run(results: DataFrame) -> Run:
    """qid -> hits, best first, in the order of the queries."""
    ordered = results.sort_values("rank", kind="stable") if "rank" in results.columns else results
    scores = ordered["score"] if "score" in results.columns else range(0, -len(ordered), -1)
    hits: dict[str, list[Hit]] = {qid: [] for qid in results["qid"]}
    for qid, docno, score in zip(ordered["qid"], ordered["docno"], scores, strict=True):
        hits[qid].append(Hit(docno, float(score)))
    return Run(hits if "rank" in results.columns else {qid: best_first(found) for qid, found in hits.items()})


def _frame(run: Run, queries: Mapping[str, str]) -> DataFrame:
    """The rows of a run, with scores as in a written run."""
    import pandas as pd

    rows = [
        (qid, queries[qid], hit.docid, float(score), rank)
        for qid, hits in run.items()
        for rank, (hit, score) in enumerate(zip(hits, written_scores(hits), strict=True))
    ]
    return pd.DataFrame(rows, columns=["qid", "query", "docno", "score", "rank"])


def _check_arguments(frame: DataFrame, columns: list[str]) -> None:
    if absent := [name for name in columns if name not in frame.columns]:
        raise RrarankError(f"no column {absent[0]!r}; columns {shown(frame.columns, 10)}, expected {shown(columns)}")
    for name in ("qid", "docno"):
        odd = [one for one in frame[name] if not isinstance(one, str)] if name in columns else []
        if odd:
            kind = type(odd[0]).__name__
            raise RrarankError(f"{name} {odd[0]!r} is a {kind}, expected a string; use .astype(str)")
