"""Load on a server of ours on the loopback: throughput, latencies, refusals and memory.

    python -m benchmarks serving load [--output F.json] [--clients 1 8 64] [--passages 10 100] [--seconds 30]
        [--soak 600] [--flags …]

Starts `python -m rrarank.serve`, then for each number of clients and of passages has locust's users ask the sample's
queries over and over, each without a pause. Below the queue's length no request may fail; then a server with a short
queue is asked by more than it takes: all but 429 would be a fault, and so would be none. What
was begun is waited for, which takes minutes for 64 clients of 100 passages on a CPU; a short version, of less than a
minute: `--clients 1 8 --passages 10 --seconds 5`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import gevent  # type: ignore[import-untyped]
from gevent import socket  # type: ignore[import-untyped]
from locust import constant, task  # type: ignore[import-untyped]
from locust.contrib.fasthttp import FastHttpUser  # type: ignore[import-untyped]
from locust.env import Environment  # type: ignore[import-untyped]
from tabulate import tabulate

from benchmarks.common import conclude, machine
from benchmarks.serving.servers import PATH, Server, ours, started
from rrarank.cli.parser import positive
from rrarank.errors import say
from rrarank.sources.sample import sample_rankings

SHORT_QUEUE = 2
SOAKING = 8  # clients of --soak
GROWTH = 1.1  # of the memory, at most


def main() -> None:
    parser = argparse.ArgumentParser(description="Load on a server of ours on the loopback.")
    parser.add_argument("--clients", type=positive, nargs="+", default=[1, 8, 64])
    parser.add_argument("--passages", type=positive, nargs="+", default=[10, 100], help="per request")
    parser.add_argument("--seconds", type=positive, default=30, help="of each measurement")
    parser.add_argument("--soak", type=positive, metavar="S", help="also ask for so long, and watch the memory")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of the server's CPU")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="the rest: flags of rrarank.serve")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    common = ["--timeout", "600", *flags.flags]
    with started(ours(flags.threads, *common, "--queue", str(max(flags.clients))), flags.threads) as server:
        loads = [
            measure(server, clients, passages, flags.seconds)
            for passages, clients in itertools.product(flags.passages, flags.clients)
        ]
    with started(ours(flags.threads, *common, "--queue", str(SHORT_QUEUE)), flags.threads) as server:
        crowd = measure(server, max(*flags.clients, 8 * SHORT_QUEUE), min(flags.passages), flags.seconds)
    if flags.soak:
        with started(ours(flags.threads, *common, "--queue", "64"), flags.threads) as server, hanging_up(server.url):
            loads.append(measure(server, SOAKING, min(flags.passages), flags.soak))
    faults = [*(f"{load.statuses}" for load in loads if set(load.statuses) != {"200"}), *faults_of_crowd(crowd)]
    faults += faults_of_memory(loads[-1].memory) if flags.soak else []
    show(loads, crowd)
    conclude(flags.output, machine(flags.threads), loads=[asdict(load) for load in [*loads, crowd]], faults=faults)
    sys.exit("\n".join(faults) if faults else 0)


@dataclass(frozen=True)
class Load:
    """What was measured.

    Args:
        statuses: how often each HTTP status was answered; `0`: no answer.
        seconds: of a request that was answered by 200: median and percentiles.
        memory: the server's resident MiB, once a second.
    """

    clients: int
    passages: int
    requests_s: float
    seconds: dict[str, float]
    statuses: dict[str, int]
    memory: list[float]


def faults_of_crowd(crowd: Load) -> Iterator[str]:
    if set(crowd.statuses) - {"200", "429"}:
        yield f"above the queue's length: {crowd.statuses}, expected 200 and 429 only"
    if not crowd.statuses.get("429"):
        yield f"above the queue's length: {crowd.statuses}, expected 429 among them"


def faults_of_memory(memory: Sequence[float]) -> Iterator[str]:
    """
    Args:
        memory: MiB, once a second; the first minute is that of the first requests of each length.
    """
    say(f"MiB, minute by minute: {[round(value) for value in memory[::60]]}")
    later = memory[60:]
    first, last = median(later[: len(later) // 3]), median(later[-len(later) // 3 :])
    if last > GROWTH * first:
        yield f"memory grows: {first:.0f} MiB after a minute, {last:.0f} at the end"


# -- the load ---------------------------------------------------------------------------------------------------------


def measure(server: Server, clients: int, passages: int, seconds: int) -> Load:
    """That many clients ask without a pause; what was begun within the time is waited for."""
    statuses: Counter[str] = Counter()
    environment = Environment(user_classes=[user_class(server.url, passages, statuses)], stop_timeout=600)
    runner = environment.create_local_runner()
    runner.start(clients, spawn_rate=clients)
    memory = []
    for _ in range(seconds):
        gevent.sleep(1)
        memory.append(round(server.memory, 1))
    runner.stop()
    runner.quit()
    good = environment.stats.get("200", "POST")
    found = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    times = {name: good.get_response_time_percentile(part) / 1000 for name, part in found.items()}
    load = Load(clients, passages, round(good.total_rps, 2), times, dict(statuses), memory)
    say(f"{clients} clients, {passages} passages: {load.requests_s:.1f} requests/s, {dict(statuses)}")
    return load


def user_class(url: str, passages: int, statuses: Counter[str]) -> type[FastHttpUser]:
    bodies = itertools.cycle(list(requests(passages)))

    class Asker(FastHttpUser):  # type: ignore[misc]
        host, wait_time, network_timeout, connection_timeout = url, constant(0), 600.0, 600.0

        @task
        def ask(self) -> None:
            with self.client.post(PATH, json=next(bodies), name="all", catch_response=True) as reply:
                statuses[str(reply.status_code)] += 1
                reply.request_meta["name"] = str(reply.status_code)  # a 429 comes fast: its time is not a 200's
                reply.success()
            if reply.status_code == 429:
                gevent.sleep(0.05)

    return Asker


def requests(passages: int) -> Iterator[dict[str, Any]]:
    """The sample's queries, each with as many passages; where it has fewer candidates, with other queries' too."""
    rankings = sample_rankings(depth=100)
    texts = [candidate.text for ranking in rankings for candidate in ranking.candidates]
    for place, ranking in enumerate(rankings):
        own = [candidate.text for candidate in ranking.candidates]
        others = itertools.islice(itertools.cycle(texts[place:] + texts[:place]), passages)
        yield {"query": ranking.query.text, "documents": [*own, *others][:passages]}


@contextmanager
def hanging_up(url: str) -> Iterator[None]:
    """Meanwhile a client sends a whole request once a second, and goes away before it is answered."""
    host, _, port = url.removeprefix("http://").partition(":")
    [body, *_] = (json.dumps(one).encode() for one in requests(100))
    head = f"POST /v1/rerank HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"

    def come_and_go() -> None:
        while True:
            with socket.create_connection((host, int(port)), timeout=60) as connection:
                connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
                gevent.sleep(0.2)
            gevent.sleep(0.8)

    greenlet = gevent.spawn(come_and_go)
    try:
        yield
    finally:
        assert not greenlet.ready(), "the client that hangs up died"
        greenlet.kill()


# -- the table --------------------------------------------------------------------------------------------------------


def show(loads: Sequence[Load], crowd: Load) -> None:
    headers = [
        "clients",
        "passages",
        "requests/s",
        "pairs/s",
        "p50 s",
        "p95 s",
        "p99 s",
        "answers",
        "MiB, first",
        "last",
    ]
    rows = [
        [
            load.clients,
            load.passages,
            f"{load.requests_s:.1f}",
            f"{load.requests_s * load.passages:.0f}",
            *(f"{load.seconds[name]:.3f}" for name in ("p50", "p95", "p99")),
            json.dumps(load.statuses),
            f"{load.memory[0]:.0f}",
            f"{load.memory[-1]:.0f}",
        ]
        for load in [*loads, crowd]
    ]
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))
    print(f"the last row: a queue of {SHORT_QUEUE}")


if __name__ == "__main__":
    main()
