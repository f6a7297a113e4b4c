"""Pairs a second on one GPU in bfloat16: rrarank's engine beside sentence-transformers' CrossEncoder.predict.

    python -m benchmarks speed gpu [--queries 64] [--depth 100] [--rounds 5] [--output FILE.json]

The model is made here: a BERT of base size with random weights, a token for each of its words. So are the texts, of
random words, their lengths as passages have them: log-normal, the median 60 words. predict has bfloat16 weights, all
pairs at once, and its best batch size of those tried beforehand on the first eight queries; rrarank drops what it
remembers before each pass. Both compute in one process, by turns. The largest difference of their scores stands beside
the deviation of the scores: the weights are random, and so are the scores. Operations are those of matrix products for
real tokens (see flops.py), of a forward pass that skips what the last layer need not do; their ceiling is torch.mm.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from statistics import median, pstdev

from benchmarks.common import (
    conclude,
    interleaved,
    machine,
    make_bert,
    random_texts,
    show,
    spread,
    vocabulary,
)
from benchmarks.speed.flops import Shape, ceiling
from benchmarks.speed.sides import Ours, Predict, Setting, load_ours, seconds, token_counts
from rrarank.cli.parser import positive
from rrarank.data.types import Candidate, Query, Ranking

SIZES = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 512}
BATCH_SIZES = (32, 64, 128, 256, 512)
WORDS = 20_000


def main() -> int:
    flags = _parser().parse_args()
    import torch

    if flags.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA here; this benchmark needs an NVIDIA GPU and a torch built for it", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory() as name:
        folder = make_bert(Path(name), vocabulary(WORDS), num_hidden_layers=flags.layers, **SIZES)
        compare(Setting(folder, 512, flags.threads, flags.device, "bfloat16"), flags)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Pairs a second on a GPU: rrarank, CrossEncoder.predict.")
    parser.add_argument("--queries", type=positive, default=64, help="in one go")
    parser.add_argument("--depth", type=positive, default=100, help="candidates a query")
    parser.add_argument("--rounds", type=positive, default=5, help="interleaved; medians are shown")
    parser.add_argument("--layers", type=positive, default=12, help="of the model")
    parser.add_argument("--device", default="cuda", help="cpu: to try the script")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    return parser


def compare(setting: Setting, flags: argparse.Namespace) -> None:
    rankings = make_rankings(flags.queries, flags.depth)
    ours, predict = load_ours(setting, "torch", "bf16"), Predict(setting)
    ours.score(rankings[:8])
    tried = predict.tune(rankings[:8], BATCH_SIZES)
    sides: dict[str, Ours | Predict] = {"rrarank": ours, f"predict ({predict.batch_size})": predict}
    found: dict[str, list[list[float]]] = {}

    def measure(name: str, _: int) -> float:
        sides[name].forget()
        return seconds(lambda: found.update({name: sides[name].score(rankings)}))  # type: ignore[no-any-return]

    pairs = flags.queries * flags.depth
    times = interleaved(sides, flags.rounds, measure)
    lengths = token_counts(rankings, setting.model, setting.max_length)["every"]
    shape = Shape.of(setting.model)
    operations = shape.first_token(lengths)
    top = ceiling(shape, "bfloat16", rows=65_536 if flags.device == "cuda" else 4096, device=flags.device)
    rows = [
        {"side": name, "pairs / s": _rates(taken, pairs), "share of ceiling": operations / median(taken) / top}
        for name, taken in times.items()
    ]
    show([{"side": row["side"], **row["pairs / s"]} for row in rows], {}, ",.0f")
    first, second = ([score for ranking in found[name] for score in ranking] for name in sides)
    facts = {
        "device": device_name(flags.device),
        "layers": flags.layers,
        "pairs": pairs,
        "ceiling_tflops": round(top / 1e12, 1),
        "shares_of_ceiling": {row["side"]: round(row["share of ceiling"], 3) for row in rows},
        "tokens_per_pair": round(sum(lengths) / pairs, 1),
        "largest_difference": max(abs(a - b) for a, b in zip(first, second, strict=True)),
        "deviation_of_scores": pstdev(second),
    }
    conclude(flags.output, machine(flags.threads) | facts, sides=rows, seconds_by_batch_size=tried)


def _rates(taken: Sequence[float], pairs: int) -> dict[str, float]:
    return spread([pairs / one for one in taken])  # type: ignore[no-any-return]


def device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else device


def make_rankings(queries: int, depth: int) -> list[Ranking]:
    words = vocabulary(WORDS)
    asked = random_texts(queries, lambda rng: rng.randint(3, 9), words, seed=1)
    texts = random_texts(queries * depth, passage_words, words, seed=2)
    return [
        Ranking(
            Query(f"q{number}", query),
            tuple(Candidate(f"q{number}-{place}", text, -place) for place, text in enumerate(islice(texts, depth))),
        )
        for number, query in enumerate(asked)
    ]


def passage_words(rng: random.Random) -> int:
    return min(max(round(rng.lognormvariate(4.1, 0.45)), 8), 400)


if __name__ == "__main__":
    sys.exit(main())
