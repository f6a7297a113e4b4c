"""Fuse several runs into one with ranx."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from rrarank.data.trec import best_first, strictly_falling
from rrarank.data.types import Hit, Run
from rrarank.errors import RrarankError

BY_RANK = ("rrf", "isr", "bordafuse", "rbc")
BY_SCORE = ("sum", "mnz", "anz", "med", "max", "min", "wsum")
METHODS = (*BY_RANK, *BY_SCORE)  # not condorcet: ranx 0.3.21 puts a document last that both runs prefer
NORMS = ("min-max", "max", "sum", "zmuv", "rank", "none")


def fuse_runs(
    runs: Sequence[Run],
    method: str = "rrf",
    *,
    norm: str = "min-max",
    k: int = 60,
    phi: float = 0.8,
    weights: Sequence[float] = (),
    hits: int = 1000,
) -> Run:
    """Fuse runs; each query is fused over the runs that answer it.

    Args:
        method: `rrf` (reciprocal rank fusion: Cormack et al., SIGIR 2009) or another of `METHODS`, named as in ranx.
        norm: normalisation of scores per query and run, for the methods `BY_SCORE`.
        k: rrf's constant; 60 in its paper.
        phi: rbc's persistence, between 0 and 1.
        weights: one per run, for wsum.
        hits: the most documents per query.

    Raises:
        RrarankError: fewer than two runs, an unknown method, or the wrong number of weights.
    """
    _check_arguments(runs, method, norm, phi, weights)
    params: Mapping[str, object] = {"k": k} if method == "rrf" else {"phi": phi} if method == "rbc" else {}
    groups: dict[tuple[int, ...], list[str]] = {}  # ranx fuses only runs of equal queries
    for qid in dict.fromkeys(qid for run in runs for qid in run):
        groups.setdefault(tuple(i for i, run in enumerate(runs) if run.get(qid)), []).append(qid)
    fused: dict[str, list[Hit]] = {}
    for members, qids in groups.items():
        parts = [{qid: runs[i][qid] for qid in qids} for i in members]
        if method == "wsum":
            params = {"weights": [float(weights[i]) for i in members]}
        fused |= _fuse(parts, method, "none" if method in BY_RANK else norm, params) if parts else {}
    return Run({qid: fused.get(qid, [])[:hits] for run in runs for qid in run}, "fusion")


def _fuse(
    parts: Sequence[Mapping[str, Sequence[Hit]]], method: str, norm: str, params: Mapping[str, object]
) -> dict[str, list[Hit]]:
    import ranx

    ranked = [ranx.Run({qid: _scores(hits) for qid, hits in part.items()}) for part in parts]
    if len(ranked) == 1:  # ranx refuses a single run
        return {qid: list(hits) for qid, hits in parts[0].items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba warns of ranx's integer casts
        found = ranx.fuse(ranked, norm=None if norm == "none" else norm, method=method, params=dict(params))
    return {qid: best_first(Hit(docid, float(score)) for docid, score in found[qid].items()) for qid in parts[0]}


def _scores(hits: Sequence[Hit]) -> dict[str, float]:
    """Strictly falling scores, so that ranx ranks ties as trec_eval does."""
    falling = strictly_falling([hit.score for hit in hits]).tolist()
    return {hit.docid: score for hit, score in zip(hits, falling, strict=True)}


def _check_arguments(runs: Sequence[Run], method: str, norm: str, phi: float, weights: Sequence[float]) -> None:
    if len(runs) < 2:
        raise RrarankError(f"{len(runs)} runs to fuse, expected at least two")
    if method not in METHODS or norm not in NORMS:
        raise RrarankError(f"fusion by {method!r} of {norm!r} scores (known: {', '.join(METHODS)}; {', '.join(NORMS)})")
    if not 0 < phi < 1:
        raise RrarankError(f"phi {phi}: expected between 0 and 1")
    if (method == "wsum") != bool(weights) or len(weights) not in (0, len(runs)):
        raise RrarankError(
            f"{len(weights)} weights for {len(runs)} runs by {method}: wsum needs one per run, others none"
        )
