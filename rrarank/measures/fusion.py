"""Fuse several runs into one with ranx."""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, cast

from rrarank.data.frames import is_real, is_whole, kind_of, seen_value
from rrarank.data.shapes import RunLike, as_run, is_one_run
from rrarank.data.trec import best_first, strictly_falling
from rrarank.data.types import Hit, Run
from rrarank.errors import MissingPrerequisite, RrarankError, did_you_mean, say
from rrarank.extras import importing

if TYPE_CHECKING:
    import numpy as np

BY_RANK = ("rrf", "isr", "bordafuse", "rbc")
BY_SCORE = ("sum", "mnz", "anz", "med", "max", "min", "wsum")
METHODS = (*BY_RANK, *BY_SCORE)  # not condorcet: ranx 0.3.21 puts a document last that both runs prefer
ABSENT_IS_ZERO = ("sum", "mnz", "wsum")  # a document that a run lacks counts as one with score 0 there
BOUND = 1e9  # by `max` and `min`, ranx gives a document that a run lacks -1e9 or 1e9


def fuse_runs(
    runs: Sequence[RunLike] | Mapping[str, RunLike],
    method: str = "rrf",
    *,
    norm: str = "min-max",
    k: int = 60,
    phi: float = 0.8,
    weights: Sequence[float] = (),
    hits: int = 1000,
) -> Run:
    """Fuse runs; each query is fused over the runs that answer it.

    `sum`, `mnz` and `wsum` count a document that a run lacks as 0 there, so 0 must be the lowest score. Where a
    normalised score is negative and a run lacks a document, that query's scores are shifted, run by run, until the
    lowest is 0. `max` normalisation shifts negative scores likewise, because it divides by the highest.

    Args:
        runs: two or more, or {name: run}; each a path, Run, {qid: {docid: score}}, ranx Run, or DataFrame.
        method: `rrf` (reciprocal rank fusion: Cormack et al., SIGIR 2009) or another of `METHODS`, named as in ranx.
        norm: normalisation of scores per query and run, for the methods `BY_SCORE`.
        k: rrf's constant; 60 in its paper.
        phi: rbc's persistence, between 0 and 1.
        weights: one per run, for wsum.
        hits: the most documents per query.

    Raises:
        RrarankError: fewer than two runs, an unknown method, wrong settings, or scores that the method cannot fuse.
    """
    if is_one_run(runs) or not isinstance(runs, Iterable):
        raise RrarankError(f"runs is {kind_of(runs)}, expected two or more runs: a list of them, or {{name: run}}")
    listed = runs.values() if isinstance(runs, Mapping) else runs
    given = [as_run(run, f"runs, item {place}") for place, run in enumerate(listed, start=1)]
    return fuse_checked(given, method, norm=norm, k=k, phi=phi, weights=weights, hits=hits)


def fuse_checked(
    runs: Sequence[Run],
    method: str,
    *,
    norm: str,
    k: int = 60,
    phi: float = 0.8,
    weights: Sequence[float] = (),
    hits: int = 1000,
) -> Run:
    """The same for runs that `as_run` has checked."""
    weights = _weights(weights)
    _check_arguments(runs, method, norm, weights, k=k, hits=hits, phi=phi)
    params: Mapping[str, object] = {"k": int(k)} if method == "rrf" else {"phi": float(phi)} if method == "rbc" else {}
    groups: dict[tuple[int, ...], list[str]] = {}  # ranx fuses only runs of equal queries
    for qid in dict.fromkeys(qid for run in runs for qid in run):
        groups.setdefault(tuple(i for i, run in enumerate(runs) if run.get(qid)), []).append(qid)
    fused: dict[str, list[Hit]] = {}
    shifted: set[str] = set()
    for members, qids in groups.items():
        if len(members) == 1:  # ranx refuses a single run
            fused |= {qid: list(runs[members[0]][qid]) for qid in qids}
        elif members:
            if method == "wsum":
                params = {"weights": [float(weights[i]) for i in members]}
            scores = [{qid: _scores(runs[i][qid], method, norm, shifted, qid) for qid in qids} for i in members]
            if method in ABSENT_IS_ZERO:
                _lift(scores, shifted)
            fused |= _fuse(scores, method, params)
    if shifted:
        seen = f"in {len(shifted)} of {len(fused)} queries scores below 0 were shifted"
        say(f"{method} of {norm} scores: {seen} until each run's lowest is 0")
    return Run({qid: fused.get(qid, [])[:hits] for run in runs for qid in run}, "fusion")


Scores = dict[str, float]  # docid -> score


def _scores(hits: Sequence[Hit], method: str, norm: str, shifted: set[str], qid: str) -> Scores:
    """What ranx is given for a query of a run: falling numbers for a method by rank, else normalised scores."""
    import numpy as np

    docids = [hit.docid for hit in hits]
    if method in BY_RANK:  # strictly falling, so that ranx ranks ties as trec_eval does
        return dict(zip(docids, strictly_falling([hit.score for hit in hits]).tolist(), strict=True))
    scores = np.array([hit.score for hit in hits], dtype=np.float64)
    if norm == "max" and scores.min() < 0:
        shifted.add(qid)
        scores = scores - scores.min()
    found = NORMS[norm](scores)
    if method in ("max", "min") and abs(found).max() >= BOUND:
        seen = f"query {qid}: scores of {BOUND:g} and more cannot be fused by {method}"
        raise RrarankError(f"{seen}; give norm min-max (--norm min-max)")
    return dict(zip(docids, found.tolist(), strict=True))


def _lift(scores: Sequence[dict[str, Scores]], shifted: set[str]) -> None:
    """Shift the scores of each query, run by run, until none is negative, if some document is absent from a run."""
    for qid in scores[0]:
        lists = [run[qid] for run in scores]
        lowest = [min(found.values()) for found in lists]
        if min(lowest) < 0 and any(found.keys() != lists[0].keys() for found in lists):
            shifted.add(qid)
            for run, low in zip(scores, lowest, strict=True):
                if low < 0:
                    run[qid] = {docid: score - low for docid, score in run[qid].items()}


def _fuse(scores: Sequence[dict[str, Scores]], method: str, params: Mapping[str, object]) -> dict[str, list[Hit]]:
    ranx = _import_ranx()
    # ranx 0.3.21 cuts or garbles docids where the longest of one run is longer than another's: number them
    docids = list(dict.fromkeys(docid for run in scores for found in run.values() for docid in found))
    width = len(str(len(docids)))
    numbers = {docid: f"{number:0{width}}" for number, docid in enumerate(docids)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba warns of ranx's integer casts
        runs = [
            ranx.Run({qid: {numbers[d]: s for d, s in found.items()} for qid, found in run.items()}) for run in scores
        ]
        fused = ranx.fuse(runs, norm=None, method=method, params=dict(params))
    return {qid: best_first(Hit(docids[int(d)], float(s)) for d, s in fused[qid].items()) for qid in scores[0]}


# -- normalisation, by the formulas of ranx.normalization -------------------------------------------------------------


def _divided(scores: np.ndarray, by: float) -> np.ndarray:
    return scores / max(by, 1e-9)


def _by_rank(scores: np.ndarray) -> np.ndarray:
    import numpy as np

    return 1 - np.arange(len(scores)) / len(scores)


NORMS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "min-max": lambda scores: _divided(scores - scores.min(), scores.max() - scores.min()),
    "max": lambda scores: _divided(scores, scores.max()),
    "sum": lambda scores: _divided(scores - scores.min(), (scores - scores.min()).sum()),
    "zmuv": lambda scores: _divided(scores - scores.mean(), scores.std()),
    "rank": _by_rank,
    "none": lambda scores: scores,
}


# -- arguments --------------------------------------------------------------------------------------------------------


def _weights(weights: object) -> tuple[float, ...]:
    if isinstance(weights, str) or not isinstance(weights, Iterable):
        raise RrarankError(f"weights {seen_value(weights)}: expected a list of numbers, one per run")
    found = tuple(weights)
    if odd := [weight for weight in found if not is_real(weight) or not 0 <= float(weight) < math.inf]:
        raise RrarankError(f"weight {seen_value(odd[0])}: expected a finite number of at least 0")
    return tuple(map(float, found))


def _check_arguments(
    runs: Sequence[Run], method: str, norm: str, weights: Sequence[float], *, k: int, hits: int, phi: float
) -> None:
    if len(runs) < 2:
        raise RrarankError(f"{len(runs)} runs to fuse, expected at least two")
    if method not in METHODS or norm not in NORMS:
        hint = did_you_mean(str(method), METHODS) if method not in METHODS else did_you_mean(str(norm), NORMS)
        known = f"known: {', '.join(METHODS)}; {', '.join(NORMS)}"
        raise RrarankError(f"fusion by {method!r} of {norm!r} scores{hint} ({known})")
    for name, value in {"k": k, "hits": hits}.items():
        if not is_whole(value) or not 1 <= value < 2**31:
            raise RrarankError(f"{name} {seen_value(value)}: expected a whole number from 1")
    if not is_real(phi) or not 0 < phi < 1:
        raise RrarankError(f"phi {seen_value(phi)}: expected between 0 and 1")
    if (method == "wsum") != bool(weights) or len(weights) not in (0, len(runs)):
        raise RrarankError(
            f"{len(weights)} weights for {len(runs)} runs by {method}: wsum needs one per run, others none"
        )
    if weights and not any(weights):
        raise RrarankError("all weights are 0: nothing would be ranked; give at least one above 0")


# -- ranx -------------------------------------------------------------------------------------------------------------


def _import_ranx(*, again: bool = False) -> ModuleType:
    """ranx, with a temporary folder for numba's cache where no other place is writable.

    Raises:
        MissingPrerequisite: ranx is not installed, or cannot be imported.
    """
    try:
        with importing():
            import ranx
    except MissingPrerequisite:
        raise
    except Exception as error:  # whatever numba raises on this machine
        if again or "no locator available" not in str(error):
            reason = str(error).partition("\n")[0]
            raise MissingPrerequisite(f"ranx cannot be imported ({reason}); type: pip install -U ranx numba") from error
        _use_temporary_cache()
        return _import_ranx(again=True)
    return cast(ModuleType, ranx)


def _use_temporary_cache() -> None:
    import numba

    folder = tempfile.mkdtemp(prefix="rrarank-numba-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    numba.config.CACHE_DIR = folder  # type: ignore[attr-defined]  # set when numba loads
    say(f"numba's cache cannot be written; using {folder} for this job, which makes it slower")
