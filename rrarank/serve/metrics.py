"""What Prometheus is told."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """A registry of its own, so that two servers in one process do not count for each other."""

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        self._requests = Counter("rrarank_requests", "Requests answered", ["route", "status"], registry=own)
        self._seconds = Histogram(
            "rrarank_request_seconds", "Time to the answer", ["route"], buckets=_SECONDS, registry=own
        )
        self._pairs = Counter("rrarank_pairs", "Pairs of query and document scored", registry=own)
        self._together = Histogram("rrarank_batch_requests", "Requests scored together", buckets=_COUNTS, registry=own)
        self._scoring = Histogram("rrarank_batch_seconds", "Time to score a batch", buckets=_SECONDS, registry=own)
        self._waiting = Gauge("rrarank_waiting", "Requests not begun", registry=own)

    def watch_waiting(self, waiting: Callable[[], float]) -> None:
        self._waiting.set_function(waiting)

    def answered(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def scored(self, requests: int, pairs: int, seconds: float) -> None:
        self._together.observe(requests)
        self._pairs.inc(pairs)
        self._scoring.observe(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)
