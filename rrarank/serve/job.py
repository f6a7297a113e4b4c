"""Rerankers behind HTTP, started from Python or by the command."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

from rrarank.engine import registry
from rrarank.errors import RrarankError, say
from rrarank.extras import check_installed
from rrarank.serve.config import KEYS_VARIABLE, ServeConfig
from rrarank.serve.keys import Keys, is_loopback, read_keys
from rrarank.serve.models import ModelSettings, load_models

if TYPE_CHECKING:
    from fastapi import FastAPI

    from rrarank.serve.tracing import Tracing

LIBRARIES = (
    "asgi_correlation_id",
    "fastapi",
    "fastapi_offline",
    "prometheus_fastapi_instrumentator",
    "pydantic_settings",
    "uvicorn",
)


@dataclass(frozen=True)
class ServeJob:
    """What is served, and how.

    Args:
        reranker: a registered name.
        settings: of the reranker, as `load_reranker` takes them; `backend="auto"` chooses the fastest back end.
        models: several by the names that requests give, instead of the one of `reranker` and `settings`.
    """

    reranker: str = registry.DEFAULT
    settings: Mapping[str, object] = field(default_factory=dict)
    config: ServeConfig = field(default_factory=ServeConfig)
    models: Mapping[str, ModelSettings] = field(default_factory=dict)

    def wanted(self) -> Mapping[str, ModelSettings]:
        """What to load, by name; "" is a model without a name of its own."""
        return self.models or {"": ModelSettings(self.reranker, self.settings)}


def serve_reranker(job: ServeJob, announce: Callable[[str], None] = print) -> None:
    """Serve rerankers until SIGTERM or Ctrl-C, then answer what was accepted.

    Args:
        announce: called with the server's URL when it accepts requests.

    Raises:
        MissingPrerequisite: the extra `serve` is not installed.
        RrarankError: the address, the keys, the index or a reranker cannot be used.
    """
    for one in job.wanted().values():
        registry.check_known(one.reranker)
    config = job.config
    keys = read_keys(config.keys)
    _check_access(config, keys)
    check_extra()
    if config.experiment and not config.log:
        say("--experiment without --log DIR: users see its lists, but nothing is logged, so there will be no result")
    if config.otel:
        from rrarank.serve.telemetry import check_telemetry

        check_telemetry()
    from rrarank.serve.server import bind, serve, url_of

    sock = bind(config.host, config.port)  # before the models are loaded, which takes longer
    wanted = {name: one.chosen().shared_by(config.workers) for name, one in job.wanted().items()}
    build = partial(_app, config, keys, wanted)
    if config.workers > 1:
        from rrarank.serve.workers import serve_by_workers

        serve_by_workers(build, sock, config, lambda: announce(url_of(sock)))
    else:
        serve(build(), sock, config.connections, config.timeout, lambda: announce(url_of(sock)))
    say("stopped; every accepted request is answered")


def _app(config: ServeConfig, keys: Keys, wanted: Mapping[str, ModelSettings]) -> FastAPI:
    """The application, its models loaded."""
    from rrarank.serve.app import create_app
    from rrarank.serve.intake import LargeBodies, Service
    from rrarank.serve.queue import Worker
    from rrarank.serve.search import Search
    from rrarank.serve.trial import open_trial
    from rrarank.serve.watch import Metrics

    with ThreadPoolExecutor(1) as pool:
        # Not on this thread: OpenMP would keep threads for it, and with more threads than cores its barriers sleep
        # instead of spinning, which makes scoring nearly a fifth slower.
        models, rerankers = pool.submit(load_models, wanted).result()
    metrics = Metrics()
    service = Service(
        models=models,
        worker=Worker(rerankers, config.queue, config.max_tokens, metrics.scored, metrics.waiting.set),
        metrics=metrics,
        config=config,
        bodies=LargeBodies(config.max_memory, shared=len(keys) > 1),
        keys=keys,
        local_only=is_loopback(config.host) and not keys,
        search=Search(config.index, config.queue, shared=len(keys) > 1) if config.index else None,
        log=say,
        trial=open_trial(config, [one.name for one in models.served]),
        tracing=_tracing(config),
    )
    return create_app(service)


def _tracing(config: ServeConfig) -> Tracing:
    if not config.otel:
        from rrarank.serve.tracing import Tracing

        return Tracing()
    from rrarank.serve.telemetry import Telemetry

    return Telemetry(metadata.version("rrarank"))


def check_extra() -> None:
    check_installed(*LIBRARIES)


def _check_access(config: ServeConfig, keys: Keys) -> None:
    if keys and config.no_keys:
        raise RrarankError(f"--no-keys with API keys in {config.keys or KEYS_VARIABLE}: give one of the two")
    for origin in config.cors.split():
        if not re.fullmatch(r"\*|https?://[^/\s*]+", origin):
            raise RrarankError(f"--cors {origin}: expected an origin such as https://a.example, without a path, or *")
        if origin == "*" and not keys:
            raise RrarankError("--cors *: without API keys every page that a user opens could ask; name the origins")
    if not (is_loopback(config.host) or keys or config.no_keys):
        raise RrarankError(
            f"--host {config.host}: without API keys everyone who reaches it could ask; give --keys FILE, "
            f"set {KEYS_VARIABLE}, or give --no-keys if you mean it"
        )
