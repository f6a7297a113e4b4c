"""What a running server is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from rrarank.serve.keys import Keys
from rrarank.serve.limits import Limits
from rrarank.serve.metrics import Metrics
from rrarank.serve.queue import Worker
from rrarank.serve.search import Search


@dataclass(frozen=True)
class Service:
    """Handed to every handler.

    Args:
        reranker: its registered name.
        model: the model's name.
        keys: without any, all who reach the server may ask.
        local_only: refuse requests that call this machine by a name that is not its own.
        search: the first stage, if there is one.
        log: takes one line of JSON a request.
    """

    reranker: str
    model: str
    worker: Worker
    metrics: Metrics
    limits: Limits
    keys: Keys
    local_only: bool
    search: Search | None
    log: Callable[[str], None]


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
