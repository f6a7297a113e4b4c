"""Judged candidates with a model's scores: from a run that the model has re-ranked, or scored here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rrarank.data.run_files import read_run_file
from rrarank.data.types import Hit, Qrels, Run
from rrarank.errors import RrarankError
from rrarank.measures.calibration import JudgedScores
from rrarank.sources.names import file_or_id
from rrarank.sources.texts import load_qrels
from rrarank.storage.files import find
from rrarank.storage.sidecar import fingerprint, read_sidecar

UNJUDGED = ("leave-out", "irrelevant")


@dataclass(frozen=True)
class JudgedRun:
    """A run and its judgments.

    Args:
        run: a first-stage run, or one that the model has re-ranked; a bare name is also looked up in `./runs/`.
        qrels: file, ir_datasets id or Pyserini's name.
        rel_level: lowest grade that counts as relevant.
        unjudged: `leave-out`, or `irrelevant` for sets whose judgments name only relevant documents.
    """

    run: str | Path
    qrels: str | Path
    rel_level: int = 1
    unjudged: str = UNJUDGED[0]

    def __post_init__(self) -> None:
        if self.unjudged not in UNJUDGED:
            raise RrarankError(f"unjudged {self.unjudged!r}, expected {' or '.join(UNJUDGED)}")
        if self.rel_level < 1:
            raise RrarankError(f"rel_level {self.rel_level}, expected a grade from 1")


@dataclass(frozen=True)
class Pairs:
    """The judged candidates of a run: one list per query of (score, whether it is relevant).

    Args:
        candidates: of all queries with judgments, judged or not.
        facts: what they were taken from, for the calibration file.
    """

    queries: Sequence[Sequence[tuple[float, bool]]]
    candidates: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(map(len, self.queries))

    @property
    def relevant(self) -> int:
        return sum(relevant for query in self.queries for _, relevant in query)


Score = Callable[[JudgedRun], "Mapping[str, Sequence[Hit]]"]
"""qid -> the candidates with the model's scores."""


def gather(one: JudgedRun, score: Score, sha256: str, depth: int) -> Pairs:
    """The judged candidates of a run.

    Args:
        score: used where the run does not hold the scores of the model with this fingerprint.

    Raises:
        RrarankError: no query has judgments, or all judged candidates are alike.
    """
    qrels = load_qrels(place := file_or_id(one.qrels, "qrels"))
    run = scored_by(one.run, sha256, depth)
    already = run is not None
    hits = run if run is not None else score(one)
    found = [_judged(hits[qid], qrels[qid], one) for qid in hits if qid in qrels]
    facts = {
        "run": _entry(find(one.run, "runs")),
        "qrels": _entry(place),
        "rel_level": one.rel_level,
        "unjudged": one.unjudged,
        "scores": "of the run" if already else "made here",
    }
    pairs = Pairs([query for query in found if query], sum(len(hits[qid]) for qid in hits if qid in qrels), facts)
    _check(one, pairs, qrels)
    counts = {"queries": len(pairs.queries), "pairs": pairs.count, "relevant": pairs.relevant}
    return Pairs(pairs.queries, pairs.candidates, {**facts, **counts, "candidates": pairs.candidates})


def _judged(hits: Sequence[Hit], grades: Mapping[str, int], one: JudgedRun) -> list[tuple[float, bool]]:
    kept = hits if one.unjudged == "irrelevant" else [hit for hit in hits if hit.docid in grades]
    return [(hit.score, grades.get(hit.docid, 0) >= one.rel_level) for hit in kept]


def _check(one: JudgedRun, pairs: Pairs, qrels: Qrels) -> None:
    if not pairs.count:
        raise RrarankError(f"{one.run}: none of its candidates is judged in {one.qrels} ({len(qrels):,} queries there)")
    if not pairs.relevant:
        raise RrarankError(
            f"{one.run}: no judged candidate has grade {one.rel_level} or more; give another --rel-level"
        )
    if pairs.relevant == pairs.count:
        raise RrarankError(
            f"{one.run}: every judged candidate is relevant, so nothing tells the others apart; where judgments name "
            "only relevant documents, give --unjudged irrelevant"
        )


def _entry(place: str | Path) -> Mapping[str, str]:
    """A file by name and sha256, without its folder, which would tell of this machine; an id as it is."""
    return {"name": place.name, "sha256": fingerprint(place)} if isinstance(place, Path) else {"id": place}


def scored_by(run: str | Path, sha256: str, depth: int) -> Run | None:
    """The top of a run, if its sidecar says that its scores are those of the model with this fingerprint."""
    path = find(run, "runs")
    sidecar = read_sidecar(path)
    if sidecar is None or sha256 not in str((sidecar.content.get("model") or {}).get("fingerprint")):
        return None
    config = sidecar.content.get("config") or {}
    is_alone = (config.get("interpolation") or {}).get("weight") == 1 and not (config.get("passages") or {}).get(
        "words"
    )
    is_whole = sidecar.content.get("without_text") == 0 and not config.get("budget_ms") and config.get("depth", 0) > 0
    if not (is_alone and is_whole):
        return None
    found = read_run_file(path).run
    top = min(depth, int(config["depth"]))
    return Run({qid: found[qid][:top] for qid in found})


def together(parts: Sequence[Pairs]) -> JudgedScores:
    """The pairs of all parts; a query of one part is another than that of the same name in another part."""
    import numpy as np

    queries = [query for part in parts for query in part.queries]
    pairs = [pair for query in queries for pair in query]
    return JudgedScores(
        np.array([score for score, _ in pairs], dtype=float),
        np.array([relevant for _, relevant in pairs], dtype=float),
        np.repeat(np.arange(len(queries)), [len(query) for query in queries]),
    )
