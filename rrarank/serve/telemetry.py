"""Spans for OpenTelemetry: a request and, within it, its wait, tokenising and scoring. They hold no texts."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fastapi.telemetry import TelemetryConfig
from starlette.types import Scope

from rrarank.errors import RrarankError
from rrarank.extras import importing
from rrarank.serve.scoring import Times
from rrarank.serve.tracing import NO_TELEMETRY, Tracing

PROTOCOL = "http/protobuf"


def check_telemetry() -> None:
    """
    Raises:
        MissingPrerequisite: the extra `otel` is not installed.
        RrarankError: the environment asks for a protocol that is not spoken here.
    """
    with importing("otel"):
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if os.environ.get(variable, PROTOCOL) != PROTOCOL:
            raise RrarankError(f"{variable} {os.environ[variable]}: --otel speaks {PROTOCOL} only")


class Telemetry(Tracing):
    """Spans that go to an OTLP endpoint; OpenTelemetry's own variables, OTEL_…, say where, how many, and whose.

    Args:
        version: of rrarank.
    """

    def __init__(self, version: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        os.environ.setdefault("OTEL_SERVICE_NAME", "rrarank")
        self._provider = TracerProvider(resource=Resource.create({SERVICE_VERSION: version}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("rrarank", version)

    @property
    def config(self) -> TelemetryConfig:
        return {**NO_TELEMETRY, "tracing": True, "tracer_provider": self._provider, "exclude": _is_no_question}

    def trace_of(self, scope: Scope) -> Mapping[str, str]:
        from opentelemetry.trace import get_current_span

        ids = get_current_span().get_span_context()
        if not ids.is_valid:
            return super().trace_of(scope)
        return {"trace_id": f"{ids.trace_id:032x}", "span_id": f"{ids.span_id:016x}"}

    def record(self, times: Times) -> None:
        for name, (start, end) in times.items():
            self._tracer.start_span(f"rrarank {name}", start_time=start).end(end)

    def close(self) -> None:
        self._provider.shutdown()


def _is_no_question(scope: Scope) -> bool:
    """Pages, and what a monitor asks for, make no spans."""
    return bool(scope["method"] != "POST")
