"""A request from its first byte to its answer: within its size, within its time, as long as the client is there."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

from rrarank.serve.limits import Limits

T = TypeVar("T")

CLIENT_GONE = 499  # nginx's; nobody reads it but the log


async def read_json_body(request: Request, limits: Limits) -> bytes:
    """The body of a request that says it is JSON.

    Raises:
        HTTPException: 415 another kind, 413 too long, 408 too slow, 499 broken off.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # which a page of another site cannot send unasked
        raise HTTPException(415, f"content-type {kind[:100]!r}, expected application/json")
    try:
        async with asyncio.timeout(limits.timeout_s):
            return await _read(request, limits.body_bytes)
    except TimeoutError:
        raise HTTPException(408, f"the body was not there within {limits.timeout_s:g} s") from None
    except ClientDisconnect:
        raise HTTPException(CLIENT_GONE, "the client hung up") from None


async def _read(request: Request, most: int) -> bytes:
    declared = int(request.headers.get("content-length", 0))
    body = bytearray()
    if declared <= most:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                break
    if max(declared, len(body)) > most:
        message = f"the body has more than {most:,} bytes; send fewer documents, or start the server with --max-bytes"
        raise HTTPException(413, message)  # uvicorn reads on and forgets, so that the client comes to read this
    return bytes(body)


async def answer_or_end(request: Request, answer: asyncio.Future[T], seconds: float) -> T:
    """The answer, unless the client hangs up or the time is over first: then it is cancelled, so that what is not
    begun is dropped.

    Raises:
        HTTPException: 503 out of time, 499 hung up.
    """
    gone: asyncio.Future[None] = asyncio.ensure_future(_hang_up(request))
    either: set[asyncio.Future[Any]] = {answer, gone}
    try:
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        if gone.done():
            raise HTTPException(CLIENT_GONE, "the client hung up")
        raise HTTPException(503, "no answer within the time limit; ask for less, or later", {"retry-after": "5"})
    finally:
        gone.cancel()
        answer.cancel()


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
