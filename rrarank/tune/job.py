"""Choose the weight of a reranker and the depth on judged queries, and write both for `rerank --interpolate FILE`."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rrarank.data.types import Qrels, Run
from rrarank.engine import registry
from rrarank.engine.interpolation import Interpolation, check_first_stage, interpolate
from rrarank.engine.interpolation_files import FORMAT
from rrarank.engine.tail import with_tail
from rrarank.errors import RrarankError, say
from rrarank.measures.figures import SUFFIXES, Estimate, plot_weights
from rrarank.measures.measure import at_level, parse_measures
from rrarank.measures.numbers import comparison_lines, interval
from rrarank.measures.significance import SEED, Comparison
from rrarank.measures.tuning import FOLDS, REPEATS, Tuned, tune_settings
from rrarank.measures.values import per_query_scores
from rrarank.sources.inputs import Origins
from rrarank.sources.names import file_or_id
from rrarank.sources.texts import load_qrels
from rrarank.storage.files import atomic_write, check_suffix, is_file, stem
from rrarank.storage.sidecar import check_output, write_sidecar
from rrarank.tune.scores import Scored, make_scores, read_scores

Setting = tuple[float, int]
"""A weight and a depth."""
SETTINGS = ("depths", "step", "norm", "measure", "rel_level", "folds", "repeats", "seed")
ALONE = ("first stage", "reranker alone")


@dataclass(frozen=True)
class TuneJob:
    """What to choose, and on which judgments.

    Args:
        run: the first stage: a file of any format; a bare name is looked up in `./`, `./runs/` and the package.
        qrels: file, BEIR folder or Pyserini's name.
        reranked: the same run re-ranked without interpolation; empty: the judged queries are re-ranked here.
        origins: where queries and texts are, if they are re-ranked here.
        reranker, settings: as `load_reranker` takes them.
        depths: numbers of candidates to choose from.
        step: between the weights, which go from 0 to 1.
        norm: how both scores are normalised.
        measure: the one to raise; `rel_level` is its lowest relevant grade, if it is binary and states none.
        folds, repeats, seed: of the cross-validation.
        output: the file to write; by default `<run>.interpolation.yaml` in the working folder.
        figure: a picture of the curve; empty: none.
    """

    run: str | Path
    qrels: str | Path
    reranked: str | Path = ""
    origins: Origins = field(default_factory=Origins)
    reranker: str = registry.DEFAULT
    settings: Mapping[str, object] = field(default_factory=dict)
    depths: Sequence[int] = (100,)
    step: float = 0.05
    norm: str = "z-score"
    measure: str = "ndcg@10"
    rel_level: int = 1
    folds: int = FOLDS
    repeats: int = REPEATS
    seed: int = SEED
    skip_missing: bool = False
    output: str | Path = ""
    figure: str | Path = ""
    overwrite: bool = False

    @property
    def target(self) -> str:
        return str(self.output) or f"{stem(self.run)}.interpolation.yaml"


@dataclass(frozen=True)
class TuneResult:
    """What `tune_interpolation` found.

    Args:
        interpolation: the weight and norm to use, with `depth` candidates.
        tuned: the choice, and the values on queries that did not make it.
        comparisons: those values minus the first stage's and the reranker's own.
        written: paths of the files.
    """

    interpolation: Interpolation
    depth: int
    tuned: Tuned[Setting]
    comparisons: Sequence[Comparison]
    written: Sequence[str]


def tune_interpolation(job: TuneJob) -> TuneResult:
    """Choose weight and depth, say what the choice is worth, and write the file.

    Raises:
        RrarankError: a setting is wrong, fewer than 10 queries are judged, an input does not fit, or an output exists.
    """
    weights = _check(job)
    place = file_or_id(job.qrels, "qrels")
    outputs = [job.target, *([job.figure] if job.figure else [])]
    for output in outputs:
        check_output(output, job.overwrite, [place])
    judgments = load_qrels(place)
    scored = _scores(job, judgments)
    qrels = {qid: judgments[qid] for qid in scored.first if qid in judgments}
    if warning := check_first_stage(scored.first, scored.depth, Interpolation(0.5, job.norm)):
        say(warning)
    values = _values(job, scored, qrels, weights)
    tuned = tune_settings(values, folds=job.folds, repeats=job.repeats, seed=job.seed)
    compared = tuned.against(dict(zip(ALONE, _alone(values, scored, job), strict=True)), job.measure)
    _write(job, scored, tuned, compared, place)
    if job.figure:
        _draw(job, scored, values, tuned)
    _say(job, tuned, compared)
    weight, depth = tuned.best
    return TuneResult(Interpolation(weight, job.norm), depth, tuned, compared, [str(one) for one in outputs])


def _check(job: TuneJob) -> list[float]:
    """Refuse wrong settings; returns the weights to try."""
    registry.check_known(job.reranker)
    parse_measures([job.measure])
    if not 0 < job.step <= 1:
        raise RrarankError(f"step {job.step}, expected above 0 and at most 1")
    if job.folds < 2 or job.repeats < 1:
        raise RrarankError(f"{job.folds} folds, {job.repeats} times: expected at least 2 folds, at least once")
    if not is_file(job.target):
        raise RrarankError(f"--output {job.target}: rerank reads a file that has a sidecar; give --output FILE")
    if job.figure:
        check_suffix(job.figure, SUFFIXES)
        if os.path.realpath(job.figure) == os.path.realpath(job.target):
            raise RrarankError(f"--figure {job.figure}: is the place of the file to write; give another")
    Interpolation(0.5, job.norm)
    steps = round(1 / job.step)
    if not math.isclose(steps * job.step, 1):
        raise RrarankError(f"step {job.step}: 1 is no multiple of it; give 0.05, 0.1 or another such step")
    return [round(1 - place / steps, 6) for place in range(steps + 1)]


def _scores(job: TuneJob, qrels: Qrels) -> Scored:
    depth = max(job.depths)
    if job.reranked:
        return read_scores(job.run, job.reranked, depth, qrels)
    return make_scores(
        job.run,
        job.origins,
        job.reranker,
        job.settings,
        depth=depth,
        qrels=qrels,
        skip_missing=job.skip_missing,
        output=job.target,
    )


def _values(job: TuneJob, scored: Scored, qrels: Qrels, weights: Sequence[float]) -> dict[Setting, Mapping[str, float]]:
    """(weight, depth) -> qid -> value: the smaller depth first, then the larger weight, so that ties go to these."""
    [measure] = at_level([job.measure], job.rel_level)
    found: dict[Setting, Mapping[str, float]] = {}
    for depth in sorted({min(depth, scored.depth) for depth in job.depths}):
        for weight in weights:
            run = _joined(scored, Interpolation(weight, job.norm), depth)
            found[weight, depth] = per_query_scores(qrels, run, [measure])[measure]
    return found


def _joined(scored: Scored, how: Interpolation, depth: int) -> Run:
    """The run that `rerank` would write with these settings."""
    run = {}
    for qid, hits in scored.first.items():
        top = {hit.docid for hit in hits[:depth]}
        own = [hit for hit in scored.own[qid] if hit.docid in top]
        run[qid] = with_tail(interpolate(own, hits, how), hits)
    return Run(run)


def _alone(
    values: Mapping[Setting, Mapping[str, float]], scored: Scored, job: TuneJob
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    deepest = min(max(job.depths), scored.depth)
    return values[0.0, deepest], values[1.0, deepest]


# -- output -----------------------------------------------------------------------------------------------------------


def _write(
    job: TuneJob, scored: Scored, tuned: Tuned[Setting], compared: Sequence[Comparison], qrels: Path | str
) -> None:
    import yaml  # type: ignore[import-untyped]

    weight, depth = tuned.best
    content = {
        "format": FORMAT,
        "weight": weight,
        "norm": job.norm,
        "depth": depth,
        "reranker": scored.reranker,
        "model": scored.model,
        "chosen_on": {
            "measure": job.measure,
            "queries": len(tuned.held_out),
            "mean": round(tuned.means[tuned.best], 4),
            "held_out_mean": round(tuned.mean, 4),
            **{f"minus {one.system}": _brief(one) for one in compared},
        },
    }
    with atomic_write(job.target) as file:
        yaml.safe_dump(content, file, sort_keys=False, allow_unicode=True)
    config = {name: getattr(job, name) for name in SETTINGS}
    write_sidecar(
        Path(job.target),
        inputs={**scored.inputs, "qrels": qrels},
        config=config,
        comparisons=[asdict(one) | {"reading": one.reading} for one in compared],
        chosen=[{"weight": weight, "depth": depth, "share": share} for (weight, depth), share in tuned.chosen.items()],
    )


def _brief(one: Comparison) -> str:
    return f"{one.mean:+.4f} {interval(one.low, one.high, '+.4f')} {one.reading}"


def _draw(job: TuneJob, scored: Scored, values: Mapping[Setting, Mapping[str, float]], tuned: Tuned[Setting]) -> None:
    alone = _alone(values, scored, job)[1]
    curves: dict[str, dict[float, Estimate]] = {}
    for (weight, depth), found in values.items():
        differences = [found[qid] - alone[qid] for qid in found]
        curves.setdefault(f"depth {depth}", {})[weight] = Estimate.of_differences(differences)
    plot_weights(curves, tuned.best[0], job.measure, Path(job.figure))


def _say(job: TuneJob, tuned: Tuned[Setting], compared: Sequence[Comparison]) -> None:
    (weight, depth), queries = tuned.best, len(tuned.held_out)
    here = f"{job.measure} {tuned.means[tuned.best]:.4f} on the {queries} queries that chose them"
    say(f"weight {weight:g}, depth {depth}: {here}")
    folds = ", ".join(f"{one[0]:g} at {one[1]} ({share:.0%})" for one, share in list(tuned.chosen.items())[:5])
    say(f"on queries that did not choose them: {tuned.mean:.4f}; the folds chose: {folds}")
    for line in comparison_lines(compared, queries):
        say(line)
    if unresolved := [one.system for one in compared if one.reading == "not resolved"]:
        beside = " or the ".join(unresolved)
        say(f"not resolved: these queries do not show whether the choice is better than the {beside}")
