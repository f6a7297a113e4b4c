"""What the tools do: one function each, with limits that its input schema states."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from rrarank.data.run_files import read_run_file
from rrarank.engine.ranking import rank
from rrarank.errors import RrarankError
from rrarank.mcp.folder import Folder
from rrarank.measures.numbers import json_values
from rrarank.measures.scores import evaluate_runs
from rrarank.sources.lucene import LuceneIndex
from rrarank.sources.texts import load_qrels
from rrarank.storage.files import stem
from rrarank.storage.sidecar import read_sidecar

MOST_CHARACTERS = 2_000_000  # of all passages of a request

Query = Annotated[str, Field(min_length=1, max_length=10_000, description="the query")]
Name = Annotated[str, Field(min_length=1, max_length=1_000)]
Passage = Annotated[str, Field(max_length=100_000)]
Index = Annotated[str, Field(min_length=1, max_length=1_000, description="a Lucene index in the folder")]
Hits = Annotated[int, Field(ge=1, le=1_000, description="how many to return")]
Passages = Annotated[list[Passage], Field(min_length=1, max_length=1_000, description="the passages to rank")]
Runs = Annotated[list[Name], Field(min_length=1, max_length=20, description="runs in the folder, any format")]
Qrels = Annotated[str, Field(min_length=1, max_length=1_000, description="judgments in the folder")]
Measures = Annotated[list[Name], Field(min_length=1, max_length=20, description="as ir_measures names them")]
Baseline = Annotated[str, Field(max_length=1_000, description="the run to test the others against; empty: the first")]


class Found(BaseModel):
    """A document that was found."""

    docid: str
    score: float
    text: str


class Ranked(BaseModel):
    """A passage by its place in the request; an empty one has no score."""

    index: int
    score: float | None


class Measured(BaseModel):
    """Means over the queries, and paired tests against the baseline."""

    queries: int
    baseline: str
    means: dict[str, dict[str, float]]
    comparisons: list[dict[str, Any]]  # JSON values: a Comparison and its reading


class Tools:
    """The tools over one folder and one reranker.

    Args:
        model: name of a reranker, folder or hub id of a cross-encoder.
    """

    def __init__(self, folder: Folder, model: str) -> None:
        self.folder, self.model = folder, model
        self._opened = lru_cache(maxsize=4)(_open)

    def search(self, index: Index, query: Query, hits: Hits = 10) -> list[Found]:
        """Search a Lucene index with BM25; best first."""
        searcher, language = self._opened(self.folder.index(index))
        found = searcher.search({"q": query}, hits=hits, language=language)["q"]
        texts = dict(searcher.texts({hit.docid for hit in found}))
        return [Found(docid=hit.docid, score=hit.score, text=texts.get(hit.docid, "")) for hit in found]

    def rerank(self, query: Query, passages: Passages, top_n: Hits = 10) -> list[Ranked]:
        """Rank passages by how well they answer the query; best first."""
        if (size := sum(map(len, passages))) > MOST_CHARACTERS:
            raise RrarankError(f"{size:,} characters, expected at most {MOST_CHARACTERS:,}; send fewer passages")
        ranked = rank(query, passages, top_k=min(top_n, len(passages)), model=self.model)
        return [Ranked(index=int(one.id), score=one.score_or_none) for one in ranked]

    def evaluate(
        self,
        runs: Runs,
        qrels: Qrels,
        measures: Measures = ["nDCG@10", "RR@10"],  # noqa: B006  # the schema shows it; nobody changes it
        baseline: Baseline = "",
    ) -> Measured:
        """Measure runs against judgments, and test them against a baseline (paired, corrected by Holm)."""
        read = {stem(name): read_run_file(self.folder.file(name)).run for name in runs}
        if len(read) < len(runs):
            raise RrarankError("two runs have the same name; rename one")
        judgments = load_qrels(self.folder.file(qrels))
        found = evaluate_runs(judgments, read, measures=measures, baseline=stem(baseline) if baseline else "")
        return Measured(
            queries=len(found.queries),
            baseline=found.baseline,
            means={row.name: dict(row.means) for row in found.rows},
            comparisons=[json_values(asdict(one)) | {"reading": one.reading} for one in found.comparisons],
        )


def _open(path: Path) -> tuple[LuceneIndex, str]:
    """An index and the language of its analyser."""
    sidecar = read_sidecar(path)
    config = sidecar.content.get("config", {}) if sidecar else {}
    return LuceneIndex(path), str(config.get("language", "en"))
