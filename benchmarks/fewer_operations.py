"""Fewer operations beyond the exact ones: what they cost in nDCG@10, and what they buy in pairs a second.

    python benchmarks/fewer_operations.py --model MODEL_FOLDER --data DATA [--queries N] [--rounds 3] [--output JSON]

The model is a BERT cross-encoder in float32, the candidates BM25's. Three ways, at several settings, beside the whole:

- drop K, Z: after layer K the document tokens are dropped that Token Selection would not pick: whose greatest cosine to
  a query token is below mean + Z standard deviations of its document's;
- exit K: after layer K at once the last one and the head, which were trained for the states below them;
- keep N: a cascade, in which `--first` orders all candidates and the cross-encoder the best N.

Rounds are interleaved, seconds are medians, intervals are over queries, of the difference to the whole model.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import fidelity  # type: ignore[import-not-found]
from bench import conclude, interleaved, load_rankings, machine, show  # type: ignore[import-not-found]
from sides import Ours, Setting, load_cascade, load_ours  # type: ignore[import-not-found]

from rrarank.cli.flags import positive
from rrarank.cli.verbs import run_verb
from rrarank.data.types import Ranking
from rrarank.errors import RrarankError

DROPS = ((2, 0.0), (2, 0.5), (4, 0.0), (4, 0.5))
FORMATS = {"pairs/s": ",.1f", **fidelity.FORMATS}


def main() -> int:
    parser = argparse.ArgumentParser(description="nDCG@10 against pairs a second, with fewer operations.")
    parser.add_argument("--model", required=True, type=Path, metavar="MODEL_FOLDER", help="a BERT cross-encoder")
    parser.add_argument("--data", required=True, type=Path, metavar="DATA", help="folder of passages, run, judgments")
    parser.add_argument("--queries", type=int, default=0, help="the first so many of the run; 0: all")
    parser.add_argument("--depth", type=positive, default=100, help="candidates a query, at most")
    parser.add_argument("--exits", nargs="*", type=positive, default=[2, 3, 4, 5], metavar="K", help="layers before")
    parser.add_argument("--keep", nargs="*", type=positive, default=[10, 20, 30, 50], metavar="N", help="of a cascade")
    parser.add_argument("--first", default="bi-encoder", metavar="NAME", help="what orders all in a cascade")
    parser.add_argument("--rounds", type=positive, default=3, help="interleaved")
    parser.add_argument("--max-length", type=positive, default=512, help="most tokens of a pair")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    return run_verb(curve, parser, None)


def curve(flags: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(flags.threads)
    rankings = load_rankings(flags.data, flags.queries, flags.depth)
    ways = _ways(flags)
    found = interleaved(ways, flags.rounds, lambda name, _: timed(ways[name], rankings))
    reference = found["whole"][0][1]
    rows = [row(name, found[name], reference, rankings, flags.data / "qrels.txt") for name in ways]
    show(rows, FORMATS)
    asked = {"model": flags.model.name, "data": flags.data.name, "queries": len(rankings), "rounds": flags.rounds}
    conclude(flags.output, machine(flags.threads) | asked, rows=rows)


def _ways(flags: argparse.Namespace) -> Mapping[str, Ours]:
    setting = Setting(flags.model, flags.max_length, flags.threads)
    ways = {"whole": load_ours(setting, "torch", "fp32")}
    for after, above in DROPS:
        ways[f"drop {after}, {above:g}"] = _cut(setting, drop_after=after, above=above)
    for layers in flags.exits:
        ways[f"exit {layers}"] = _cut(setting, layers=layers)
    for kept in flags.keep:
        ways[f"keep {kept}"] = load_cascade(setting, "torch", "fp32", flags.first, kept)
    return ways


def timed(side: Ours, rankings: Sequence[Ranking]) -> tuple[float, list[list[float]]]:
    side.forget()
    started = time.perf_counter()
    scores = side.score(rankings)
    return time.perf_counter() - started, scores


def row(
    name: str, found: Sequence[tuple[float, Any]], reference: Any, rankings: Sequence[Ranking], qrels: Path
) -> dict[str, object]:
    pairs = sum(len(ranking.candidates) for ranking in rankings)
    rate = pairs / median(seconds for seconds, _ in found)
    return {"way": name, "pairs/s": rate, **fidelity.quality(found[0][1], reference, rankings, qrels)}


def _cut(setting: Setting, *, drop_after: int = 0, above: float = 0.0, layers: int = 0) -> Ours:
    """Our engine, but with a forward pass that leaves something out."""
    import torch

    from rrarank.rerankers.backends.packed_bert import PackedBert, Rows
    from rrarank.rerankers.backends.torch import load_whole

    class Fewer(PackedBert):
        def __call__(self, rows: Rows) -> torch.Tensor:
            states = self._embed(rows)
            for number, layer in enumerate(self.layers[: layers or None], start=1):
                states = layer(states, rows)
                if number == drop_after:
                    states, rows = _dropped(states, rows, above)
            return self._score(self.last(states, rows))

    side = load_ours(setting, "torch", "fp32")
    model = load_whole(setting.model, setting.model.name).eval()
    if model.config.model_type != "bert" or max(drop_after, layers) >= model.config.num_hidden_layers:
        raise RrarankError(f"{setting.model}: not a BERT of more than {max(drop_after, layers)} layers")
    fewer = Fewer(model.config, model.state_dict())
    side.forward.backend._forward = lambda batch: fewer(Rows.pack(batch))
    return side


def _dropped(states: Any, rows: Any, above: float) -> tuple[Any, Any]:
    """Of each row what is not a document token, and the document tokens near a query token."""
    import torch
    from torch.nn.functional import normalize, pad

    from rrarank.rerankers.backends.packed_bert import ROUND, Rows

    unit, segments = normalize(states, dim=-1), rows.tokens[1]
    kept = torch.ones(len(states), dtype=torch.bool)
    ends = rows.ends.tolist()
    for start, end in pairwise(ends):
        query = int((segments[start:end] == 0).sum())  # [CLS] query [SEP]
        words, document = unit[start + 1 : start + query - 1], unit[start + query : end - 1]
        if len(words) and len(document) > 1:
            near = (document @ words.T).amax(dim=1)  # (document tokens,)
            kept[start + query : end - 1] = near >= near.mean() + above * near.std()
    kept[ends[-1] :] = False  # of no row
    lengths = tuple(int(part.sum()) for part in kept[: ends[-1]].split(list(rows.lengths)))
    cut = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    more = -sum(lengths) % ROUND
    return pad(states[kept], (0, 0, 0, more)), Rows(pad(rows.tokens[:, kept], (0, more)), lengths, cut)


if __name__ == "__main__":
    sys.exit(main())
