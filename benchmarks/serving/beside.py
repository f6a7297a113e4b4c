"""Latency of our server beside others with the same weights, in one run; and of HTTP beside the bare engine.

    python -m benchmarks serving beside [--clients 1 8 64] [--passages 10] [--seconds 20] [--infinity PYTHON]
        [--requests 30] [--output FILE.json]

All servers are up; for each number of clients one after the other is asked by locust's users, without a pause. PYTHON
is of an environment that has infinity-emb; without it, infinity is left out. Then one client sends 100 passages, pairs
of 95 tokens, `--requests` times, each in turn with the engine in this process.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import gevent  # type: ignore[import-untyped]  # noqa: F401  # before what uses sockets
import httpx

from benchmarks.common import conclude, machine, percentile, show
from benchmarks.serving.load import measure
from benchmarks.serving.servers import PATH, Server, cross_encoder, infinity, ours, started
from rrarank.cli.parser import positive
from rrarank.data.types import Candidate, Query, Ranking
from rrarank.engine.blocks import score_block
from rrarank.engine.registry import load_reranker
from rrarank.engine.reranker import Pointwise
from rrarank.errors import say
from rrarank.sources.sample import sample_rankings

PASSAGES, TOKENS = 100, 95


def main() -> None:
    parser = argparse.ArgumentParser(description="Our server beside others with the same weights.")
    parser.add_argument("--clients", type=positive, nargs="+", default=[1, 8, 64])
    parser.add_argument("--passages", type=positive, default=10, help="per request")
    parser.add_argument("--seconds", type=positive, default=20, help="of each measurement")
    parser.add_argument("--infinity", metavar="PYTHON", help="Python of an environment with infinity-emb")
    parser.add_argument("--requests", type=positive, default=30, help="of 100 passages, one client beside the engine")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of each server's CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    commands = {"rrarank": ours(flags.threads, "--queue", "1000", "--timeout", "600")}
    commands["CrossEncoder behind FastAPI"] = cross_encoder(flags.threads)
    if flags.infinity:
        commands["infinity"] = infinity(flags.infinity)
    with ExitStack() as stack:
        servers = {name: stack.enter_context(started(command, flags.threads)) for name, command in commands.items()}
        rows = list(loads(servers, flags.clients, flags.passages, flags.seconds))
        over_http = beside_engine(servers["rrarank"], flags.requests, flags.threads)
    show(rows, {"requests/s": ",.1f", "MiB": ",.0f"}, ",.3f")
    show([over_http], {}, ",.3f")
    conclude(flags.output, machine(flags.threads), rows=rows, one_client=over_http)


def loads(servers: dict[str, Server], clients: list[int], passages: int, seconds: int) -> Iterator[dict[str, Any]]:
    for count in clients:
        for name, server in servers.items():
            say(f"{name}:")
            load = asdict(measure(server, count, passages, seconds))
            times = {f"{part} s": value for part, value in load["seconds"].items()}
            yield {
                "clients": count,
                "server": name,
                "requests/s": load["requests_s"],
                **times,
                "answers": ", ".join(f"{many:,} x {status}" for status, many in load["statuses"].items()),
                "MiB": load["memory"][-1],
            }


def beside_engine(server: Server, requests: int, threads: int) -> dict[str, float]:
    """Median and 95th percentile of both, and how much the medians differ."""
    reranker = load_reranker(device="cpu", threads=threads)
    found: dict[str, list[float]] = {"engine": [], "HTTP": []}
    with httpx.Client(base_url=server.url, timeout=600) as client:
        for number, (query, texts) in enumerate(questions(reranker, requests + 3)):
            candidates = tuple(Candidate(str(place), text, 0.0) for place, text in enumerate(texts))
            begin = time.perf_counter()
            score_block([Ranking(Query("q", query), candidates)], reranker)
            between = time.perf_counter()
            client.post(PATH, json={"query": query, "documents": texts}).raise_for_status()
            end = time.perf_counter()
            if number >= 3:  # the first warm both up
                found["engine"].append(between - begin)
                found["HTTP"].append(end - between)
    row = {f"{name} {part}": value for name, times in found.items() for part, value in _parts(times)}
    return row | {"HTTP / engine": median(found["HTTP"]) / median(found["engine"])}


def _parts(times: list[float]) -> list[tuple[str, float]]:
    return [("p50 s", median(times)), ("p95 s", percentile(times, 95))]


def questions(reranker: Pointwise, count: int) -> Iterator[tuple[str, list[str]]]:
    """Queries of the sample, each with texts of its words that fill a pair; no text comes twice."""
    rankings = sample_rankings(depth=100)
    words = [word for ranking in rankings for candidate in ranking.candidates for word in candidate.text.split()]
    place = 0
    for number in range(count):
        query, texts = rankings[number % len(rankings)].query.text, []
        for _ in range(PASSAGES):
            place = (place + 37) % (len(words) - TOKENS)
            texts.append(_filling(reranker, query, words[place : place + TOKENS]))
        yield query, texts


def _filling(reranker: Pointwise, query: str, words: list[str]) -> str:
    """As many of the words as a pair of `TOKENS` tokens holds."""
    least, most = 0, len(words)
    while least < most:
        middle = (least + most + 1) // 2
        [pair] = reranker.encode(query, [" ".join(words[:middle])])
        least, most = (middle, most) if len(pair["input_ids"]) <= TOKENS else (least, middle - 1)
    return " ".join(words[:least])


if __name__ == "__main__":
    main()
