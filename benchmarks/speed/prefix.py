"""What it buys that a query's candidates share the keys and values of what their prompts begin with.

    python -m benchmarks speed prefix --reranker gpt --model MODEL_FOLDER --data DATA [--queries 2] [--rounds 3]

A decoder re-ranks BM25's candidates with the beginning computed once a query, and with every prompt read whole. Rounds
are interleaved, seconds are medians; passages that repeat one before are left out.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.common import conclude, interleaved, load_rankings, machine, show, without_repeats
from rrarank.cli.parser import positive
from rrarank.cli.verbs import run_verb
from rrarank.data.types import Ranking
from rrarank.engine.registry import load_reranker
from rrarank.engine.reranker import Pointwise


def main() -> int:
    parser = argparse.ArgumentParser(description="Pairs a second of a decoder with and without a shared beginning.")
    parser.add_argument("--reranker", choices=["gpt", "rra-gpt"], default="rra-gpt")
    parser.add_argument("--model", required=True, type=Path, metavar="MODEL_FOLDER")
    parser.add_argument("--data", required=True, type=Path, metavar="DATA", help="folder of passages, topics, run")
    parser.add_argument("--queries", type=positive, default=2, help="the first so many of the run")
    parser.add_argument("--depth", type=positive, default=100, help="candidates a query, at most")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--rounds", type=positive, default=3, help="interleaved")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    return run_verb(compare, parser, None)


def compare(flags: argparse.Namespace) -> None:
    rankings = [without_repeats(one) for one in load_rankings(flags.data, flags.queries, flags.depth)]
    pairs = sum(len(ranking.candidates) for ranking in rankings)
    settings = {"model": str(flags.model), "threads": flags.threads, "precision": flags.precision}
    ways = {
        name: load_reranker(flags.reranker, share=share, **settings)
        for name, share in (("shared", True), ("whole", False))
    }
    found = interleaved(ways, flags.rounds, lambda name, _: timed(ways[name], rankings))
    reference = found["whole"][0][1]
    rates = {name: pairs / median(seconds for seconds, _ in rounds) for name, rounds in found.items()}
    rows = [
        {
            "prompts": name,
            "pairs/s": rate,
            "x whole": rate / rates["whole"],
            "largest difference": float(np.abs(found[name][0][1] - reference).max()),
        }
        for name, rate in rates.items()
    ]
    show(rows, {"largest difference": ".1e"})
    asked = {"model": flags.model.name, "data": flags.data.name, "queries": len(rankings), "pairs": pairs}
    asked |= {"precision": flags.precision, "rounds": flags.rounds}
    conclude(flags.output, machine(flags.threads) | asked, rows=rows)


def timed(reranker: Pointwise, rankings: Sequence[Ranking]) -> tuple[float, np.ndarray]:
    """Seconds, and the scores in candidate order; tokens are known after the first round, to both ways."""
    started = time.perf_counter()
    scores = [
        score
        for one in rankings
        for score in reranker.score_all(reranker.encode(one.query.text, [c.text for c in one.candidates]))
    ]
    return time.perf_counter() - started, np.array(scores)


if __name__ == "__main__":
    sys.exit(main())
