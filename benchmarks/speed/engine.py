"""Pairs a second and milliseconds a query: rrarank's engine beside what others use, one model, the same candidates.

    python -m benchmarks speed engine --model MODEL_FOLDER --data DATA [--rounds 5] [--sides SIDE …] [--output FILE]

MODEL_FOLDER is a cross-encoder, exported for the ONNX and OpenVINO sides (`python -m rrarank.export`); a side that is
not offered is named and left out. DATA holds corpus.jsonl.gz, topics.tsv, qrels.txt and runs/bm25.trec.

Each side has a process of its own that sleeps while another works, and sides take turns: in a round, each scores the
same `--queries` in one go, for pairs a second, then `--latency-queries` one at a time, others in each round; of few,
p99 is the slowest. The clock runs from texts to scores; what rrarank remembers of texts is dropped before every pass
and query. predict gets all pairs at once, which it sorts by length, and its best batch size, found beforehand on two
queries. Starting goes from nothing to a loaded model, imports included; the peak of memory is that of the process
after all of this. Pairs are all candidates, also those whose text repeats one before (a sixth of dl21's): rrarank
scores these once. `--no-repeats` leaves them out, so that all do the same.

Scores are compared with those of plain transformers in float32, one pair at a time. An order change is two candidates
of a query that stand otherwise though they are 1e-4 or more apart there. Few queries say little about nDCG@10; for all
of them, once: `--queries 0 --rounds 1 --latency-queries 0 --starts 1`.

Operations are those of matrix products for real tokens (see flops.py): where rrarank's torch back end runs, those that
it computes; elsewhere those of a whole forward pass. Their ceiling is torch.mm in the same precision, in each round.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any

from benchmarks.common import (
    TOOLS,
    Channel,
    Worker,
    conclude,
    interleaved,
    load_rankings,
    machine,
    peak_mb,
    percentile,
    show,
    spread,
    without_repeats,
)
from benchmarks.speed import fidelity
from benchmarks.speed.flops import Shape, ceiling
from benchmarks.speed.sides import NAMES, OURS, Predict, Setting, Side, load_side, seconds, token_counts
from rrarank.cli.parser import positive
from rrarank.data.types import Ranking
from rrarank.errors import RrarankError, say

REFERENCE = "one-by-one"
BATCH_SIZES = (8, 16, 32, 64, 128)
CEILINGS = {"rrarank-torch-fp32": "float32", "rrarank-torch-bf16": "bfloat16"}  # who measures them
Figures = dict[str, Any]  # JSON values


def main() -> None:
    flags = _parser().parse_args()
    if flags.worker:
        return work(flags)
    workers, figures, skipped = start(flags)
    reference = workers.pop(REFERENCE)
    if "predict-best" in workers:
        figures["predict-best"] |= workers["predict-best"].ask("tune")
    rounds = interleaved(workers, flags.rounds, lambda name, turn: one_round(name, workers[name], turn, flags))
    for name, turns in rounds.items():
        figures[name] |= speed(turns) | workers[name].ask("peak")
    lengths = reference.ask("lengths", queries=flags.queries)
    scores = reference.ask("throughput", queries=flags.queries)["scores"]
    for worker in [reference, *workers.values()]:
        worker.stop()
    computed(figures, rounds, lengths, flags.model)
    agree(figures, rounds, scores, flags)
    report(figures)
    facts = machine(flags.threads, [*TOOLS, "rerankers", "onnxruntime", "openvino"])
    conclude(flags.output, facts | _asked(flags) | work_facts(lengths, scores), sides=figures, left_out=skipped)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Pairs a second, ms a query, agreement: rrarank beside others.")
    parser.add_argument("--model", required=True, type=Path, metavar="MODEL_FOLDER", help="cross-encoder, exported")
    parser.add_argument("--data", required=True, type=Path, metavar="DATA", help="folder of passages, run, judgments")
    parser.add_argument("--queries", type=int, default=12, help="scored in one go; 0: all of the run")
    parser.add_argument("--latency-queries", type=int, default=5, help="a round, one at a time; 0: none")
    parser.add_argument("--depth", type=positive, default=100, help="candidates a query")
    parser.add_argument("--no-repeats", action="store_true", help="without passages that repeat one of the same query")
    parser.add_argument("--rounds", type=positive, default=5, help="interleaved; medians are shown")
    parser.add_argument("--starts", type=positive, default=3, help="fresh processes a side; their median is shown")
    parser.add_argument("--max-length", type=positive, default=512, help="most tokens of a pair")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--sides", nargs="+", default=NAMES, metavar="SIDE", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    parser.add_argument("--worker", metavar="SIDE", help=argparse.SUPPRESS)  # one side, in the process of its own
    return parser


def _asked(flags: argparse.Namespace) -> Figures:
    names = ("queries", "latency_queries", "depth", "no_repeats", "rounds", "starts", "max_length")
    return {"model": flags.model.name, "data": flags.data.name, **{name: getattr(flags, name) for name in names}}


def work_facts(lengths: Mapping[str, Sequence[int]], scores: Sequence[Sequence[float]]) -> Figures:
    """What the pairs are like."""
    return {
        "pairs": len(lengths["every"]),
        "different_pairs": len(lengths["different"]),  # dl21 repeats passages; rrarank scores equal pairs once
        "tokens_per_pair": round(fmean(lengths["every"]), 1),
        "deviation_of_scores": round(pstdev(score for ranking in scores for score in ranking), 3),
    }


# -- the parent -------------------------------------------------------------------------------------------------------


def start(flags: argparse.Namespace) -> tuple[dict[str, Worker], dict[str, Figures], dict[str, str]]:
    """side -> its worker, ready; side -> seconds to start; side -> why it is left out."""
    skipped: dict[str, str] = {}
    workers: dict[str, Worker] = {}

    def one(name: str, turn: int) -> float:
        if name in skipped:
            return 0.0
        began = time.perf_counter()
        worker = Worker(["-m", "benchmarks.speed.engine", *sys.argv[1:], "--worker", name], flags.threads)
        answer = worker.answer()
        if "left_out" in answer:
            say(f"left out: {answer['left_out']}")
            skipped[name] = answer["left_out"]
        elif turn == flags.starts - 1:
            workers[name] = worker
            return time.perf_counter() - began
        worker.stop()
        return time.perf_counter() - began

    times = interleaved([*flags.sides, REFERENCE], flags.starts, one, what="start")
    for worker in workers.values():
        worker.ask("prepare")
    return workers, {name: {"start s": median(times[name])} for name in workers if name != REFERENCE}, skipped


def one_round(name: str, worker: Worker, turn: int, flags: argparse.Namespace) -> Figures:
    found: Figures = worker.ask("throughput", queries=flags.queries)
    found |= worker.ask("latency", first=turn * flags.latency_queries, queries=flags.latency_queries)
    return found | (worker.ask("ceiling", dtype=CEILINGS[name]) if name in CEILINGS else {})


def speed(turns: Sequence[Figures]) -> Figures:
    """Of all rounds: pairs a second, the share of time without a forward pass, percentiles of milliseconds a query."""
    pairs = sum(len(scores) for scores in turns[0]["scores"])
    found: Figures = {"pairs": pairs, "pairs / s": spread([pairs / turn["seconds"] for turn in turns])}
    if "forward" in turns[0]:
        found["outside forward"] = median(1 - turn["forward"] / turn["seconds"] for turn in turns)
    if times := [time for turn in turns for time in turn["milliseconds"]]:
        found["ms / query"] = {f"p{share}": percentile(times, share) for share in (50, 95, 99)} | {"all": times}
    return found


def computed(
    figures: Mapping[str, Figures],
    rounds: Mapping[str, Sequence[Figures]],
    lengths: Mapping[str, Sequence[int]],
    model: Path,
) -> None:
    """Add operations a second, and their share of the ceiling, to the sides that compute in float32 or bfloat16."""
    shape = Shape.of(model)
    if shape is None:
        return
    tops = {CEILINGS[name]: median(turn["ceiling"] for turn in rounds[name]) for name in CEILINGS if name in rounds}
    for name, turns in rounds.items():
        if "int8" in name or name == "flashrank":
            continue
        packed = name.startswith("rrarank-torch")
        operations = shape.first_token(lengths["different"]) if packed else shape.whole(lengths["every"])
        rate = median(operations / turn["seconds"] for turn in turns)
        top = tops.get("bfloat16" if name.endswith("bf16") else "float32")
        figures[name]["computed"] = {
            "GFLOP": operations / 1e9,
            "GFLOP / s": rate / 1e9,
            **({"torch.mm GFLOP / s": top / 1e9, "of it": rate / top} if top else {}),
        }


def agree(
    figures: Mapping[str, Figures],
    rounds: Mapping[str, Sequence[Figures]],
    reference: Sequence[Sequence[float]],
    flags: argparse.Namespace,
) -> None:
    rankings = read(flags)[: flags.queries or None]
    for name, turns in rounds.items():
        found, qrels = turns[0]["scores"], flags.data / "qrels.txt"
        figures[name]["agreement"] = fidelity.agreement(found, reference)
        figures[name]["agreement"] |= fidelity.quality(found, reference, rankings, qrels)


def report(figures: Mapping[str, Figures]) -> None:
    show([_speed(name, one) for name, one in figures.items()], {"start s": ".1f", "outside forward": ".1%"}, ",.0f")
    show([{"side": name, **one["agreement"]} for name, one in figures.items()], fidelity.FORMATS)
    if rows := [{"side": name, **one["computed"]} for name, one in figures.items() if "computed" in one]:
        show(rows, {"of it": ".1%"}, ",.0f")


def _speed(name: str, one: Figures) -> Figures:
    rates, times = one["pairs / s"], one.get("ms / query", {})
    batches = f" ({one['batch size']})" if "batch size" in one else ""
    return {
        "side": name + batches,
        "pairs / s": rates["median"],
        "least": rates["least"],
        "most": rates["most"],
        **{f"{name} ms": times.get(name) for name in ("p50", "p95", "p99")},
        "outside forward": one.get("outside forward"),
        "start s": one["start s"],
        "peak MB": one["peak MB"],
    }


def read(flags: argparse.Namespace) -> list[Ranking]:
    rankings = load_rankings(flags.data, 0, flags.depth)
    return [without_repeats(ranking) for ranking in rankings] if flags.no_repeats else rankings


# -- a worker ---------------------------------------------------------------------------------------------------------


def work(flags: argparse.Namespace) -> None:
    """Load one side, say so, and answer questions about it."""
    channel = Channel()
    try:
        side = load_side(flags.worker, Setting(flags.model, flags.max_length, flags.threads))
    except RrarankError as error:
        channel.send(left_out=str(error))
        return
    channel.send(loaded=flags.worker)
    tasks = Tasks(side, flags)
    names = ("prepare", "tune", "throughput", "latency", "lengths", "ceiling", "peak")
    channel.serve({name: getattr(tasks, name) for name in names})


class Tasks:
    """What a worker can be asked."""

    def __init__(self, side: Side, flags: argparse.Namespace) -> None:
        self.side, self.flags = side, flags

    def prepare(self) -> Figures:
        """Read the data, and score one query, in which libraries get ready."""
        self.rankings = read(self.flags)
        self.side.score(self.rankings[:1])
        return {}

    def tune(self) -> Figures:
        assert isinstance(self.side, Predict)
        times = self.side.tune(self.rankings[:2], BATCH_SIZES)
        return {"batch size": self.side.batch_size, "seconds by batch size": times}

    def throughput(self, queries: int) -> Figures:
        """The first queries in one go."""
        rankings, found = self.rankings[: queries or None], []
        self.side.forget()
        taken = seconds(lambda: found.extend(self.side.score(rankings)))
        forward = {"forward": self.side.forward.seconds} if OURS.fullmatch(self.flags.worker) else {}
        return {"seconds": taken, "scores": found, **forward}

    def latency(self, first: int, queries: int) -> Figures:
        """Queries one at a time, from some place of the run on; after its last comes its first."""
        places = [(first + offset) % len(self.rankings) for offset in range(queries)]
        return {"milliseconds": [1000 * self._once(place) for place in places]}

    def _once(self, place: int) -> float:
        self.side.forget()
        return seconds(lambda: self.side.score([self.rankings[place]]))  # type: ignore[no-any-return]

    def lengths(self, queries: int) -> Figures:
        """Tokens of every pair, and of the different ones."""
        return token_counts(self.rankings[: queries or None], self.flags.model, self.flags.max_length)  # type: ignore[no-any-return]

    def ceiling(self, dtype: str) -> Figures:
        return {"ceiling": ceiling(Shape.of(self.flags.model), dtype)}

    def peak(self) -> Figures:
        return {"peak MB": peak_mb()}


if __name__ == "__main__":
    main()
