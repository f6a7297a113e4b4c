"""A reranker behind HTTP, started from Python or by the command."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rrarank.cli.verbs import say
from rrarank.engine import registry
from rrarank.errors import RrarankError
from rrarank.extras import check_installed
from rrarank.serve.config import KEYS_VARIABLE, ServeConfig
from rrarank.serve.keys import Keys, is_loopback, read_keys

if TYPE_CHECKING:
    from rrarank.engine.reranker import Reranker

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
    """

    reranker: str = registry.DEFAULT
    settings: Mapping[str, object] = field(default_factory=dict)
    config: ServeConfig = field(default_factory=ServeConfig)


def serve_reranker(job: ServeJob, announce: Callable[[str], None] = print) -> None:
    """Serve a reranker until SIGTERM or Ctrl-C, then answer what was accepted.

    Args:
        announce: called with the server's URL when it accepts requests.

    Raises:
        MissingPrerequisite: the extra `serve` is not installed.
        RrarankError: the address, the keys, the index or the reranker cannot be used.
    """
    registry.check_known(job.reranker)
    config = job.config
    keys = read_keys(config.keys)
    _check_access(config, keys)
    check_extra()
    from rrarank.serve.app import create_app
    from rrarank.serve.intake import LargeBodies, Service
    from rrarank.serve.queue import Worker
    from rrarank.serve.search import Search
    from rrarank.serve.server import bind, listen, serve, url_of
    from rrarank.serve.watch import Metrics

    sock = bind(config.host, config.port)  # before the model is loaded, which takes longer
    reranker = _load(job)
    metrics = Metrics()
    service = Service(
        reranker=job.reranker,
        model=reranker.model_name or job.reranker,
        worker=Worker(reranker, config.queue, config.max_tokens, metrics.scored),
        metrics=metrics,
        config=config,
        bodies=LargeBodies(config.max_memory),
        keys=keys,
        local_only=is_loopback(config.host) and not keys,
        search=Search(config.index, config.queue) if config.index else None,
        log=say,
        relevance=reranker.relevance,
    )
    listen(sock)
    announce(url_of(sock))
    serve(create_app(service), sock, connections=config.connections, timeout_s=config.timeout)
    say("stopped; every accepted request is answered")


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


def _load(job: ServeJob) -> Reranker:
    settings = dict(job.settings)
    if settings.get("backend") == "auto":
        from rrarank.rerankers.backends.auto import choose_backend

        choice = choose_backend(registry.configure(job.reranker, **settings))
        say(f"--backend auto: {choice}")
        settings |= {"backend": choice.backend, "precision": choice.precision}
    return registry.load_reranker(job.reranker, **settings)
