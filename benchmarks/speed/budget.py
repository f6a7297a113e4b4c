"""nDCG@10 within a time per query: what 10, 25, 50 or 100 milliseconds buy, and whether they are kept.

    python -m benchmarks speed budget --model MODEL_FOLDER --data DATA [--sides rrarank-torch-bf16 …]
        [--run runs/bm25.trec] [--topics topics.tsv] [--qrels qrels.txt] [--queries N] [--keep 10 30]
        [--first sparse-encoder] [--output JSON]

DATA holds corpus.jsonl.gz and, unless flags name others, the topics, run and judgments. For nq's dev questions:
`--data …/nq --topics topics.dev.tsv --qrels qrels.dev.txt --queries 200 --run $PWD/nq.trec`, with the run made by
`python -m rrarank.retrieve --index nq-index --collection …/nq/corpus.jsonl.gz --topics …/nq/topics.dev.tsv
--output nq.trec --hits 100`.

A side measures its pace once, on the first queries. Then each query is re-ranked by itself, under each budget in turn,
for some rounds: the candidates are the same in each, the milliseconds are not. What was remembered of texts is dropped
before each query. Without a limit (budget 0), and for cascades of a fixed number (--keep), one round is enough.
"Within" is the share of queries that took no more than their budget, "candidates" how many the cross-encoder scores:
the mean, the least and the most. The side `cascade` is --first, and then the model in float32 by torch on as many
candidates as the budget leaves time for; it has no budget 0.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmarks.common import add_queries, conclude, interleaved, machine, percentile, queries_of, show
from benchmarks.speed import fidelity
from benchmarks.speed.sides import (
    OURS,
    Job,
    Ours,
    Setting,
    load_cascade,
    load_ours,
)
from rrarank.cli.parser import positive
from rrarank.cli.verbs import run_verb
from rrarank.data.types import Ranking
from rrarank.errors import RrarankError, say

if TYPE_CHECKING:
    from rrarank.engine.budget import Pace

BUDGETS = (10.0, 25.0, 50.0, 100.0, 0.0)
CASCADE = "cascade"
SIDES = ("rrarank-torch-fp32", "rrarank-torch-bf16")
Figures = dict[str, Any]  # JSON values


def main() -> int:
    parser = argparse.ArgumentParser(description="nDCG@10 within milliseconds a query, and whether they are kept.")
    parser.add_argument("--model", required=True, type=Path, metavar="MODEL_FOLDER", help="a cross-encoder")
    add_queries(parser)
    parser.add_argument("--budgets", nargs="+", type=float, default=BUDGETS, metavar="MS", help="a query; 0: no limit")
    parser.add_argument(
        "--sides", nargs="+", default=SIDES, metavar="SIDE", help="rrarank-BACKEND-PRECISION, or cascade"
    )
    parser.add_argument("--keep", nargs="+", type=positive, default=[], metavar="N", help="also cascades that keep N")
    parser.add_argument("--first", default="bi-encoder", metavar="NAME", help="what orders all in a cascade")
    parser.add_argument("--rounds", type=positive, default=3, help="interleaved; milliseconds of all are pooled")
    parser.add_argument("--max-length", type=positive, default=512, help="most tokens of a pair")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    return run_verb(curve, parser, None)


def curve(flags: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(flags.threads)
    rankings = queries_of(flags)
    points = [*limited(rankings, flags), *cascades(flags)]
    once = interleaved([point for point in points if not point.budget_ms], 1, lambda point, _: point.measure(rankings))
    often = interleaved(
        [point for point in points if point.budget_ms], flags.rounds, lambda point, _: point.measure(rankings)
    )
    found = once | often
    rows = [first_stage(rankings, flags), *(row(point, found[point], rankings, flags) for point in points)]
    show(rows, {"budget ms": ",.0f", "nDCG@10": ".4f", "within": ".0%", "candidates": ",.1f"})
    asked = {"model": flags.model.name, "data": flags.data.name, "run": Path(flags.run).name, "queries": len(rankings)}
    conclude(flags.output, machine(flags.threads) | asked | {"rounds": flags.rounds}, rows=rows)


@dataclass(frozen=True, eq=False)
class Point:
    """A way to re-rank under a budget; 0: without one.

    Args:
        candidates: numbers that the cross-encoder scores, a query each.
    """

    name: str
    side: Ours
    candidates: Sequence[int]
    budget_ms: float = 0.0
    pace: Pace | None = None

    def __str__(self) -> str:
        return f"{self.name}, {self.budget_ms:g} ms" if self.budget_ms else self.name

    def measure(self, rankings: Sequence[Ranking]) -> Figures:
        """Milliseconds and scores of each query, each re-ranked by itself."""
        taken, scores = zip(*(self._one(ranking) for ranking in rankings), strict=True)
        return {"milliseconds": taken, "scores": scores}

    def _one(self, ranking: Ranking) -> tuple[float, list[float]]:
        self.side.forget()
        started = time.perf_counter()
        [scores] = self.side.within([ranking], self.budget_ms, self.pace)
        return 1000 * (time.perf_counter() - started), scores


def limited(rankings: Sequence[Ranking], flags: argparse.Namespace) -> Iterator[Point]:
    """Every side under every budget, each side at its pace on the first queries."""
    from rrarank.engine.blocks import pace_of

    for name in flags.sides:
        side, job = _side(name, flags), Job.of(rankings)
        pace = pace_of(job.run, side.reranker, topics=job.topics, texts=job.texts, config=job.config)
        say(
            f"{name}: {1000 * pace.start_s:.1f} ms a query, {1e6 * pace.token_s:.0f} ms for 1,000 tokens"
            + (f", {1e6 * pace.character_s:.1f} ms for 1,000 characters of the first" if pace.character_s else "")
        )
        for budget in flags.budgets if name != CASCADE else filter(None, flags.budgets):
            yield Point(name, side, counts(side, rankings, pace, budget), budget, pace if budget else None)


def counts(side: Ours, rankings: Sequence[Ranking], pace: Pace, budget_ms: float) -> list[int]:
    """How many candidates of each query the cross-encoder scores."""
    from rrarank.engine.budget import best_within, within
    from rrarank.engine.reranker import Cascaded, Pointwise

    seconds, reranker = budget_ms / 1000 or math.inf, side.reranker
    if isinstance(reranker, Cascaded):
        cut = [best_within(one, reranker, pace, seconds) for one in reranker.first.rerank_block(rankings)]
    else:
        assert isinstance(reranker, Pointwise)  # sides are cascades or cross-encoders
        cut = [within(one, reranker, pace, seconds) for one in rankings]
    return [len(one.candidates) for one in cut]


def _side(name: str, flags: argparse.Namespace) -> Ours:
    if name == CASCADE:
        return load_cascade(_setting(flags), "torch", "fp32", flags.first)
    return load_ours(_setting(flags), *_parts(name))


def cascades(flags: argparse.Namespace) -> Iterator[Point]:
    """On the back end and in the precision of the first side that has them in its name."""
    second = next((name for name in flags.sides if name != CASCADE), SIDES[0])
    for keep in flags.keep:
        side = load_cascade(_setting(flags), *_parts(second), flags.first, keep)
        yield Point(f"{flags.first}, then {second} on {keep}", side, [keep])


def _setting(flags: argparse.Namespace) -> Setting:
    return Setting(flags.model, flags.max_length, flags.threads)


def _parts(name: str) -> tuple[str, str]:
    found = OURS.fullmatch(name)
    if not found:
        raise RrarankError(f"--sides {name}: expected rrarank-BACKEND-PRECISION, as rrarank-torch-bf16, or {CASCADE}")
    return found[1], found[2]


def first_stage(rankings: Sequence[Ranking], flags: argparse.Namespace) -> Figures:
    scores = [[candidate.score for candidate in ranking.candidates] for ranking in rankings]
    return {
        "side": "the first stage",
        "candidates": 0.0,
        "least": 0,
        "most": 0,
        "nDCG@10": _ndcg(scores, rankings, flags),
    }


def row(point: Point, rounds: Sequence[Figures], rankings: Sequence[Ranking], flags: argparse.Namespace) -> Figures:
    times = [time for one in rounds for time in one["milliseconds"]]
    return {
        "side": point.name,
        "budget ms": point.budget_ms or None,
        "candidates": fmean(point.candidates),
        "least": min(point.candidates),
        "most": max(point.candidates),
        "p50 ms": percentile(times, 50),
        "p95 ms": percentile(times, 95),
        "within": fmean(time <= point.budget_ms for time in times) if point.budget_ms else None,
        "nDCG@10": _ndcg(rounds[0]["scores"], rankings, flags),
    }


def _ndcg(scores: Sequence[Sequence[float]], rankings: Sequence[Ranking], flags: argparse.Namespace) -> float:
    return fmean(fidelity.ndcg(scores, rankings, flags.data / flags.qrels).values())


if __name__ == "__main__":
    sys.exit(main())
