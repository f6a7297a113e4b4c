"""Mixed hostile load on a server: do its other clients notice, and does its memory grow?

    python tests/slow/serve_attacks.py [--seconds 60] [--rounds 3] [--clients 2] [--flags …]

Starts `python -m rrarank.serve` with the model that ships. After a round to warm up, a process of attackers does all of
this at once, round after round: bodies of millions of JSON values; more silent connections than the server allows;
heads and bodies that trickle; requests of 1,000 long passages whose client leaves, or stays; answers that nobody
reads; garbage. Meanwhile other clients ask for ten short passages each. Exit 1 if the 99th percentile of their times
is above --p99 seconds, if anyone gets a 5xx but 503, if they are refused, or if the memory of the rounds differs by
more than 5 %.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
from tabulate import tabulate

from rrarank.cli.parser import positive
from rrarank.sources.sample import sample_rankings

GROWTH = 1.05
SILENT = 1_100
WORDS = "what is the best way to boil an egg without a pan of water on a stove".split()


def main() -> None:
    parser = argparse.ArgumentParser(description="Mixed hostile load on a server of ours on the loopback.")
    parser.add_argument("--seconds", type=positive, default=60, help="of a round")
    parser.add_argument("--rounds", type=positive, default=3, help="measured, after one to warm up")
    parser.add_argument("--clients", type=positive, default=2, help="that mean no harm")
    parser.add_argument("--p99", type=float, default=2.0, help="seconds")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="the rest: flags of rrarank.serve")
    flags = parser.parse_args()
    with serving(flags.flags) as server:
        quiet = asyncio.run(ask(server, flags.clients, min(10, flags.seconds)))
        with attacking(server.port) as attackers:
            rounds = [asyncio.run(ask(server, flags.clients, flags.seconds)) for _ in range(flags.rounds + 1)]
        print(tabulate([row("quiet", quiet), *(row(f"round {i}", one) for i, one in enumerate(rounds))], HEADERS))
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs; the log has {server.log_size:,} bytes")
        print(f"attackers' answers: {dict(sorted(attackers.items()))}")
    sys.exit("\n".join(faults(rounds, attackers, flags.p99)) or 0)


@dataclass
class Round:
    """What the other clients saw: seconds of each answer of 200, answers by status, the server's MiB each second."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)

    @property
    def p99(self) -> float:
        return quantiles(self.seconds, n=100)[98]


HEADERS = ["", "answers", "p50 s", "p99 s", "longest s", "MiB (median)", "MiB (most)"]


def row(name: str, one: Round) -> list[object]:
    times = [f"{value:.3f}" for value in (median(one.seconds), one.p99, max(one.seconds))]
    return [name, dict(one.statuses), *times, f"{median(one.memory):.0f}", f"{max(one.memory):.0f}"]


def faults(rounds: Sequence[Round], attackers: Counter[str], p99: float) -> Iterator[str]:
    measured = rounds[1:]
    for number, one in enumerate(measured, start=1):
        if one.p99 > p99:
            yield f"round {number}: p99 {one.p99:.2f} s, expected at most {p99:g}"
        if set(one.statuses) != {"200"}:
            yield f"round {number}: the other clients got {dict(one.statuses)}, expected 200 only"
    if bad := {status for status in attackers if status.startswith("5") and status != "503"}:
        yield f"attackers got {sorted(bad)}, expected no 5xx but 503"
    memory = [median(one.memory) for one in measured]
    if max(memory) > GROWTH * min(memory):
        yield f"memory: {', '.join(f'{value:.0f}' for value in memory)} MiB, expected within 5 %"


# -- the server and its other clients ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    port: int
    process: psutil.Process
    log: Path

    @property
    def log_size(self) -> int:
        return self.log.stat().st_size


@contextmanager
def serving(flags: Sequence[str]) -> Iterator[Server]:
    command = [sys.executable, "-m", "rrarank.serve", "--port", "0", "--device", "cpu", *flags]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with (
            log.open("w") as file,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True) as process,
        ):
            try:
                assert process.stdout is not None
                url = process.stdout.readline().strip()
                assert url, log.read_text()
                yield Server(int(url.rpartition(":")[2]), psutil.Process(process.pid), log)
            finally:
                process.terminate()


async def ask(server: Server, clients: int, seconds: float) -> Round:
    """Clients that ask without a pause for so long."""
    found, end = Round(), time.monotonic() + seconds
    bodies = [
        json.dumps({"query": ranking.query.text, "documents": [c.text for c in ranking.candidates[:10]]}).encode()
        for ranking in sample_rankings(depth=10)
    ]

    async def client(number: int) -> None:
        while time.monotonic() < end:
            number += 1
            started = time.monotonic()
            status = await post(server.port, bodies[number % len(bodies)])
            found.statuses[status] += 1
            if status == "200":
                found.seconds.append(time.monotonic() - started)

    async def watch() -> None:
        while time.monotonic() < end:
            found.memory.append(server.process.memory_info().rss / 2**20)
            await asyncio.sleep(1)

    await asyncio.gather(watch(), *(client(1_000 * number) for number in range(clients)))
    return found


async def post(port: int, body: bytes, path: str = "/v1/rerank", seconds: float = 120.0) -> str:
    """The status of the answer."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(head(len(body), path) + body)
            line = await reader.readline()
            await reader.read()
            return line.split()[1].decode() if line else "closed"
        except ConnectionError:
            return "closed"
        finally:
            writer.close()


def head(length: int, path: str = "/v1/rerank") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


# -- the attackers ----------------------------------------------------------------------------------------------------


@contextmanager
def attacking(port: int) -> Iterator[Counter[str]]:
    """Attackers in a process of their own; the counter holds their answers when they have ended."""
    stop, answers = multiprocessing.Event(), multiprocessing.SimpleQueue()  # type: ignore[var-annotated]
    process = multiprocessing.Process(target=attack, args=(port, stop, answers), daemon=True)
    process.start()
    statuses: Counter[str] = Counter()
    try:
        yield statuses
    finally:
        stop.set()
        statuses.update(answers.get())
        process.join(30)


def attack(port: int, stop: Any, answers: Any) -> None:
    statuses: Counter[str] = Counter()

    async def repeat(once: Callable[[], Awaitable[str]], name: str, pause: float) -> None:
        while True:
            try:
                status = await once()
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                status = "closed"
            statuses[status] += 1
            await asyncio.sleep(pause)

    async def run() -> None:
        attacks = [(millions_of_values(port), 0.5), (leaves(port), 0.3), (stays(port), 0.1), (stays(port), 0.1)]
        attacks += [(garbage(port), 0.05), (does_not_read(port), 1.0), (wrong(port), 0.02)]
        attacks += [
            (trickles(port, part), 0.1) for part in (head(99)[:40], head(10**6) + b'{"query"') for _ in range(20)
        ]
        tasks = [asyncio.ensure_future(repeat(once, once.__name__, pause)) for once, pause in attacks]
        tasks.append(asyncio.ensure_future(be_silent(port)))
        await asyncio.get_running_loop().run_in_executor(None, stop.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
    answers.put(statuses)


def millions_of_values(port: int) -> Callable[[], Awaitable[str]]:
    bodies = [
        b'{"query":"q","documents":[' + part * (7_800_000 // len(part)) + b'""]}' for part in (b"{},", b'"",', b"1,")
    ]

    async def once() -> str:
        bodies.append(bodies.pop(0))
        return await post(port, bodies[0])

    return once


def long_request(more: int = 0) -> bytes:
    """1,000 passages of 900 characters, all of them different."""
    texts = [" ".join([str(number + more), *WORDS] * 12)[:900] for number in range(1_000)]
    return json.dumps({"query": "how to boil an egg", "documents": texts, "return_documents": True}).encode()


def leaves(port: int) -> Callable[[], Awaitable[str]]:
    body = long_request()

    async def once() -> str:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(len(body)) + body)
        await writer.drain()
        await asyncio.sleep(0.5)
        writer.close()
        return "left"

    return once


def stays(port: int) -> Callable[[], Awaitable[str]]:
    body = long_request(7)

    async def once() -> str:
        return await post(port, body)

    return once


def does_not_read(port: int) -> Callable[[], Awaitable[str]]:
    body = json.dumps({"query": "q", "documents": ["x " * 100_000], "return_documents": True}).encode()

    async def once() -> str:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write((head(len(body)) + body) * 3)
        await asyncio.sleep(20)
        writer.transport.abort()
        return "left"

    return once


def garbage(port: int) -> Callable[[], Awaitable[str]]:
    parts = [os.urandom(2_000), b"GET / HTTP/9.9\r\n\r\n", head(9)[:-4] + b"x" * 70_000, head(100_000) + b"[" * 100_000]

    async def once() -> str:
        parts.append(parts.pop(0))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(parts[0])
        line = await asyncio.wait_for(reader.readline(), 30)
        writer.close()
        return line.split()[1].decode() if line else "closed"

    return once


def wrong(port: int) -> Callable[[], Awaitable[str]]:
    count = iter(range(10**9))

    async def once() -> str:
        return await post(port, b'{"query": 1}', f"/{next(count)}" if next(count) % 4 else "/v1/rerank")

    return once


def trickles(port: int, start: bytes) -> Callable[[], Awaitable[str]]:
    """A byte a second after the start, until the server closes."""

    async def once() -> str:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        with suppress(OSError):
            for _ in range(60):
                await asyncio.sleep(1)
                writer.write(b"x")
                await writer.drain()
        writer.close()
        return "trickled"

    return once


async def be_silent(port: int) -> None:
    """Keep connections open without a word; open new ones for those that the server closes."""
    open_ones: list[asyncio.StreamWriter] = []
    while True:
        open_ones = [one for one in open_ones if not one.is_closing()]
        for _ in range(min(100, SILENT - len(open_ones))):
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                open_ones.append(writer)
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    main()
