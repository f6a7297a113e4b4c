"""Which trace a request belongs to: W3C trace context, as clients send it in `traceparent`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.types import Scope

from rrarank.serve.scoring import Times

if TYPE_CHECKING:
    from fastapi import FastAPI

# https://www.w3.org/TR/trace-context: version ff is forbidden, as are ids of zeros; later versions may add fields
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def trace_of(scope: Scope) -> Mapping[str, str]:
    """The ids of a request's trace and span, for its line in the log; empty if its client sent none that are valid."""
    if ids := scope["state"].get("trace"):
        return ids  # type: ignore[no-any-return]
    given = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    found = _PARENT.fullmatch(given)
    return {"trace_id": found[1].decode(), "span_id": found[2].decode()} if found else {}


class Tracing:
    """Makes no spans."""

    def instrument(self, app: FastAPI) -> None:
        """Make a span of each request."""

    def record(self, times: Times) -> None:
        """Make spans of the parts of the current request."""

    def close(self) -> None:
        """Send what is left."""
