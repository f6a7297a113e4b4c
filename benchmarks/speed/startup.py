"""Seconds to `--help` of each verb and to one query re-ranked, beside a bare `import torch, transformers`.

    python -m benchmarks speed startup [--model MODEL_FOLDER] [--rounds 5] [--output FILE.json]

Each command has a fresh process; medians, interleaved, are shown. With a cross-encoder given, one query of the sample
is re-ranked with it, 20 candidates (`rerank, 1 query`): what that takes beyond the bare imports is ours to answer for.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from statistics import median

from benchmarks.common import conclude, interleaved, machine
from benchmarks.speed.sides import seconds
from rrarank.cli.parser import positive

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    **{f"rrarank.{verb} --help": ["-m", f"rrarank.{verb}", "--help"] for verb in ("retrieve", "rerank", "evaluate")},
    "import torch, transformers": ["-c", "import torch, transformers"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds to --help, and to one query re-ranked.")
    parser.add_argument("--model", type=Path, metavar="MODEL_FOLDER", help="a cross-encoder: also re-rank one query")
    parser.add_argument("--rounds", type=positive, default=5, help="interleaved; medians are shown")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        commands = COMMANDS | (one_query(Path(folder), flags.model, flags.threads) if flags.model else {})
        found = interleaved(commands, flags.rounds, lambda name, _: seconds(lambda: run(commands[name])))
    times = {name: median(values) for name, values in found.items()}
    for name, value in times.items():
        print(f"{value:7.2f} s  {name}")
    conclude(flags.output, machine(flags.threads) | {"rounds": flags.rounds}, seconds=times)


def run(arguments: Sequence[str]) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def one_query(folder: Path, model: Path, threads: int) -> dict[str, list[str]]:
    """The commands that re-rank the sample's first query, by its first stage's scores and by the cross-encoder."""
    lines = (ROOT / "runs" / "bm25.trec").read_text().splitlines(keepends=True)
    qid = lines[0].split()[0]
    hits = list(takewhile(lambda line: line.split()[0] == qid, lines))
    (folder / "one.trec").write_text("".join(hits[:20]))
    sample = ROOT / "prebuilt" / "sample"
    texts = ["--topics", str(sample / "topics.tsv"), "--collection", str(sample / "collection.jsonl")]
    common = [
        "-m",
        "rrarank.rerank",
        "--run",
        str(folder / "one.trec"),
        *texts,
        "--output",
        "-",
        "--threads",
        str(threads),
    ]
    return {
        "rerank, 1 query, bm25": [*common, "--reranker", "bm25"],
        "rerank, 1 query, cross-encoder": [*common, "--reranker", "cross-encoder", "--model", str(model)],
    }


if __name__ == "__main__":
    main()
