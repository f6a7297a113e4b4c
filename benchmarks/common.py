"""What the benchmarks share: data, models and texts made here, workers that wait their turn, tables, the machine.

Importing this imports nothing heavy: a worker's start is part of what is measured.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from typing import IO, Any, TypeVar

from rrarank.cli.parser import positive
from rrarank.data.types import Ranking, ranking_of
from rrarank.errors import say

Key = TypeVar("Key")
Value = TypeVar("Value")
Answer = dict[str, Any]  # JSON values

TELLING = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")  # instructions
TOOLS = ("rrarank", "torch", "transformers", "sentence-transformers")


# -- data -------------------------------------------------------------------------------------------------------------


def load_rankings(
    data: Path, queries: int, depth: int, *, run: str = "runs/bm25.trec", topics: str = "topics.tsv"
) -> list[Ranking]:
    """The first queries of a run with their top candidates, as `rrarank.rerank` would read them; 0 queries: all."""
    from rrarank.sources.inputs import Origins, load_inputs

    origins = Origins(topics=data / topics, collection=data / "corpus.jsonl.gz")
    inputs = load_inputs(data / run, origins, depth=depth)
    qids = islice(inputs.run, queries or None)
    return [ranking_of(qid, inputs.run[qid][:depth], inputs.topics, inputs.texts) for qid in qids]


def add_queries(parser: argparse.ArgumentParser) -> None:
    """The flags that `queries_of` reads, and --qrels."""
    add = parser.add_argument
    add("--data", required=True, type=Path, metavar="DATA", help="folder of passages, run, judgments")
    add("--run", default="runs/bm25.trec", help="in DATA, or elsewhere")
    add("--topics", default="topics.tsv", help="in DATA")
    add("--qrels", default="qrels.txt", help="in DATA")
    add("--queries", type=int, default=0, help="the first so many of the run; 0: all")
    add("--depth", type=positive, default=100, help="candidates a query, at most")


def queries_of(flags: argparse.Namespace) -> list[Ranking]:
    return load_rankings(flags.data, flags.queries, flags.depth, run=flags.run, topics=flags.topics)


def without_repeats(ranking: Ranking) -> Ranking:
    """Without passages that repeat one before: rrarank scores equal pairs once, and would do less than others."""
    first = {candidate.text: candidate for candidate in reversed(ranking.candidates)}
    return Ranking(ranking.query, tuple(c for c in ranking.candidates if first[c.text] is c))


def vocabulary(words: int) -> list[str]:
    """So many made-up words, always the same: syllables, so that they look like words."""
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    return ["".join(syllables[place // 70**power % 70] for power in range(3)) for place in range(words)]


def random_texts(count: int, lengths: Callable[[random.Random], int], words: Sequence[str], seed: int) -> Iterator[str]:
    """Texts of random words.

    Args:
        lengths: gives the number of words of the next text.
    """
    rng = random.Random(seed)
    return (" ".join(rng.choices(words, k=lengths(rng))) for _ in range(count))


def make_bert(folder: Path, words: Sequence[str], *, seed: int = 0, **sizes: int) -> Path:
    """A BERT cross-encoder with random weights, for which each word is one token.

    Args:
        sizes: of transformers' BertConfig.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    vocab = folder / "vocab.txt"
    vocab.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    tokenizer = BertTokenizerFast(str(vocab), model_max_length=sizes.get("max_position_embeddings", 512))
    torch.manual_seed(seed)
    BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), num_labels=1, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# -- taking turns -----------------------------------------------------------------------------------------------------


def interleaved(
    names: Iterable[Key], rounds: int, measure: Callable[[Key, int], Value], what: str = "round"
) -> dict[Key, list[Value]]:
    """name -> what was measured, once a round: so that a slow moment of the machine hits all alike."""
    found: dict[Key, list[Value]] = {name: [] for name in names}
    for turn in range(rounds):
        for name, values in found.items():
            say(f"{what} {turn + 1} of {rounds}: {name}")
            values.append(measure(name, turn))
    return found


class Worker:
    """A process of its own that waits for questions, one JSON line each, and answers likewise. It uses no CPU else.

    Start workers before the parent imports anything large: Linux hands a parent's peak memory on to its children.
    """

    def __init__(self, command: Sequence[str], threads: int) -> None:
        settings = {name: str(threads) for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")}
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | settings | {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"},
        )

    def ask(self, task: str, **details: object) -> Answer:
        print(json.dumps({"task": task, **details}), file=_open(self.process.stdin), flush=True)
        return self.answer()

    def answer(self) -> Answer:
        line = _open(self.process.stdout).readline()
        if not line:
            raise SystemExit(f"a worker ended without an answer, exit code {self.process.wait()}; see above")
        found: Answer = json.loads(line)
        return found

    def stop(self) -> None:
        _open(self.process.stdin).close()
        self.process.wait()


def _open(stream: IO[str] | None) -> IO[str]:
    assert stream
    return stream


class Channel:
    """The worker's end. Made first of all; what libraries print from then on goes to stderr."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def send(self, **answer: object) -> None:
        print(json.dumps(answer), file=self._out, flush=True)

    def serve(self, tasks: Mapping[str, Callable[..., Answer]]) -> None:
        """Answer until the parent closes the pipe."""
        for line in sys.stdin:
            details = json.loads(line)
            self.send(**tasks[details.pop("task")](**details))


def peak_mb() -> float:
    """Most memory that this process had so far; Linux counts it in KiB."""
    return getrusage(RUSAGE_SELF).ru_maxrss * 1024 / 1e6


# -- what is said -----------------------------------------------------------------------------------------------------


def machine(threads: int, tools: Iterable[str] = TOOLS) -> dict[str, object]:
    """What figures hold for. The load is that of the last minute, the benchmark's own included."""
    return {
        **processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{tool: found for tool in tools if (found := _version(tool))},
    }


def processor() -> dict[str, str]:
    """Its name, and those of its instructions that decide how fast low precisions are."""
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    except OSError:  # not Linux
        lines = []
    facts = {name.strip(): value.strip() for name, _, value in lines}
    flags = facts.get("flags", "").split()
    name = facts.get("model name") or platform.processor() or platform.machine()
    return {"processor": name, "instructions": " ".join(flag for flag in TELLING if flag in flags)}


def _version(tool: str) -> str:
    try:
        return version(tool)
    except PackageNotFoundError:
        return ""


def show(rows: Sequence[Mapping[str, object]], formats: Mapping[str, str], default: str = ",.2f") -> None:
    """A table; each row names its columns.

    Args:
        formats: column -> format of its numbers; `default` where none is given.
    """
    from tabulate import tabulate

    columns = list(dict.fromkeys(name for row in rows for name in row))
    floats = [formats.get(name, default) for name in columns]
    cells = [[row.get(name) for name in columns] for row in rows]
    print(tabulate(cells, columns, floatfmt=floats, missingval="-"), end="\n\n")


def conclude(output: Path | None, facts: Mapping[str, object], **figures: object) -> None:
    """Say what the figures hold for; write all as JSON, if asked to."""
    print("; ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items()))
    if output:
        output.write_text(json.dumps({**facts, **figures}, indent=2) + "\n")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": median(values), "least": min(values), "most": max(values)}


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: one of the values, so that the 99th of few is the largest."""
    return sorted(values)[max(math.ceil(share / 100 * len(values)) - 1, 0)]
