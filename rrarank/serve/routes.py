"""`/v1/rerank` and `/v2/rerank`, `/v1/search`, `/health`, `/metrics`, and the page at `/`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from rrarank.errors import RrarankError
from rrarank.serve.guards import key_guard
from rrarank.serve.limits import Limits
from rrarank.serve.openapi import errors, json_body
from rrarank.serve.page import page
from rrarank.serve.queue import Asked, Full
from rrarank.serve.requests import answer_or_end, read_json_body
from rrarank.serve.service import service_of
from rrarank.serve.watch import note
from rrarank.serve.wire import (
    CandidatesReply,
    CandidatesRequest,
    Heading,
    Health,
    RerankReply,
    RerankRequest,
    SearchReply,
    SearchRequest,
    parse_request,
    parse_search,
)

T = TypeVar("T")

guarded = APIRouter(dependencies=[Depends(key_guard)])
open_to_all = APIRouter()

_REFUSED = errors(401, 408, 413, 415, 421, 422, 429, 503)
_RERANK = json_body(RerankRequest, CandidatesRequest)
_SEARCH = json_body(SearchRequest)
_Reranked = RerankReply | CandidatesReply


@guarded.post("/v1/rerank", response_model=_Reranked, responses=_REFUSED, openapi_extra=_RERANK)
@guarded.post("/v2/rerank", response_model=_Reranked, responses=_REFUSED, openapi_extra=_RERANK)
async def rerank(request: Request) -> Response:
    """Documents, or a first stage's candidates, in the order of their relevance to the query."""
    service = service_of(request)
    started = time.monotonic()
    body = await read_json_body(request, service.limits)
    wanted, asked = _understood(body, service.limits)
    note(request, documents=len(asked.texts), characters=asked.characters)
    with _refused_when_full():
        answer = asyncio.wrap_future(service.worker.submit(asked))
    ranked = await _answered(request, answer, started)
    note(request, together=ranked.together)
    heading = Heading(request.state.id, service.model, version=request.url.path[2])
    return _json(wanted.reply(asked, ranked, heading))


@guarded.post("/v1/search", response_model=SearchReply, responses=errors(404) | _REFUSED, openapi_extra=_SEARCH)
async def search(request: Request) -> Response:
    """The index's best documents for a query, in the shape that `/v1/rerank` takes."""
    service = service_of(request)
    started = time.monotonic()
    body = await read_json_body(request, service.limits)
    if service.search is None:
        raise HTTPException(404, "this server has no index; start it with --index DIR")
    with _refused_as(422):
        wanted = parse_search(body)
    _check_more("characters", len(wanted.query), service.limits.characters)
    with _refused_when_full():
        answer = service.search.find(wanted.query, wanted.hits)
    found = await _answered(request, answer, started)
    return _json(wanted.reply(found, service.search.name))


@guarded.get("/metrics", response_class=PlainTextResponse, responses=errors(401, 421))
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


@open_to_all.get("/health", response_model=Health, responses=errors(421))
async def health(request: Request) -> Response:
    """What is served, and how much may be asked."""
    service = service_of(request)
    return _json(
        Health(
            version=request.app.version,
            reranker=service.reranker,
            model=service.model,
            index=service.search.name if service.search else None,
            keys=bool(service.keys),
            waiting=service.worker.waiting,
            limits=asdict(service.limits),
        )
    )


@open_to_all.get("/", response_class=HTMLResponse, responses=errors(421))
async def index() -> Response:
    """Try it in a browser."""
    return page()


def _understood(body: bytes, limits: Limits) -> tuple[RerankRequest | CandidatesRequest, Asked]:
    with _refused_as(422):
        wanted = parse_request(body)
        asked = wanted.asked()
    _check_more("documents", len(asked.texts), limits.documents)
    _check_more("characters", asked.characters, limits.characters)
    return wanted, asked


def _check_more(what: str, count: int, most: int) -> None:
    if count > most:
        advice = f"send fewer, or start the server with --max-{what}"
        raise HTTPException(413, f"{count:,} {what}, expected at most {most:,}; {advice}")


async def _answered(request: Request, answer: asyncio.Future[T], started: float) -> T:
    left = service_of(request).limits.timeout_s - (time.monotonic() - started)
    with _refused_as(503):
        return await answer_or_end(request, answer, left)


@contextmanager
def _refused_when_full() -> Iterator[None]:
    try:
        yield
    except Full as error:
        raise HTTPException(429, str(error), {"retry-after": str(error.retry_s)}) from None


@contextmanager
def _refused_as(status: int) -> Iterator[None]:
    try:
        yield
    except RrarankError as error:
        raise HTTPException(status, str(error)) from None


def _json(reply: BaseModel) -> Response:
    return Response(reply.model_dump_json(exclude_none=True), media_type="application/json")
