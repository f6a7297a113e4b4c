"""Milliseconds a query of 100 candidates, dl21: `python speed.py DATA MODEL [--threads 2] [--predict rra-bert-mini]`

Wall-clock time and, because other work may run beside it, the processor's time. Every query is timed once, after one
that is not counted; texts are tokenised within the time. --predict: a CrossEncoder of sentence-transformers.
"""

import argparse
import time
from pathlib import Path
from statistics import quantiles

import torch
from scores import read_texts

import rrarank
from rrarank import Candidate, Query, Ranking


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--queries", type=int, default=53)
    parser.add_argument("--predict", help="a cross-encoder")
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    texts = read_texts(flags.data / "dl21/corpus.jsonl.gz")
    topics, run = (
        rrarank.read_topics(flags.data / "dl21/topics.tsv"),
        rrarank.read_run(flags.data / "dl21/runs/bm25.trec"),
    )
    rankings = [
        Ranking(Query(qid, topics[qid]), tuple(Candidate(hit.docid, texts[hit.docid], 0.0) for hit in run[qid][:100]))
        for qid in list(run)[: flags.queries]
    ]
    for precision in flags.precision:
        reranker = rrarank.load_reranker(
            "sparse-encoder", model=flags.model, precision=precision, threads=flags.threads, device="cpu"
        )
        _say(f"sparse-encoder {precision}", [_timed(reranker.rerank_block, [ranking]) for ranking in rankings])
    if flags.predict:
        from sentence_transformers import CrossEncoder

        model = CrossEncoder(flags.predict, device="cpu")
        pairs = [[(ranking.query.text, one.text) for one in ranking.candidates] for ranking in rankings]
        _say("CrossEncoder.predict", [_timed(model.predict, own) for own in pairs])


def _timed(work: object, argument: object) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work(argument)  # type: ignore[operator]
    return time.perf_counter() - wall, time.process_time() - processor


def _say(name: str, times: list[tuple[float, float]]) -> None:
    for kind, values in zip(("wall", "processor"), zip(*times[1:], strict=True), strict=True):
        cuts = quantiles(values, n=20)
        rate = 100 * len(values) / sum(values)
        print(
            f"{name}, {kind}: p50 {1000 * cuts[9]:.0f} ms, p95 {1000 * cuts[18]:.0f} ms, {rate:,.0f} pairs/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
