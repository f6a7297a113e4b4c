"""Servers on the loopback for the benchmarks: ours, CrossEncoder behind FastAPI, and infinity, all asked alike."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from rrarank.errors import say

MODEL = Path(__file__).resolve().parents[2] / "prebuilt" / "rra-bert-mini"
PATH = "/v1/rerank"
ASKED = {
    "query": "how long to boil an egg",
    "documents": ["Eggs keep for weeks in the fridge.", "Boil an egg for ten minutes if you want it hard."],
}
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Server:
    """
    Args:
        seconds: from its start to its first answer.
    """

    url: str
    process: psutil.Process
    seconds: float

    @property
    def memory(self) -> float:
        """Resident MiB, of its workers too."""
        family = [self.process, *self.process.children(recursive=True)]
        return float(sum(one.memory_info().rss for one in family) / MEBIBYTE)

    @property
    def has_torch(self) -> bool:
        return any("libtorch" in one.path for one in self.process.memory_maps())


def ours(threads: int, *flags: str) -> list[str]:
    return [sys.executable, "-m", "rrarank.serve", "--device", "cpu", "--threads", str(threads), *flags]


def cross_encoder(threads: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.serving.cross_encoder", str(MODEL), "--threads", str(threads)]


def infinity(python: str) -> list[str]:
    """
    Args:
        python: of an environment that has infinity-emb.
    """
    program = "from infinity_emb.cli import cli; cli()"
    flags = ("--engine", "torch", "--device", "cpu", "--no-bettertransformer", "--url-prefix", "/v1")
    return [python, "-c", program, "v2", "--model-id", str(MODEL), *flags]


@contextmanager
def started(command: Sequence[str], threads: int) -> Iterator[Server]:
    """A server that has given its first answer; it gets `--port`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    say(" ".join(command))
    settings = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "TQDM_DISABLE": "1"}
    begin = time.perf_counter()
    with subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | settings,
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            while ask(url) != 1:
                if process.poll() is not None:
                    sys.exit(f"{' '.join(command)}: ended with exit code {process.returncode} before its first answer")
                time.sleep(0.02)
            yield Server(url, psutil.Process(process.pid), time.perf_counter() - begin)
        finally:
            process.terminate()


def ask(url: str) -> int | None:
    """The place of the best document; None: no answer yet."""
    request = urllib.request.Request(url + PATH, json.dumps(ASKED).encode(), {"content-type": "application/json"})
    with suppress(OSError), urllib.request.urlopen(request, timeout=60) as reply:
        best: int = json.load(reply)["results"][0]["index"]
        return best
    return None
