"""PyTerrier's Experiment of BM25, and BM25 re-ranked, beside our own commands: the same rows, the same figures.

    python tests/slow/neighbours.py --data DL19 [--queries N] [--depth 100] [--threads 2]

DL19 holds corpus.jsonl.gz, topics.tsv, qrels.txt and runs/bm25.trec. Our side is `python -m rrarank.rerank` with the
model that ships and `rrarank.evaluate_runs`. Exit 1 where a score differs, or a figure by more than 1e-12.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

import pandas as pd
import pyterrier as pt
from tabulate import tabulate

from rrarank.cli.parser import positive
from rrarank.data.topics import read_topics
from rrarank.data.trec import read_qrels, read_run, write_run
from rrarank.data.types import Hit, Run
from rrarank.engine.blocks import RerankConfig
from rrarank.integrations.pyterrier import FirstStage, Rerank
from rrarank.measures.scores import evaluate_runs

MEASURES = {"ndcg_cut_5": "ndcg@5", "ndcg_cut_10": "ndcg@10", "recip_rank": "mrr"}


def main() -> None:
    parser = argparse.ArgumentParser(description="PyTerrier's Experiment beside our own commands.")
    parser.add_argument("--data", type=Path, required=True, metavar="DL19")
    parser.add_argument("--queries", type=positive, metavar="N", help="only the first N of the run")
    parser.add_argument("--depth", type=positive, default=100)
    parser.add_argument("--threads", type=positive, default=2)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first, ours = our_runs(flags, Path(folder))
    qrels = {qid: dict(grades) for qid, grades in read_qrels(flags.data / "qrels.txt").items() if qid in first}
    asked = read_topics(flags.data / "topics.tsv")
    topics = {qid: asked[qid] for qid in first}  # in the run's order: of other blocks, last digits differ
    frame = pd.DataFrame(topics.items(), columns=["qid", "query"])
    bm25, config = FirstStage(first), RerankConfig(depth=flags.depth)
    rows = Rerank(texts=flags.data / "corpus.jsonl.gz", config=config, threads=flags.threads)(bm25(frame))
    found = experiment([bm25(frame), rows], frame, qrels)
    measured = evaluate_runs(qrels, {"bm25": first, "rra-bert": ours}, measures=list(MEASURES.values()))
    wanted = {row.name: [row.means[name] for name in MEASURES.values()] for row in measured.rows}
    print(tabulate([[name, *found[name], *wanted[name]] for name in wanted], ["", *MEASURES, *MEASURES.values()]))
    scores = sum(hit != other for qid in ours for hit, other in zip(ours[qid], run_of(rows)[qid], strict=True))
    figures = max(abs(a - b) for name in wanted for a, b in zip(found[name], wanted[name], strict=True))
    print(f"{len(list(rows)):,} rows, {scores} of them differ; figures differ by at most {figures:.1e}")
    print(f"Terrier's Java was {'' if pt.java.started() else 'not '}started")
    sys.exit(1 if scores or figures > 1e-12 else 0)


def our_runs(flags: argparse.Namespace, folder: Path) -> tuple[Run, Run]:
    """The first stage, and what the command makes of it."""
    run = read_run(flags.data / "runs" / "bm25.trec")
    first = Run({qid: run[qid] for qid in islice(run, flags.queries)}, "bm25")
    write_run(folder / "bm25.trec", first)
    places = ["--topics", flags.data / "topics.tsv", "--collection", flags.data / "corpus.jsonl.gz"]
    command = [sys.executable, "-m", "rrarank.rerank", "--run", folder / "bm25.trec", *places, "--depth", flags.depth]
    command += ["--threads", flags.threads, "--output", folder / "ours.trec"]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return read_run(folder / "bm25.trec"), read_run(folder / "ours.trec")


def experiment(
    systems: list[pd.DataFrame], topics: pd.DataFrame, qrels: dict[str, dict[str, int]]
) -> dict[str, list[float]]:
    judged = [(qid, docno, grade) for qid, grades in qrels.items() for docno, grade in grades.items()]
    frame = pd.DataFrame(judged, columns=["qid", "docno", "label"])
    table = pt.Experiment(systems, topics, frame, list(MEASURES), names=["bm25", "rra-bert"])
    return {row["name"]: [row[name] for name in MEASURES] for _, row in table.iterrows()}


def run_of(rows: pd.DataFrame) -> Run:
    return Run({qid: [Hit(row.docno, row.score) for row in part.itertuples()] for qid, part in rows.groupby("qid")})


if __name__ == "__main__":
    main()
