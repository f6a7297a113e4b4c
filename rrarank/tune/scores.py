"""The two scores of each candidate that tuning needs: the first stage's and the reranker's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rrarank.cli.verbs import locked_journal
from rrarank.data.run_files import read_run_file
from rrarank.data.types import Hit, Qrels, Run
from rrarank.engine import registry
from rrarank.engine.blocks import RerankConfig, rerank_queries
from rrarank.engine.interpolation_files import files_of
from rrarank.errors import RrarankError, say, shown
from rrarank.measures.tuning import check_enough
from rrarank.sources.inputs import Origins, load_inputs
from rrarank.storage.files import find
from rrarank.storage.sidecar import Sidecar, read_sidecar


@dataclass(frozen=True)
class Scored:
    """A run and what a reranker made of it.

    Args:
        first: qid -> hits of the first stage.
        own: qid -> the re-ranked candidates with the reranker's own scores, best first.
        depth: candidates re-ranked per query.
        reranker: its registered name; empty where the re-ranked run does not say it.
        model: the sha256 of its files; likewise.
        inputs: for the sidecar.
    """

    first: Run
    own: Mapping[str, Sequence[Hit]]
    depth: int
    reranker: str = ""
    model: str = ""
    inputs: Mapping[str, str | Path] = field(default_factory=dict)


def read_scores(run: str | Path, reranked: str | Path, depth: int, qrels: Qrels) -> Scored:
    """From two files: the run, and the same run re-ranked without interpolation.

    Args:
        depth: candidates re-ranked, used where the sidecar of `reranked` does not say it.

    Raises:
        RrarankError: the re-ranked run was interpolated, was made from another run, or lacks candidates.
    """
    paths = find(run, "runs"), find(reranked, "runs")
    first, after = (_judged(read_run_file(path).run, qrels, path) for path in paths)
    sidecar = read_sidecar(paths[1])
    config = _config(sidecar, paths)
    depth = min(depth, config.get("depth", depth)) if config else depth
    own = {qid: _among(after.get(qid, ()), first[qid][:depth]) for qid in first}
    if lacking := [qid for qid in first if len(own[qid]) < len(first[qid][:depth])]:
        raise RrarankError(
            f"{paths[1]}: lacks candidates of {len(lacking):,} queries ({shown(lacking)}) that are among the top "
            f"{depth} of {paths[0]}; re-rank that run, or give a smaller --depths"
        )
    model = sidecar.content.get("model", {}) if sidecar else {}
    inputs = {"run": paths[0], "reranked": paths[1]}
    return Scored(first, own, depth, config.get("reranker", ""), files_of(str(model.get("fingerprint", ""))), inputs)


def make_scores(
    run: str | Path,
    origins: Origins,
    reranker: str,
    settings: Mapping[str, object],
    *,
    depth: int,
    qrels: Qrels,
    skip_missing: bool,
    output: str | Path,
) -> Scored:
    """By re-ranking the judged queries of the run; finished blocks are kept beside `output`."""
    inputs = load_inputs(
        run,
        origins,
        depth=depth,
        skip_missing=skip_missing,
        command="tune",
        part=lambda whole: _judged(whole, qrels, run),
    )
    loaded, lacking = registry.load_reranker(reranker, **settings), set(inputs.missing)
    config = RerankConfig(depth=depth, hits=depth)
    own = {}
    with locked_journal(output, f"finished blocks of {config.block_size} queries") as journal:
        for qid, hits in rerank_queries(
            inputs.run, loaded, topics=inputs.topics, texts=inputs.texts, config=config, journal=journal
        ):
            own[qid] = [hit for hit in hits if hit.docid not in lacking]
        journal.remove_used()
    return Scored(inputs.run, own, depth, reranker, files_of(loaded.fingerprint()), inputs.origins)


def _judged(run: Run, qrels: Qrels, path: str | Path) -> Run:
    """The queries of the run that have judgments and hits."""
    kept = {qid: run[qid] for qid in run if qid in qrels and run[qid]}
    if not kept:
        raise RrarankError(f"{path}: none of its queries ({shown(run, 2)}) is in the qrels ({shown(qrels, 2)})")
    check_enough(len(kept))  # before hours of scoring
    return Run(kept, run.tag)


def _among(reranked: Sequence[Hit], candidates: Sequence[Hit]) -> list[Hit]:
    wanted = {hit.docid for hit in candidates}
    return [hit for hit in reranked if hit.docid in wanted]


def _config(sidecar: Sidecar | None, paths: tuple[Path, Path]) -> dict[str, Any]:
    """What the sidecar of the re-ranked run says of the job, if there is one."""
    run, reranked = paths
    if sidecar is None:
        say(f"{reranked} has no sidecar: the file that is written names no reranker, so nobody can check it later")
        return {}
    config: dict[str, Any] = sidecar.content.get("config", {})
    how = config.get("interpolation") or {}
    if how.get("weight", 1) != 1 or how.get("rule"):
        raise RrarankError(
            f"{reranked}: was made with interpolation; re-rank {run} with --interpolate 1 and give that run"
        )
    if lacking := sidecar.content.get("without_text"):
        say(
            f"{reranked}: {lacking:,} candidates had no text, so their scores are not the reranker's; without "
            "--reranked they do not count"
        )
    origin = sidecar.input("run")
    if isinstance(origin, Path) and origin.resolve() != run.resolve():
        raise RrarankError(f"{reranked}: was made from {origin}, not from {run}; give the run that it was made from")
    return config
