"""Several processes behind one port, each a whole server. uvicorn starts them again when they die.

They share the listening socket: what none has accepted yet is accepted by another when one dies.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, NoReturn

from fastapi import FastAPI
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from rrarank.cli.verbs import show_messages
from rrarank.errors import RrarankError, say
from rrarank.serve.config import ServeConfig
from rrarank.serve.server import prepare_process, quieten, uvicorn_config
from rrarank.serve.watch import MULTIPROCESS

HUNG_S = 30.0  # a worker that does not answer its parent for so long is killed
START_S = 600.0  # on SIGHUP: the old worker stays if the new one has not started by then


def serve_by_workers(
    build: Callable[[], FastAPI], sock: socket.socket, config: ServeConfig, announce: Callable[[], None]
) -> None:
    """Serve until SIGTERM or Ctrl-C; then every worker finishes what it has accepted. SIGHUP replaces them one by one.

    Args:
        build: makes the application in each worker; it is pickled.
        announce: called when all workers are ready.

    Raises:
        RrarankError: what a worker could not start by.
    """
    quieten(logging.CRITICAL)  # we say ourselves what happens to workers
    with _shared_folder() as folder:
        app = WorkerApp(build, folder, config.connections, config.timeout)
        more: dict[str, Any] = {"factory": True, "workers": config.workers, "timeout_worker_healthcheck": START_S}
        workers = Workers(uvicorn_config(app, config.timeout, **more), sock, folder, announce)
        workers.run()
        if app.failure.exists():
            raise _failure(**json.loads(app.failure.read_text()))


def _failure(message: str, exit_code: int) -> RrarankError:
    error = RrarankError(message)
    error.exit_code = exit_code
    return error


@contextmanager
def _shared_folder() -> Iterator[Path]:
    """Where the workers keep their counts."""
    with tempfile.TemporaryDirectory(prefix="rrarank-") as folder:
        os.environ[MULTIPROCESS] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ[MULTIPROCESS]


@dataclass(frozen=True)
class WorkerApp:
    """Makes the application within a worker. If the first ones cannot start, their parent is told why, and stops."""

    build: Callable[[], FastAPI]
    folder: Path
    connections: int
    timeout_s: float

    @property
    def failure(self) -> Path:
        return self.folder / "failure.json"

    def __call__(self) -> FastAPI:
        show_messages()
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            app = self.build()
        except RrarankError as error:
            self._give_up(error)
        prepare_process(self.connections, self.timeout_s)
        loaded(self.folder, os.getpid()).touch()
        return app

    def _give_up(self, error: RrarankError) -> NoReturn:
        if (self.folder / STARTED).exists():  # the next one may have more luck
            say(f"error: {error}")
            os._exit(error.exit_code)
        self.failure.write_text(json.dumps({"message": str(error), "exit_code": error.exit_code}))
        os._exit(STARTUP_FAILURE)


STARTED = "started"


def loaded(folder: Path, pid: int | None) -> Path:
    """A file that is there once that worker has loaded its models."""
    return folder / f"loaded-{pid}"


def _end_with_parent() -> None:
    """A worker whose parent was killed would keep the port."""
    if parent := parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


class Workers(Multiprocess):
    """uvicorn's supervisor, with a line in our log for each worker that died."""

    def __init__(self, config: Config, sock: socket.socket, folder: Path, announce: Callable[[], None]) -> None:
        super().__init__(config, [sock])
        self.folder, self.announce = folder, announce
        self.known: set[int] = set()

    def keep_subprocess_alive(self) -> None:
        """As uvicorn's, but a worker that loads its models, however long, is not taken for one that hangs."""
        for place, process in enumerate(self.processes):
            if not self.should_exit.is_set() and not self._lives(process):
                self._replace(place, process)
        self._forget_dead()
        started = self.folder / STARTED
        if not started.exists() and all(self._has_loaded(one) and one.is_ready() for one in self.processes):
            started.touch()
            self.announce()

    def _lives(self, process: Process) -> bool:
        return process.process.is_alive() and (not self._has_loaded(process) or process.ping(HUNG_S))

    def _has_loaded(self, process: Process) -> bool:
        return loaded(self.folder, process.pid).exists()

    def _replace(self, place: int, process: Process) -> None:
        process.kill()
        process.join()
        if process.exitcode == STARTUP_FAILURE:
            return self.should_exit.set()
        self.processes[place] = Process(self.config, self.sockets)
        self.processes[place].start()
        say(f"worker {process.pid} died ({_how(process)}); worker {self.processes[place].pid} takes its place")

    def _forget_dead(self) -> None:
        """Of a dead worker the counts stay, and what it held does not."""
        alive = {one.pid for one in self.processes if one.pid}
        for pid in self.known - alive:
            mark_process_dead(pid, str(self.folder))  # type: ignore[no-untyped-call]
        self.known = alive

    def terminate_all(self) -> None:
        for sock in self.sockets:  # else it would listen until the last worker has ended
            sock.close()
        super().terminate_all()


def _how(process: Process) -> str:
    code = process.exitcode or 0
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
