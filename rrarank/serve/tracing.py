"""Which trace a request belongs to: W3C trace context, as clients send it in `traceparent`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastapi.telemetry import TelemetryConfig
from starlette.types import Scope

from rrarank.serve.scoring import Times

# https://www.w3.org/TR/trace-context: version ff is forbidden, as are ids of zeros; later versions may add fields
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False}


class Tracing:
    """Makes no spans."""

    @property
    def config(self) -> TelemetryConfig:
        """For FastAPI, which makes a span of each request."""
        return NO_TELEMETRY

    def trace_of(self, scope: Scope) -> Mapping[str, str]:
        """The ids of a request's trace and span, for its line in the log; empty if its client sent none."""
        given = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
        found = _PARENT.fullmatch(given)
        return {"trace_id": found[1].decode(), "span_id": found[2].decode()} if found else {}

    def record(self, times: Times) -> None:
        """Make spans of the parts of the current request."""

    def close(self) -> None:
        """Send what is left."""
