"""Blocks scored by Ray Data: actors that each hold the model take them as they become free, here or on a cluster.

The blocks, and what scores each of them, are the engine's own; so with the same back end and threads the bits are, too.
A worker that dies is started again, and what it was at is done again.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rrarank.data.types import Candidate, Hit, Query, Ranking
from rrarank.engine.blocks import rank_block
from rrarank.engine.passages import WHOLE, Passages
from rrarank.engine.registry import load_reranker
from rrarank.errors import MissingResource, RrarankError

CONNECT_S = 5.0


@dataclass(frozen=True)
class RayConfig:
    """Who works where.

    Args:
        workers: actors, each with a model of its own.
        threads: CPU threads of each.
        address: of a cluster that runs, as `ray.init` takes it; empty: started here, and ended with the job.
        gpus: of each actor; a share is taken, too.
    """

    workers: int = 2
    threads: int = 1
    address: str = ""
    gpus: float = 0.0


class RayBlocks:
    """Scores blocks: called with them, gives (place, hits best first a query) of each, as they are finished.

    Args:
        reranker: a name that the workers know, too: one of ours, or a plug-in installed there.
        settings: of the reranker; a model's folder must be there under the same path on every machine.
    """

    def __init__(
        self, reranker: str, settings: Mapping[str, object], config: RayConfig, passages: Passages = WHOLE
    ) -> None:
        model = settings.get("model")
        folder = {"model": str(Path(model).resolve())} if isinstance(model, str) and Path(model).is_dir() else {}
        self._reranker, self._passages, self._config, self.threads = reranker, passages, config, config.threads
        device = {"device": "cuda"} if config.gpus else {}  # a worker sees only the one that Ray gives it
        self._settings = {**settings, **folder, **device, "threads": config.threads}

    def __call__(self, blocks: Sequence[Sequence[Ranking]]) -> Iterator[tuple[int, list[list[Hit]]]]:
        """
        Raises:
            RrarankError: of a worker's own, such as a model that gives no finite scores.
            MissingResource: no cluster at the address.
        """
        if not blocks:
            return
        with _ray(self._config), _errors_of_workers():
            for row in tqdm(self._rows(blocks), total=len(blocks), unit=" blocks", disable=None):
                yield row["place"], [[Hit(*hit) for hit in hits] for hits in json.loads(row["hits"])]

    def _rows(self, blocks: Sequence[Sequence[Ranking]]) -> Iterator[Any]:
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False  # there is one of ours
        rows = [{"place": place, "block": _packed(block)} for place, block in enumerate(blocks)]
        actors = ray.data.ActorPoolStrategy(size=min(self._config.workers, len(blocks)))
        scored = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _worker(self._reranker, self._settings, self._passages),
            batch_size=1,
            compute=actors,
            num_cpus=self._config.threads,
            num_gpus=self._config.gpus or None,
        )
        yield from scored.iter_rows()


# -- flags -------------------------------------------------------------------------------------------------------------


# -- here and there ----------------------------------------------------------------------------------------------------


def _worker(name: str, settings: Mapping[str, object], passages: Passages) -> type:
    """The class of the actors; it holds what makes the reranker, so that one that is started again has it."""

    class Worker:
        def __init__(self) -> None:
            self.reranker = load_reranker(name, **settings)

        def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
            found = [rank_block(_unpacked(block), self.reranker, passages) for block in batch["block"]]
            return {"place": list(batch["place"]), "hits": [json.dumps(hits) for hits in found]}

    return Worker


def _packed(block: Sequence[Ranking]) -> str:
    """JSON holds every float exactly."""
    return json.dumps([[astuple(r.query), [astuple(c) for c in r.candidates]] for r in block], ensure_ascii=False)


def _unpacked(text: str) -> list[Ranking]:
    return [Ranking(Query(*query), tuple(Candidate(*one) for one in found)) for query, found in json.loads(text)]


@contextmanager
def _ray(config: RayConfig) -> Iterator[None]:
    quiet = {"RAY_DATA_LOG_LEVEL": "ERROR", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", **quiet}.items():  # nothing is told to anyone elsewhere
        os.environ.setdefault(name, value)
    _check_silent_address(config.address)
    handler = signal.getsignal(signal.SIGTERM)
    import ray
    from ray.exceptions import AuthenticationError

    logging.getLogger("ray").setLevel(logging.ERROR)
    told: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not config.address:
        told |= {"num_cpus": config.workers * config.threads, "include_dashboard": False}
    try:
        ray.init(address=config.address or "local", **told)
    except (ConnectionError, ValueError, RuntimeError, AuthenticationError) as error:
        said = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        hint = "; if it asks for its token, set RAY_AUTH_MODE=token (and RAY_AUTH_TOKEN)" if config.address else ""
        raise MissingResource(f"no Ray cluster at {config.address or 'this machine'} ({said}){hint}") from None
    logging.getLogger("ray").setLevel(logging.ERROR)  # which init sets anew
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray's own would end the job without a word
    try:
        yield
    finally:
        ray.shutdown()


def _check_silent_address(address: str) -> None:
    """Nobody listens there: Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
        except OSError as error:
            raise MissingResource(f"no Ray cluster at {address} ({error.strerror or error})") from None


@contextmanager
def _errors_of_workers() -> Iterator[None]:
    """What a worker raised for a user's eyes is raised here; the rest keeps its traceback."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, RrarankError):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if cause is None:
            raise
        raise type(cause)(str(cause).splitlines()[-1]) from None
