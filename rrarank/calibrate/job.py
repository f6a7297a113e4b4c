"""Fit a map from a model's scores to the probability of relevance, or check the one that the model has."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rrarank.calibrate.judged import JudgedRun, Pairs, gather, together
from rrarank.cli.verbs import locked_journal
from rrarank.data.calibration import FORMAT, MAPS, Platt, RelevanceMap, read_calibration
from rrarank.data.types import Hit
from rrarank.engine import registry
from rrarank.engine.blocks import RerankConfig, rerank_queries
from rrarank.engine.reranker import Pointwise
from rrarank.errors import RrarankError, say
from rrarank.measures.calibration import (
    METHODS,
    JudgedScores,
    Reliability,
    cross_fitted,
    fit_map,
    measure_reliability,
    relevance_of,
)
from rrarank.measures.figures import SUFFIXES, plot_reliability
from rrarank.measures.numbers import json_values
from rrarank.measures.significance import FEW, SEED
from rrarank.measures.thresholds import Threshold, apply_thresholds, choose_thresholds
from rrarank.sources.inputs import Origins, load_inputs
from rrarank.storage.files import atomic_write, check_suffix
from rrarank.storage.journal import Journal
from rrarank.storage.model_folders import CALIBRATION, calibration_of, fingerprint, locate
from rrarank.storage.sidecar import check_output, versions

PRECISION = (0.5, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class CalibrateJob:
    """What to calibrate, and on what.

    Args:
        sets: judged runs; their pairs are pooled.
        origins: where queries and texts are, for a single run without a sidecar.
        reranker: a registered name, of a reranker that scores each pair on its own.
        settings: of the reranker, as `load_reranker` takes them.
        method: `platt` or `isotonic`.
        depth: candidates per query.
        precision: wanted ones, each of which gets a threshold.
        check: measure the map that the model has, and write none.
        output: file to write; empty: `calibration.json` in the model's folder.
        figure: reliability diagram to write; empty: none.
        seed: of folds and resampling.
    """

    sets: Sequence[JudgedRun]
    origins: Origins = field(default_factory=Origins)
    reranker: str = registry.DEFAULT
    settings: Mapping[str, object] = field(default_factory=dict)
    method: str = "platt"
    depth: int = 100
    precision: Sequence[float] = PRECISION
    check: bool = False
    output: str | Path = ""
    figure: str | Path = ""
    seed: int = SEED
    overwrite: bool = False

    @cached_property
    def model(self) -> str:
        return registry.configure(self.reranker, **dict(self.settings)).model


@dataclass(frozen=True)
class Calibrated:
    """A map, and what it is worth on queries that it was not fitted on.

    Args:
        output: the file written; None if the map was only checked.
    """

    map: RelevanceMap
    reliability: Reliability
    thresholds: Sequence[Threshold]
    output: Path | None


def calibrate_model(job: CalibrateJob) -> Calibrated:
    """Fit a map and write it, or check the one that there is.

    Finished blocks of scores are kept in `<output>.journal`, so the same job goes on where it was stopped.

    Raises:
        RrarankError: the reranker has no model folder or orders lists as a whole, an output exists, no candidate is
            judged, or the scores do not rise with relevance.
        MissingResource: a model or data set is not within reach.
    """
    folder = _folder(job)
    output = None if job.check else _output(job, folder)
    if job.figure:
        check_output(job.figure, job.overwrite, [])
        check_suffix(job.figure, SUFFIXES)
    sha256 = fingerprint(folder)
    with _journal(output) as journal:
        scorer = _Scorer(job, journal)
        parts = [gather(one, scorer.score, sha256, job.depth) for one in job.sets]
        for one, part in zip(job.sets, parts, strict=True):
            say(_told(one, part))
        judged = together(parts)
        found = _checked(job, judged, sha256) if output is None else _fitted(job, judged, output)
        if output is not None:
            with atomic_write(output) as file:
                file.write(json.dumps(_content(job, found, parts, sha256), indent=2) + "\n")
        if job.figure:
            plot_reliability({"": found.reliability}, Path(job.figure))
        if journal is not None:
            journal.remove_used()
    return found


# -- checks -----------------------------------------------------------------------------------------------------------


def _folder(job: CalibrateJob) -> Path:
    """The folder of the model, once the job is found to make sense."""
    registry.check_known(job.reranker)
    kind = registry.find_reranker(job.reranker)
    if not (issubclass(kind, Pointwise) and kind.model_is_files and job.model):
        raise RrarankError(f"{job.reranker}: has no model that scores each document on its own; nothing to calibrate")
    if job.method not in METHODS:
        raise RrarankError(f"method {job.method!r}, expected {' or '.join(METHODS)}")
    if odd := [one for one in job.precision if not 0 < one < 1]:
        raise RrarankError(f"--target-precision {odd[0]}: expected a number between 0 and 1")
    if not job.sets:
        raise RrarankError("no run to calibrate on; give --run and --qrels")
    if len(job.sets) > 1 and job.origins != Origins():
        raise RrarankError("--topics and texts with several runs: they cannot be of all; give runs with sidecars")
    return locate(job.model, allow_pickle=bool(job.settings.get("allow_pickle")))


def _output(job: CalibrateJob, folder: Path) -> Path:
    output = Path(job.output or folder / CALIBRATION)
    todo = "give --output FILE, and use it by --calibration FILE"
    if not job.output and not Path(job.model).expanduser().is_dir() and calibration_of(job.model) is None:
        raise RrarankError(f"{job.model}: the folder of this model is not yours to change; {todo}")
    if not job.output and not os.access(folder, os.W_OK):
        raise RrarankError(f"{folder}: cannot be written to; {todo}")
    check_output(output, job.overwrite, [])
    return output


def _told(one: JudgedRun, part: Pairs) -> str:
    left = "" if part.count == part.candidates else f" of {part.candidates:,} candidates"
    what = "judged" if one.unjudged == "leave-out" else "counted, unjudged ones as irrelevant"
    few = f"; with fewer than {FEW} queries the intervals are rough" if len(part.queries) < FEW else ""
    return (
        f"{one.run}: {len(part.queries):,} queries, {part.count:,}{left} {what}, "
        f"{part.relevant:,} relevant (grade {one.rel_level} and up){few}"
    )


# -- the work ---------------------------------------------------------------------------------------------------------


def _journal(output: Path | None) -> AbstractContextManager[Journal | None]:
    return locked_journal(output, "finished blocks of scores") if output else nullcontext()


class _Scorer:
    """Scores runs by the job's reranker, which is loaded for the first one."""

    def __init__(self, job: CalibrateJob, journal: Journal | None) -> None:
        self._job, self._journal = job, journal

    @cached_property
    def _reranker(self) -> Pointwise:
        found = registry.load_reranker(self._job.reranker, **dict(self._job.settings))
        assert isinstance(found, Pointwise)  # `_folder` has checked its class
        return found

    def score(self, one: JudgedRun) -> Mapping[str, Sequence[Hit]]:
        depth = self._job.depth
        inputs = load_inputs(one.run, self._job.origins, depth=depth, skip_missing=True, command="calibrate")
        found: dict[str, Sequence[Hit]] = {}
        ranked = rerank_queries(
            inputs.run,
            self._reranker,
            topics=inputs.topics,
            texts=inputs.texts,
            config=RerankConfig(depth=depth, hits=depth),
            journal=self._journal,
            scored=found.__setitem__,
        )
        for _ in tqdm(ranked, total=len(inputs.run), unit=" queries", disable=None):
            pass
        return found


def _fitted(job: CalibrateJob, judged: JudgedScores, output: Path) -> Calibrated:
    if judged.queries < 2:
        raise RrarankError(
            "only one query has judged candidates; a map is checked on other queries than it is fitted on"
        )
    by = fit_map(judged, job.method)
    reliability = measure_reliability(judged, cross_fitted(judged, job.method, seed=job.seed), seed=job.seed)
    thresholds = choose_thresholds(judged, sorted(set(job.precision)), job.method, seed=job.seed)
    return Calibrated(by, reliability, thresholds, output)


def _checked(job: CalibrateJob, judged: JudgedScores, sha256: str) -> Calibrated:
    path = Path(str(job.settings.get("calibration") or "") or calibration_of(job.model) or "")
    if not path.is_file():
        raise RrarankError(f"{job.model}: has no calibration to check; leave --check out to make one")
    found = read_calibration(path)
    if found.sha256 != sha256:
        raise RrarankError(f"{path}: was fitted to the scores of other weights; calibrate this model, or remove it")
    chosen = {one["wanted"]: one["score"]["value"] for one in found.content.get("thresholds", ())}
    reached = {wanted: score for wanted, score in chosen.items() if score is not None}
    reliability = measure_reliability(judged, relevance_of(judged.scores, found.map), seed=job.seed)
    return Calibrated(found.map, reliability, apply_thresholds(judged, reached, found.map), None)


def _content(job: CalibrateJob, found: Calibrated, parts: Sequence[Pairs], sha256: str) -> Mapping[str, Any]:
    """The calibration file."""
    [method] = [name for name, kind in MAPS.items() if isinstance(found.map, kind)]
    folder = Path(job.model).expanduser()
    content = {
        "format": FORMAT,
        "model": {"name": folder.resolve().name if folder.is_dir() else job.model, "sha256": sha256},
        "map": {"method": method, **asdict(found.map)},
        "depth": job.depth,
        "sets": [part.facts for part in parts],
        "held_out": asdict(found.reliability),
        "thresholds": [asdict(one) for one in found.thresholds],
        "seed": job.seed,
        "versions": versions(),
    }
    return dict(json_values(content))


def formula(by: RelevanceMap) -> str:
    if isinstance(by, Platt):
        return f"P(relevant) = 1 / (1 + exp(-({by.slope:.4f} x score {by.intercept:+.4f})))"
    return f"P(relevant) in {len(set(by.relevance))} steps, from {by.relevance[0]:.3f} to {by.relevance[-1]:.3f}"
