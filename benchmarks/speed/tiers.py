"""Quality against time: the models that ship, cascades of both, and predict of sentence-transformers.

    python -m benchmarks speed tiers --data DATA [--keep 10 20 30 50] [--sides rra-bert-tiny …] [--queries N]
        [--no-repeats] [--runs FOLDER] [--figure FIGURE.png] [--threads 1] [--output JSON]

DATA holds corpus.jsonl.gz and, unless flags name others, the topics, run and judgments. Every query is re-ranked by
itself, by all sides in turn, so that a slow moment of the machine hits all alike; the first query is done once before.
Texts become tokens within the time. --no-repeats leaves out passages that a query has twice, which rrarank scores once.
--runs keeps each side's run, for `rrarank.evaluate`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import add_queries, conclude, machine, percentile, queries_of, show, without_repeats
from benchmarks.speed import fidelity
from benchmarks.speed.sides import Setting, load_side
from rrarank.cli.parser import positive
from rrarank.cli.verbs import run_verb
from rrarank.data.trec import best_first, write_run
from rrarank.data.types import Hit, Ranking, Run
from rrarank.errors import say
from rrarank.storage.model_folders import SHIPPED, TINY, model_path

Scores = Sequence[float]
Side = Callable[[Ranking], Scores]

SIDES = (TINY, "cascade", SHIPPED, "bi-encoder", "predict")


def main() -> int:
    parser = argparse.ArgumentParser(description="nDCG@10 against milliseconds a query.")
    add_queries(parser)
    parser.add_argument("--no-repeats", action="store_true", help="leave out passages that repeat one of their query")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--keep", nargs="+", type=positive, default=[10, 20, 30, 50], metavar="N", help="of cascades")
    parser.add_argument("--threads", type=positive, default=1, help="of the CPU")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="write each side's run")
    parser.add_argument("--figure", type=Path, metavar="FIGURE.png", help="draw time against quality")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    return run_verb(measure, parser, None)


def measure(flags: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(flags.threads)
    rankings = queries_of(flags)
    if flags.no_repeats:
        rankings = [without_repeats(ranking) for ranking in rankings]
    sides = {name: side for kind in flags.sides for name, side in load(kind, flags).items()}
    for name, side in sides.items():
        say(f"warming up {name}")
        side(rankings[0])
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    scores: dict[str, list[Scores]] = {name: [] for name in sides}
    for place, ranking in enumerate(rankings, 1):
        for name, side in sides.items():
            started = time.perf_counter()
            scores[name].append(side(ranking))
            seconds[name].append(time.perf_counter() - started)
        say(f"query {place} of {len(rankings)}")
    bm25 = [[candidate.score for candidate in ranking.candidates] for ranking in rankings]
    quality = {
        name: fidelity.ndcg(own, rankings, flags.data / flags.qrels) for name, own in {"BM25": bm25, **scores}.items()
    }
    pairs = sum(len(ranking.candidates) for ranking in rankings)
    rows = [row(name, seconds.get(name, []), pairs, [*values.values()]) for name, values in quality.items()]
    show(rows, {"nDCG@10": ".4f", "pairs/s": ",.0f", "p50 ms": ",.0f", "p95 ms": ",.0f"})
    if flags.runs:
        keep_runs(flags.runs, scores, rankings)
    if flags.figure:
        draw(flags.figure, seconds, quality, flags.data.name)
    asked = {"data": flags.data.name, "run": Path(flags.run).name, "queries": len(rankings), "pairs": pairs}
    conclude(flags.output, machine(flags.threads) | asked, rows=rows)


def load(kind: str, flags: argparse.Namespace) -> dict[str, Side]:
    """The sides of that kind; cascades are several."""
    from rrarank import load_reranker

    shared: dict[str, Any] = {"device": "cpu", "threads": flags.threads}
    if kind == "predict":
        return {"predict on mini": predict(flags.threads)}  # 20 letters at most make a run's tag
    if kind == "cascade":
        return {f"cascade {keep}": ours(load_reranker(kind, keep=keep, **shared)) for keep in flags.keep}
    names = {TINY: "sparse-encoder", SHIPPED: "rra-bert"}
    return {kind: ours(load_reranker(names.get(kind, kind), **shared))}


def ours(reranker: Any) -> Side:
    """As `rerank` calls it, but for journal and files."""

    def score(ranking: Ranking) -> Scores:
        [found] = reranker.rerank_block([ranking])
        by_docid = {candidate.docid: candidate.score for candidate in found.candidates}
        return [by_docid[candidate.docid] for candidate in ranking.candidates]

    return score


def predict(threads: int) -> Side:
    """All pairs of a query at once, in batches of 32, its default."""
    side = load_side("predict-default", Setting(model_path(SHIPPED), threads=threads))
    return lambda ranking: side.score([ranking])[0]


def row(name: str, seconds: Sequence[float], pairs: int, quality: Sequence[float]) -> dict[str, Any]:
    times = [1000 * one for one in seconds]
    timed = (
        {"p50 ms": percentile(times, 50), "p95 ms": percentile(times, 95), "pairs/s": pairs / sum(seconds)}
        if seconds
        else {}
    )
    return {"side": name, "nDCG@10": sum(quality) / len(quality), **timed}


def keep_runs(folder: Path, scores: dict[str, list[Scores]], rankings: Sequence[Ranking]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, own in scores.items():
        found = {}
        for ranking, values in zip(rankings, own, strict=True):
            hits = [Hit(c.docid, value) for c, value in zip(ranking.candidates, values, strict=True)]
            found[ranking.query.qid] = best_first(hits)
        tag = name.replace(" ", "-")
        write_run(folder / f"{tag}.trec", Run(found, tag))


def draw(path: Path, seconds: dict[str, list[float]], quality: dict[str, dict[str, float]], data: str) -> None:
    from rrarank.measures.figures import Estimate, System, plot_efficiency

    systems = [
        System(name, percentile(times, 50), Estimate.of([*quality[name].values()])) for name, times in seconds.items()
    ]
    plot_efficiency(systems, SHIPPED, f"nDCG@10, {data}", path)


if __name__ == "__main__":
    sys.exit(main())
