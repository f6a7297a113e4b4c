"""How time grows: with queries, with candidates a query, with tokens a pair. rrarank's engine beside predict.

    python -m benchmarks speed growth --model MODEL_FOLDER --data DATA [--rounds 5] [--output FILE.json]

DATA holds corpus.jsonl.gz, topics.tsv and runs/bm25.trec. Queries: the first of the run, with their candidates. Depth:
one query's candidates, then the next passages of the corpus. No query has a passage twice. Length: passages joined and
cut so that each pair has about that many tokens. A ratio is this row's median over that of the row before; above the
ratio of tokens, time grows faster than the work. Both sides compute in float32 in one process, by turns; predict has
its default batches of 32, and is given all pairs at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import conclude, interleaved, load_rankings, machine, show, without_repeats
from benchmarks.speed.sides import Setting, load_side, seconds, token_counts
from rrarank.cli.parser import positive
from rrarank.cli.verbs import run_verb
from rrarank.data.types import Candidate, Query, Ranking
from rrarank.sources.collection import Collection

SIDES = {"rrarank": "rrarank-torch-fp32", "predict": "predict-default"}
QUERIES, DEPTHS, LENGTHS = (1, 2, 4), (10, 100, 1000), (32, 64, 128, 256, 512)
Cases = dict[tuple[str, int], list[Ranking]]
Figures = dict[str, Any]  # JSON values


def main() -> int:
    parser = argparse.ArgumentParser(description="Growth of time with queries, depth and length: rrarank, predict.")
    parser.add_argument("--model", required=True, type=Path, metavar="MODEL_FOLDER", help="a cross-encoder")
    parser.add_argument("--data", required=True, type=Path, metavar="DATA", help="folder of passages, run, topics")
    parser.add_argument("--queries", type=positive, default=4, help="of the first row; then twice, four times as many")
    parser.add_argument("--depth", type=positive, default=100, help="candidates of each of those")
    parser.add_argument("--depths", nargs="+", type=positive, default=DEPTHS, help="candidates of one query")
    parser.add_argument("--lengths", nargs="+", type=positive, default=LENGTHS, help="tokens a pair")
    parser.add_argument("--pairs", type=positive, default=32, help="of each length")
    parser.add_argument("--rounds", type=positive, default=5, help="interleaved; medians are shown")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    return run_verb(growth, parser, None)


def growth(flags: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(flags.threads)
    setting = Setting(flags.model, max(flags.lengths), flags.threads)
    cases = make_cases(flags)
    sides = {label: load_side(name, setting) for label, name in SIDES.items()}
    for side in sides.values():
        side.score(next(iter(cases.values()))[:1])

    def measure(turn: tuple[str, int, str], _: int) -> float:
        grows, size, label = turn
        sides[label].forget()
        return seconds(lambda: sides[label].score(cases[grows, size]))  # type: ignore[no-any-return]

    times = interleaved([(*case, label) for case in cases for label in sides], flags.rounds, measure)
    rows = list(table(cases, times, setting))
    show(rows, {"size": ",.0f", "pairs": ",.0f", "tokens": ",.0f"})
    asked = {"model": flags.model.name, "data": flags.data.name, "rounds": flags.rounds}
    conclude(flags.output, machine(flags.threads) | asked, rows=rows)


def make_cases(flags: argparse.Namespace) -> Cases:
    """(what grows, its size) -> rankings to score."""
    found = load_rankings(flags.data, max(QUERIES) * flags.queries, flags.depth)
    rankings = [without_repeats(ranking) for ranking in found]
    corpus = dict(Collection(flags.data / "corpus.jsonl.gz"))
    first = rankings[0]
    texts = list(dict.fromkeys([*(c.text for c in first.candidates), *corpus.values()]))
    cases: Cases = {("queries", times * flags.queries): rankings[: times * flags.queries] for times in QUERIES}
    cases |= {("depth", depth): [_ranking(first.query, texts[:depth])] for depth in flags.depths}
    cases |= {
        ("length", length): [
            _ranking(first.query, list(islice(long_texts(first.query, texts, length, flags), flags.pairs)))
        ]
        for length in flags.lengths
    }
    return cases


def _ranking(query: Query, texts: Sequence[str]) -> Ranking:
    return Ranking(query, tuple(Candidate(f"d{place}", text, -place) for place, text in enumerate(texts)))


def long_texts(query: Query, texts: Sequence[str], length: int, flags: argparse.Namespace) -> Iterator[str]:
    """Joined passages, cut so that each has that many tokens together with the query."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(flags.model)
    room = length - len(tokenizer(query.text, "")["input_ids"])
    found, ends = "", [0]
    for text in texts:
        found = f"{found} {text}".strip()
        ends = [
            end for _, end in tokenizer(found, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        ]
        if len(ends) >= room:
            yield found[: ends[room - 1]]
            found = ""


def table(cases: Cases, times: Mapping[tuple[str, int, str], Sequence[float]], setting: Setting) -> Iterator[Figures]:
    before: Figures = {}
    for (grows, size), rankings in cases.items():
        lengths = token_counts(rankings, setting.model, setting.max_length)["every"]
        row: Figures = {"grows": grows, "size": size, "pairs": len(lengths), "tokens": sum(lengths)}
        row |= {f"{label} s": median(times[grows, size, label]) for label in SIDES}
        ratios = ["tokens", *(f"{label} s" for label in SIDES)] if before.get("grows") == grows else []
        yield row | {f"{name} ratio": row[name] / before[name] for name in ratios}
        before = row


if __name__ == "__main__":
    sys.exit(main())
