"""Real server processes on the loopback, each on a free port."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx


@dataclass(frozen=True)
class Server:
    url: str
    process: subprocess.Popen[str]
    log: Path

    @cached_property
    def client(self):
        return httpx.Client(base_url=self.url, timeout=30)

    def post(self, body, path="/v1/rerank", **more):
        return self.client.post(path, json=body, **more)

    def get(self, path, **more):
        return self.client.get(path, **more)

    def metric(self, name, **more):
        """The sum of a metric's lines in /metrics."""
        lines = self.get("/metrics", **more).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[ {{]", line))

    def stop(self):
        """By SIGTERM; its exit code."""
        self.process.terminate()
        return self.process.wait(20)


@contextmanager
def serving(folder, *flags, command=("-m", "rrarank.serve"), **environment) -> Iterator[Server]:
    """A server on a free port; its log goes to a file."""
    log = folder / "log"
    with open(log, "w") as file:
        process = subprocess.Popen(
            [sys.executable, *map(str, command), "--port", "0", *map(str, flags)],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env=os.environ | environment,
        )
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http"), log.read_text()
            server = Server(url, process, log)
            with server.client:
                yield server
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()
