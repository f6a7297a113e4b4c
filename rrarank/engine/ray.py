"""Blocks scored by Ray Data: actors that each hold the model, on this machine or a cluster.

Blocks are scored as in one process, so with the same back end and threads the scores are equal to the bit. A worker
that dies is started again and repeats its block.
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
from rrarank.engine.blocks import ScoredBlock, score_block
from rrarank.engine.passages import WHOLE, Passages
from rrarank.engine.registry import load_reranker
from rrarank.errors import MissingResource, RrarankError

CONNECT_S = 5.0


@dataclass(frozen=True)
class RayConfig:
    """How many workers, and where.

    Args:
        workers: actors, each with its own copy of the model.
        threads: CPU threads of each.
        address: of a running cluster, as `ray.init` takes it; empty to start one here for this job.
        gpus: per actor; may be a fraction.
    """

    workers: int = 2
    threads: int = 1
    address: str = ""
    gpus: float = 0.0


class RayBlocks:
    """Scores blocks on workers (`engine.blocks.RemoteScorer`).

    Args:
        reranker: a name that the workers know too: one of ours, or a plug-in installed there.
        settings: of the reranker; a model folder must have the same path on every machine.
    """

    def __init__(
        self, reranker: str, settings: Mapping[str, object], config: RayConfig, passages: Passages = WHOLE
    ) -> None:
        model = settings.get("model")
        folder = {"model": str(Path(model).resolve())} if isinstance(model, str) and Path(model).is_dir() else {}
        self._reranker, self._passages, self._config, self.threads = reranker, passages, config, config.threads
        device = {"device": "cuda"} if config.gpus else {}  # a worker sees only the GPU that Ray gives it
        self._settings = {**settings, **folder, **device, "threads": config.threads}

    def __call__(self, blocks: Sequence[Sequence[Ranking]]) -> Iterator[tuple[int, ScoredBlock]]:
        """(place, what was found) of each block, as they finish.

        Raises:
            RrarankError: a worker failed, for example because the model's scores are not finite.
            MissingResource: no cluster answers at the address.
        """
        if not blocks:
            return
        with _ray(self._config), _errors_of_workers():
            for row in tqdm(self._rows(blocks), total=len(blocks), unit=" blocks", disable=None):
                hits = [[Hit(*hit) for hit in found] for found in json.loads(row["hits"])]
                yield row["place"], ScoredBlock(hits, int(row["cut"]))

    def _rows(self, blocks: Sequence[Sequence[Ranking]]) -> Iterator[Any]:
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False  # we show our own
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


# -- workers -----------------------------------------------------------------------------------------------------------


def _worker(name: str, settings: Mapping[str, object], passages: Passages) -> type:
    """The class of the actors; it carries the reranker's settings, so a restarted actor has them."""

    class Worker:
        def __init__(self) -> None:
            self.reranker = load_reranker(name, **settings)

        def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
            found = [score_block(_unpacked(block), self.reranker, passages) for block in batch["block"]]
            hits, cut = [json.dumps(one.hits) for one in found], [one.cut for one in found]
            return {"place": list(batch["place"]), "hits": hits, "cut": cut}

    return Worker


def _packed(block: Sequence[Ranking]) -> str:
    """JSON holds every float exactly."""
    return json.dumps([[astuple(r.query), [astuple(c) for c in r.candidates]] for r in block], ensure_ascii=False)


def _unpacked(text: str) -> list[Ranking]:
    return [Ranking(Query(*query), tuple(Candidate(*one) for one in found)) for query, found in json.loads(text)]


@contextmanager
def _ray(config: RayConfig) -> Iterator[None]:
    quiet = {"RAY_DATA_LOG_LEVEL": "ERROR", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", **quiet}.items():  # report no usage
        os.environ.setdefault(name, value)
    _check_silent_address(config.address)
    handler = signal.getsignal(signal.SIGTERM)
    import ray
    from ray.exceptions import AuthenticationError

    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not config.address:
        options |= {"num_cpus": config.workers * config.threads, "include_dashboard": False}
    try:
        ray.init(address=config.address or "local", **options)
    except (ConnectionError, ValueError, RuntimeError, AuthenticationError) as error:
        said = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        hint = "; if it requires a token, set RAY_AUTH_MODE=token (and RAY_AUTH_TOKEN)" if config.address else ""
        raise MissingResource(f"no Ray cluster at {config.address or 'this machine'} ({said}){hint}") from None
    logging.getLogger("ray").setLevel(logging.ERROR)  # ray.init resets it
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray's own handler ends the job silently
    try:
        yield
    finally:
        ray.shutdown()


def _check_silent_address(address: str) -> None:
    """Refuse an address where nobody listens; Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
        except OSError as error:
            raise MissingResource(f"no Ray cluster at {address} ({error.strerror or error})") from None


@contextmanager
def _errors_of_workers() -> Iterator[None]:
    """Raise a worker's RrarankError here; other errors keep their traceback."""
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
