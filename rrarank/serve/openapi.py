"""The OpenAPI description, with the bodies that handlers read for themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from rrarank.serve.wire import CandidatesRequest, ErrorReply, RerankRequest, SearchRequest

_BODIES = (RerankRequest, CandidatesRequest, SearchRequest)
_REFERENCE = "#/components/schemas/{model}"

REFUSALS = {
    401: "no API key, or a wrong one",
    404: "the server has no index",
    408: "the body was too slow",
    413: "too long, or too many documents",
    415: "not JSON by its content-type",
    421: "asked by a name that is not this machine's",
    422: "not JSON, or not of this shape",
    429: "too many requests wait",
    503: "out of time, or the reranker cannot answer now",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Those of `REFUSALS` that a route may give."""
    return {status: {"model": ErrorReply, "description": REFUSALS[status]} for status in statuses}


def json_body(*kinds: type[BaseModel]) -> dict[str, Any]:
    """A route's `openapi_extra`."""
    schemas = [{"$ref": _REFERENCE.format(model=kind.__name__)} for kind in kinds]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(generate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What FastAPI generates, and the schemas of the bodies it does not know of."""
    description = generate()
    _, bodies = models_json_schema([(kind, "validation") for kind in _BODIES], ref_template=_REFERENCE)
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    schemas.update({name: schema for name, schema in bodies["$defs"].items() if name not in schemas})
    return description
