"""Quality against time: the models that ship, cascades of both, a bi-encoder, and other tools with the same weights.

    python -m benchmarks speed tiers --data DATA [--keep 10 20 30 50] [--sides rra-bert-tiny …] [--queries N]
        [--cache FOLDER] [--exports FOLDER] [--no-repeats] [--runs FOLDER] [--figure FIGURE.png] [--threads 1]
        [--output JSON]

DATA holds corpus.jsonl.gz and, unless flags name others, the topics, run and judgments. Every query is re-ranked by
itself, by all sides in turn, so that a slow moment of the machine hits all alike; the first query is done once before.
Texts become tokens within the time; what that takes by itself is shown for both models. --no-repeats leaves out
passages that a query has twice, which rrarank scores once. --runs keeps each side's run, for `rrarank.evaluate`.

--cache adds sides whose documents are encoded before the clock starts: `rra-bert-tiny`, the cascades, the bi-encoder.
`int8` and `bf16` are both models in that precision. --exports is a folder with exports to ONNX in int8, each in a
folder named as its model: for `int8`, and for `flashrank`, FlashRank's way with the weights of rra-bert-mini. Idle
threads of ONNX Runtime and torch can disturb each other, so give these two sides a run of their own.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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

SIDES = (TINY, "cascade", SHIPPED, "bi-encoder", "predict", "bf16", "int8", "flashrank")
KEEPING = (TINY, "cascade", "bi-encoder")  # those that can keep documents


def main() -> int:
    parser = argparse.ArgumentParser(description="nDCG@10 against milliseconds a query.")
    add_queries(parser)
    parser.add_argument("--no-repeats", action="store_true", help="leave out passages that repeat one of their query")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES[:-2])
    parser.add_argument("--keep", nargs="+", type=positive, default=[10, 20, 30, 50], metavar="N", help="of cascades")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep documents there: adds sides that read them")
    parser.add_argument("--exports", type=Path, metavar="FOLDER", help="exports in int8, by model")
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
    if flags.cache:
        sides |= {name: side for kind in KEEPING if kind in flags.sides for name, side in kept(kind, flags, rankings)}
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
    tokens = {name: tokenising(name, flags, rankings) for name in (TINY, SHIPPED) if name in sides}
    rows = [
        row(name, seconds.get(name, []), pairs, [*values.values()]) | tokens.get(name, {})
        for name, values in quality.items()
    ]
    show(rows, {"nDCG@10": ".4f", "pairs/s": ",.0f", "p50 ms": ",.0f", "p95 ms": ",.0f", "tokens, p50 ms": ".1f"})
    if flags.runs:
        keep_runs(flags.runs, scores, rankings)
    if flags.figure:
        draw(flags.figure, seconds, quality, flags.data.name)
    asked = {"data": flags.data.name, "run": Path(flags.run).name, "queries": len(rankings), "pairs": pairs}
    conclude(flags.output, machine(flags.threads) | asked, rows=rows)


def load(kind: str, flags: argparse.Namespace) -> dict[str, Side]:
    """The sides of that kind that read texts."""
    if kind == "predict":
        return {"predict on mini": peer("predict-default", model_path(SHIPPED), flags.threads)}
    exports = {name: flags.exports / name if flags.exports else model_path(name) for name in (TINY, SHIPPED)}
    if kind == "flashrank":
        return {"flashrank on mini": peer(kind, exports[SHIPPED], flags.threads)}  # 20 letters at most make a run's tag
    if kind == "bf16":
        return {f"{name} bf16": ours(loaded(name, flags, precision=kind)[name]) for name in exports}
    if kind == "int8":
        settings = {"backend": "onnx", "precision": kind}
        return {f"{name} int8": ours(loaded(name, flags, model=at, **settings)[name]) for name, at in exports.items()}
    return {name: ours(side) for name, side in loaded(kind, flags).items()}


def kept(kind: str, flags: argparse.Namespace, rankings: Sequence[Ranking]) -> Iterator[tuple[str, Side]]:
    """The sides of that kind whose documents were encoded before."""
    say(f"{kind}: encoding documents")
    first = next(iter(loaded(kind, flags, cache=str(flags.cache)).values()))
    getattr(first, "first", first).rerank_block(rankings)  # another object than the sides: it remembers queries too
    for name, side in loaded(kind, flags, cache=str(flags.cache)).items():
        yield f"{name} cached", ours(side)


def loaded(kind: str, flags: argparse.Namespace, **settings: Any) -> dict[str, Any]:
    """Name -> reranker; cascades are several."""
    from rrarank import load_reranker

    settings |= {"device": "cpu", "threads": flags.threads}
    if kind == "cascade":
        return {f"cascade {keep}": load_reranker(kind, keep=keep, **settings) for keep in flags.keep}
    names = {TINY: "sparse-encoder", SHIPPED: "rra-bert"}
    return {kind: load_reranker(names.get(kind, kind), **settings)}


def ours(reranker: Any) -> Side:
    """As `rerank` calls it, but for journal and files."""

    def score(ranking: Ranking) -> Scores:
        [found] = reranker.rerank_block([ranking])
        by_docid = {candidate.docid: candidate.score for candidate in found.candidates}
        return [by_docid[candidate.docid] for candidate in ranking.candidates]

    return score


def tokenising(kind: str, flags: argparse.Namespace, rankings: Sequence[Ranking]) -> dict[str, float]:
    """Milliseconds a query to make tokens of its texts."""
    fresh, times = loaded(kind, flags)[kind], []  # the side itself may remember texts
    for ranking in rankings:
        started = time.perf_counter()
        fresh.encode(ranking.query.text, [candidate.text for candidate in ranking.candidates])
        times.append(1000 * (time.perf_counter() - started))
    return {"tokens, p50 ms": percentile(times[1:] or times, 50)}  # the first is slower


def peer(name: str, model: Path, threads: int) -> Side:
    """Another tool, with all pairs of a query at once."""
    side = load_side(name, Setting(model, threads=threads))
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
