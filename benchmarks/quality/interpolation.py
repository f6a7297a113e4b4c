"""What interpolation with the first stage gives: the first stage, the student alone, and both joined.

    python -m benchmarks quality interpolation --data DL19 --runs bm25 splade-pp … [--weights 0.5] [--model MODEL]

DATA holds corpus.jsonl.gz, topics.tsv, qrels.txt and runs/NAME.trec. Each run's top candidates are scored once; the
weights are applied to the same scores. The interval is over queries, of the difference to the better of the two.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.common import machine, show
from rrarank import Origins, RerankConfig, Run, evaluate_runs, load_inputs, load_reranker, read_qrels, rerank_run
from rrarank.cli.verbs import say
from rrarank.data.types import Qrels
from rrarank.engine.interpolation import Interpolation, interpolate
from rrarank.measures.significance import compare

MEASURE = "ndcg@10"


def main() -> None:
    parser = argparse.ArgumentParser(description="nDCG@10 of a first stage, of the student, and of both joined.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--weights", nargs="+", type=float, default=[0.5])
    parser.add_argument("--norm", default="z-score")
    parser.add_argument("--model", default="")
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    flags = parser.parse_args()
    qrels = read_qrels(flags.data / "qrels.txt")
    reranker = load_reranker(model=flags.model or None, threads=flags.threads)
    rows = []
    for name in flags.runs:
        say(name)
        origins = Origins(topics=flags.data / "topics.tsv", collection=flags.data / "corpus.jsonl.gz")
        inputs = load_inputs(flags.data / "runs" / f"{name}.trec", origins, depth=flags.depth, skip_missing=True)
        first = {qid: hits[: flags.depth] for qid, hits in inputs.run.items()}
        config = RerankConfig(depth=flags.depth, hits=flags.depth)
        alone = rerank_run(Run(first), reranker, topics=inputs.topics, texts=inputs.texts, config=config)
        runs = {"first stage": Run(first), "student": alone}
        for weight in flags.weights:
            how = Interpolation(weight, flags.norm)
            runs[f"W {weight:g}"] = Run({qid: interpolate(alone[qid], first[qid], how) for qid in alone})
        rows.append({"first stage": name, **row(qrels, runs)})
    show(rows, {}, default=".3f")
    print("; ".join(f"{key} {value}" for key, value in machine(flags.threads).items()))


def row(qrels: Qrels, runs: dict[str, Run]) -> dict[str, object]:
    """The means, and each joined run's difference to the better of first stage and student, with its interval."""
    found = {one.name: one for one in evaluate_runs(qrels, runs, measures=[MEASURE]).rows}
    means = {name: one.means[MEASURE] for name, one in found.items() if name in runs}
    better = max(("first stage", "student"), key=means.__getitem__)
    cells: dict[str, object] = dict(means)
    for name in list(runs)[2:]:
        ours, theirs = (list(found[one].per_query[MEASURE].values()) for one in (name, better))
        told = compare(name, MEASURE, ours, theirs)
        cells[f"{name} - better"] = f"{told.mean:+.3f} [{told.low:+.3f}, {told.high:+.3f}]"
    return cells


if __name__ == "__main__":
    main()
