"""Say what a job would do, and check what can be checked without doing it."""

from __future__ import annotations

from collections.abc import Mapping

from rrarank.data.types import ranking_of
from rrarank.engine import registry
from rrarank.engine.reranker import AsksLLM
from rrarank.errors import say
from rrarank.sources.inputs import Inputs
from rrarank.storage.model_folders import locate


def say_plan(
    name: str, settings: Mapping[str, object], inputs: Inputs, pairs: Mapping[str, int], depth: int, target: str
) -> None:
    """Finish a dry run; for a reranker that asks an LLM, with a forecast of its questions and tokens.

    Args:
        name: of the reranker.
        pairs: qid -> pairs to score.
        target: the run that would be written.
    """
    kind, model = registry.find_reranker(name), str(settings.get("model") or "")
    if model and kind.model_is_files:
        locate(model, allow_pickle=bool(settings.get("allow_pickle")))
    count = sum(pairs.values())
    say(f"would re-rank {len(inputs.run):,} queries, {count:,} pairs, {len(inputs.missing):,} without text")
    say(f"with {name} ({model or 'its default model'}) into {target}")
    if issubclass(kind, AsksLLM):
        asks = registry.load_reranker(name, **settings)
        assert isinstance(asks, AsksLLM)
        queries = [ranking_of(qid, inputs.run[qid][:depth], inputs.topics, inputs.texts) for qid in inputs.run]
        say(f"would ask {asks.forecast(queries)}")
