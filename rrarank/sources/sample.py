"""The sample that ships with the package: 20 queries with BM25's candidates, to try any model on."""

from __future__ import annotations

from importlib import resources
from itertools import islice
from pathlib import Path

from rrarank.data.types import Ranking, ranking_of
from rrarank.sources.inputs import load_inputs


def sample_rankings(depth: int, queries: int | None = None) -> list[Ranking]:
    """The first queries (None: all), each with up to `depth` candidates."""
    inputs = load_inputs(Path(str(resources.files("rrarank.runs")), "bm25.trec"), depth=depth)
    return [
        ranking_of(qid, inputs.run[qid][:depth], inputs.topics, inputs.texts) for qid in islice(inputs.run, queries)
    ]
