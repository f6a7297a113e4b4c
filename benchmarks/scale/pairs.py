"""Memory, seconds and the first result of `python -m rrarank.rerank` on a million pairs, beside a tenth of them.

    python -m benchmarks scale pairs [--queries 10000] [--depth 100] [--rounds 1] [--output FILE.json]

All is made here from seeded random words: a collection of short passages, topics, runs of BM25's form, and a BERT
cross-encoder so small that the work around the model shows. Each command has a process of its own, imports included.
Peak memory is that of the process; its ratio at both sizes says whether memory grows with the run. The first block
counts as finished when its line is whole in the journal. The same run with `--reranker bm25`, which scores nothing,
gives the share of reading, gathering texts, journal and writing; it does not import torch. Further pairs are those
that the larger run has more, by the seconds that it takes longer: a rate without imports. On Linux.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.common import conclude, interleaved, machine, make_bert, random_texts, show, vocabulary
from rrarank.cli.parser import positive

WORDS, TOKENS = 500, 40  # different words; most tokens of a pair
RERANKERS = {"cross-encoder": ["--model", "model"], "bm25": []}
Job = tuple[int, str]  # queries, reranker


def main() -> None:
    flags = _parser().parse_args()
    if flags.make:
        make(flags.make, flags)
        return
    sizes = (max(flags.queries // 10, 1), flags.queries)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "benchmarks.scale.pairs", *sys.argv[1:], "--make", name]
        subprocess.run(command, check=True)  # elsewhere: Linux hands a parent's peak on to its children
        jobs = [(size, reranker) for size in sizes for reranker in RERANKERS]
        found = interleaved(jobs, flags.rounds, lambda job, _: rerank(folder, job, flags.threads))
    figures = {job: {key: median(one[key] for one in runs) for key in runs[0]} for job, runs in found.items()}
    rows = [row(job, figures, sizes, flags.depth) for job in jobs]
    whole = ("queries", "pairs", "pairs / s", "further pairs / s", "peak MB")
    show(rows, dict.fromkeys(whole, ",.0f") | {"without scoring": ".1%"})
    asked = {name: getattr(flags, name) for name in ("queries", "depth", "passages", "rounds")}
    conclude(flags.output, machine(flags.threads) | asked, rows=rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Memory, seconds, first result of rrarank.rerank on a million pairs.")
    parser.add_argument("--queries", type=positive, default=10_000, help="of the larger run; the other has a tenth")
    parser.add_argument("--depth", type=positive, default=100, help="candidates a query")
    parser.add_argument("--passages", type=positive, default=20_000, help="of the collection")
    parser.add_argument("--rounds", type=positive, default=1, help="interleaved; medians are shown")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)  # what is read, in this folder
    return parser


def row(job: Job, figures: Mapping[Job, Mapping[str, float]], sizes: Sequence[int], depth: int) -> dict[str, object]:
    queries, reranker = job
    found, pairs = figures[job], queries * depth
    smaller = figures[sizes[0], reranker]
    more = (pairs - sizes[0] * depth) / (found["seconds"] - smaller["seconds"]) if queries > sizes[0] else None
    return {
        "reranker": reranker,
        "queries": queries,
        "pairs": pairs,
        "seconds": found["seconds"],
        "pairs / s": pairs / found["seconds"],
        "further pairs / s": more,
        "first block s": found["first"],
        "peak MB": found["peak"],
        "peak / smaller's": found["peak"] / smaller["peak"],
        "without scoring": figures[queries, "bm25"]["seconds"] / found["seconds"],
    }


# -- what is read -----------------------------------------------------------------------------------------------------


def make(folder: Path, flags: argparse.Namespace) -> None:
    words = vocabulary(WORDS)
    make_bert(
        folder / "model",
        words,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=TOKENS,
    )
    passages = random_texts(flags.passages, lambda rng: rng.randint(10, 20), words, seed=1)
    topics = random_texts(flags.queries, lambda rng: rng.randint(3, 7), words, seed=2)
    with open(folder / "collection.tsv", "w") as file:
        file.writelines(f"p{number}\t{text}\n" for number, text in enumerate(passages))
    with open(folder / "topics.tsv", "w") as file:
        file.writelines(f"q{number}\t{text}\n" for number, text in enumerate(topics))
    for queries in {flags.queries, max(flags.queries // 10, 1)}:
        make_run(folder / f"{queries}.trec", queries, flags)


def make_run(path: Path, queries: int, flags: argparse.Namespace) -> None:
    rng = random.Random(3)
    with open(path, "w") as file:
        for number in range(queries):
            places = enumerate(rng.sample(range(flags.passages), flags.depth), start=1)
            file.writelines(f"q{number} Q0 p{passage} {rank} {40 - rank / 100:.4f} bm25\n" for rank, passage in places)


# -- one command ------------------------------------------------------------------------------------------------------


def rerank(folder: Path, job: Job, threads: int) -> dict[str, float]:
    """Seconds, peak MB, and seconds to the first block in the journal."""
    queries, reranker = job
    output = folder / f"{queries}.{reranker}.trec"
    command = [sys.executable, "-m", "rrarank.rerank", "--run", f"{queries}.trec", "--topics", "topics.tsv"]
    command += ["--collection", "collection.tsv", "--reranker", reranker, *RERANKERS[reranker]]
    command += ["--output", str(output), "--overwrite", "--threads", str(threads)]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    first, status, usage = watch(process.pid, Path(f"{output}.journal"))
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait for it again
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}; see above")
    return {"seconds": seconds, "peak": usage.ru_maxrss * 1024 / 1e6, "first": first - started}


def watch(pid: int, journal: Path) -> tuple[float, int, resource.struct_rusage]:
    """When the journal held its first whole line; exit status and resources once the process has ended."""
    first = None
    while True:
        if first is None and holds_a_line(journal):
            first = time.perf_counter()
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            return first or time.perf_counter(), status, usage
        time.sleep(0.005 if first is None else 0.05)


def holds_a_line(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.readline().endswith(b"\n")
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    main()
