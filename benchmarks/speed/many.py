"""`rank_many` beside a loop of `rank`, on the sample's 20 queries with their first passages: seconds, in turns.

    python -m benchmarks speed many [--passages 5 20] [--rounds 5] [--threads 2] [--output FILE.json]

Exit 1 if a score differs by more than 1e-6.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from benchmarks.common import conclude, interleaved, machine, show
from rrarank.cli.parser import positive
from rrarank.engine.ranked import RankedDocuments
from rrarank.engine.registry import load_reranker
from rrarank.engine.reranker import Reranker
from rrarank.sources.sample import sample_rankings

Way = Callable[[], Sequence[RankedDocuments]]


def main() -> None:
    parser = argparse.ArgumentParser(description="rank_many beside a loop of rank.")
    parser.add_argument("--passages", type=positive, nargs="+", default=[5, 20], help="of each query")
    parser.add_argument("--rounds", type=positive, default=5, help="interleaved; medians are shown")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    reranker = load_reranker(threads=flags.threads)
    rows = [measured(reranker, size, flags.rounds) for size in flags.passages]
    show(rows, {"scores differ by": ".1e"})
    conclude(flags.output, machine(flags.threads) | {"rounds": flags.rounds}, rows=rows)
    sys.exit(any(row["scores differ by"] > 1e-6 for row in rows))


def measured(reranker: Reranker, size: int, rounds: int) -> dict[str, float]:
    rankings = sample_rankings(size)
    queries = [ranking.query.text for ranking in rankings]
    lists = [[candidate.text for candidate in ranking.candidates] for ranking in rankings]
    ways: dict[str, Way] = {
        "a loop of rank, s": lambda: [reranker.rank(*one) for one in zip(queries, lists, strict=True)],
        "rank_many, s": lambda: reranker.rank_many(queries, lists),
    }
    found = interleaved(ways, rounds, lambda name, _: timed(ways[name]))
    loop, many = (turns[0][1] for turns in found.values())
    differences = [
        abs({one.id: one.score for one in a}[two.id] - two.score) for a, b in zip(loop, many, strict=True) for two in b
    ]
    seconds = {name: median(one for one, _ in turns) for name, turns in found.items()}
    return {"queries": len(queries), "passages": size, **seconds, "scores differ by": max(differences)}


def timed(way: Way) -> tuple[float, Sequence[RankedDocuments]]:
    started = time.perf_counter()
    made = way()
    return time.perf_counter() - started, made


if __name__ == "__main__":
    main()
