"""A run re-ranked in one call."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from pathlib import Path

from rrarank.data.frames import is_real
from rrarank.data.shapes import RunLike, TextsLike, as_run, as_texts
from rrarank.data.types import Run
from rrarank.engine.blocks import RerankConfig, rerank_checked
from rrarank.engine.first_stage import kind_of
from rrarank.engine.floor import Floor
from rrarank.engine.interpolation import LEARNED, Interpolation, check_first_stage, say_weight
from rrarank.engine.interpolation_files import check_reranker, rule_over_learned
from rrarank.engine.passages import WHOLE, Passages
from rrarank.engine.ranking import load_once
from rrarank.engine.registry import DEFAULT
from rrarank.engine.requests import check_count, check_top_k
from rrarank.engine.reranker import Reranker
from rrarank.errors import RrarankError, say
from rrarank.sources.inputs import Origins, check_matches, load_inputs


def rerank_run(
    run: RunLike,
    model: str | Path | Reranker | None = DEFAULT,
    *,
    topics: TextsLike | None = None,
    collection: TextsLike | None = None,
    texts: Mapping[str, str] | None = None,
    depth: int = RerankConfig.depth,
    top_k: int | None = RerankConfig.hits,
    min_score: float | None = None,
    min_relevance: float | None = None,
    passages: Passages = WHOLE,
    budget_ms: float = 0.0,
    interpolation: Interpolation | float | None = None,
    tag: str = "rrarank",
) -> Run:
    """The run re-ranked: the Python way to `python -m rrarank.rerank`.

        >>> rrarank.rerank_run({"q1": {"d1": 2.0, "d2": 1.0}}, topics={"q1": "…"}, collection={"d1": "…", "d2": "…"})

    Candidates without a text and queries without a topic keep their first-stage order, below what was scored; a
    warning of the logger `rrarank`, which Python shows on stderr, counts them.

    Args:
        run: path, Run, {qid: {docid: score}}, ranx Run, or DataFrame.
        model: as in `rank`: a name, folder or hub id, loaded on first use and kept, or a loaded reranker.
        topics: {qid: query}, DataFrame, path or ir_datasets id; None: those that came with the run or that its sidecar
            names.
        collection: {docid: text}, DataFrame, path or ir_datasets id; None: the same.
        texts: docid -> text, used as it is: any mapping, of which only what is needed is read.
        depth: candidates re-ranked per query; the others follow in first-stage order.
        top_k: how many to return for each query; None: all.
        min_score, min_relevance: leave out documents below them, as in `rank`, and what was not scored.
        passages, budget_ms: as fields of `RerankConfig`.
        interpolation: the weight of the reranker's scores beside the first stage's, or how they are joined; 1: the
            reranker alone. None: over a dense or learned-sparse first stage, as the run's sidecar or tag says, by the
            rule that the model carries; over any other 1.

    Raises:
        RrarankError: an argument is of another kind, queries or texts are nowhere to be found or belong to no query or
            candidate of the run, the run's scores cannot be interpolated, or the reranker is faulty.
    """
    if collection is not None and texts is not None:
        raise RrarankError("rerank_run: collection and texts are given; give one of the two")
    check_count("depth", depth)
    check_top_k(top_k)
    if not is_real(budget_ms) or not 0 <= budget_ms < math.inf:
        raise RrarankError(f"budget_ms {budget_ms!r}: expected milliseconds, or 0 for no limit")
    floor = Floor(min_score, min_relevance)
    hits = sys.maxsize if top_k is None else top_k
    path: str | Path | None = None
    if isinstance(run, Run) and isinstance(topics, Mapping) and texts is not None:
        run, topics = as_run(run), as_texts(topics, "topics")
    else:
        given = texts if collection is None else collection
        origins = Origins("" if topics is None else topics, "" if given is None else given)
        inputs = load_inputs(run, origins, depth=depth, skip_missing=True)
        run, topics, texts, path = inputs.run, inputs.topics, inputs.texts, inputs.origins.get("run")
    check_matches(run, topics, texts, depth)
    reranker = model if isinstance(model, Reranker) else load_once(model)
    how = _by_first_stage(path, run.tag, reranker) if interpolation is None else _joining(interpolation)
    if warning := check_first_stage(run, depth, how):
        say(warning)
    config = RerankConfig(depth, hits, passages=passages, budget_ms=budget_ms, interpolation=how, floor=floor)
    return replace(rerank_checked(run, reranker, topics=topics, texts=texts, config=config), tag=tag)


def _by_first_stage(path: str | Path | None, tag: str, reranker: Reranker) -> Interpolation:
    """By the rule that the model carries over a dense or learned-sparse first stage, else the reranker alone.

    Args:
        path: the run's file; None: it has none.
        tag: of the run.
    """
    kind = kind_of(path, tag)
    found = rule_over_learned(type(reranker), reranker.config.model) if kind == LEARNED else None
    if found is None:
        return Interpolation()
    check_reranker(found.stored, found.path, reranker.name, reranker.fingerprint())
    how = replace(found.stored.interpolation(), first_stage=kind)
    say_weight(how, "interpolation=1")
    return how


def _joining(given: object) -> Interpolation:
    if isinstance(given, Interpolation):
        return given
    if isinstance(given, bool) or not isinstance(given, Real):  # NumPy's numbers are Real, and not all are floats
        raise RrarankError(f"interpolation {given!r}, expected a number from 0 to 1 or an Interpolation")
    return Interpolation(float(given))
