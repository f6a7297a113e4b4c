"""What stands before the handlers: the key that was offered, and the name by which this machine was called."""

from __future__ import annotations

from typing import Annotated

from fastapi import HTTPException, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from rrarank.serve.keys import names_this_machine
from rrarank.serve.service import service_of

_BEARER = HTTPBearer(auto_error=False)
_HEADER = APIKeyHeader(name="x-api-key", auto_error=False)


async def key_guard(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_HEADER)],
) -> None:
    """
    Raises:
        HTTPException: 401, no key, or a wrong one.
    """
    keys = service_of(request).keys
    offered = (bearer.credentials if bearer else header) or ""
    if keys and not keys.allow(offered.encode("latin-1")):
        message = "no API key, or a wrong one; send Authorization: Bearer KEY, or x-api-key: KEY"
        raise HTTPException(401, message, {"www-authenticate": "Bearer"})


async def name_guard(request: Request) -> None:
    """
    Raises:
        HTTPException: 421, a page of another site asks through a name of its own that it lets point here.
    """
    if service_of(request).local_only and not names_this_machine(request.headers.get("host", "")):
        message = "this server answers to the names of its own machine only; ask for localhost, or start it with keys"
        raise HTTPException(421, message)
