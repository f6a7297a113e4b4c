"""The paths and their handlers: re-ranking in several clients' shapes, search, health, metrics, a page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from asgi_correlation_id import correlation_id
from fastapi import APIRouter, HTTPException, Request, Response, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, RootModel

from rrarank.data.types import Query
from rrarank.engine.experiment import Experiment, Shown
from rrarank.serve import trial
from rrarank.serve.events import Asker, Noted
from rrarank.serve.intake import CLIENT_GONE, KeyedRoute, OpenRoute, key_of, refused_as, service_of
from rrarank.serve.models import Served
from rrarank.serve.options import arranged, check_scores, within_budget
from rrarank.serve.page import page_response
from rrarank.serve.queue import Full
from rrarank.serve.scoring import Asked, Ranked
from rrarank.serve.shapes import ModelCard, ModelList, Ready, ScoreReply, ScoreRequest, TeiRank, TextsOrDocuments
from rrarank.serve.watch import note
from rrarank.serve.wire import (
    CandidatesReply,
    CandidatesRequest,
    ErrorReply,
    Heading,
    Health,
    RerankReply,
    RerankRequest,
    SearchReply,
    SearchRequest,
    ShapedRequest,
)

T = TypeVar("T")

REFUSALS = {
    401: "no API key, or a wrong one",
    404: "the server has no such model, or no index",
    408: "the body was too slow",
    413: "too long, or too many documents",
    415: "the content-type is not JSON",
    421: "the Host header is not a name of this machine",
    422: "not JSON, or not of this shape",
    429: "too many requests wait",
    503: "out of time, or the reranker cannot answer now",
}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorReply, "description": REFUSALS[status]} for status in statuses}


_SECURITY = [Security(HTTPBearer(auto_error=False)), Security(APIKeyHeader(name="x-api-key", auto_error=False))]
_REFUSED = _errors(401, 404, 408, 413, 415, 421, 422, 429, 503)
_Reranked = RerankReply | CandidatesReply

keyed = APIRouter(route_class=KeyedRoute, dependencies=_SECURITY)  # the dependencies only describe the keys
open_to_all = APIRouter(route_class=OpenRoute)


@keyed.post("/v2/rerank", response_model=_Reranked, responses=_REFUSED)
@keyed.post("/v1/rerank", response_model=_Reranked, responses=_REFUSED)
async def rerank(request: Request, wanted: ShapedRequest) -> Response:
    """Documents, or a first stage's candidates, by their relevance to the query."""
    model = model_of(request, wanted.model)
    with refused_as(422):
        trial.check_ids(wanted)
    experiment = service_of(request).trial.entered(wanted.ubi)
    if experiment is None:
        reply, about = await _reranked(request, wanted, model)
    else:
        reply, about = await _tried(request, wanted, experiment)
    query, about = trial.query_of(wanted), about.named(trial.docids_of(wanted))
    reply.ubi = await _noted(request, wanted.ubi, query, about, experiment)
    return _json(reply)


async def _reranked(
    request: Request, wanted: RerankRequest | CandidatesRequest, model: Served
) -> tuple[RerankReply | CandidatesReply, Shown]:
    """The reply, and what it shows, by positions."""
    service = service_of(request)
    by, pace = model.relevance, service.worker.characters_s(model.name)
    with refused_as(422):
        floor = wanted.floor(scores_all=model.scores_all)
        wanted.check(calibrated=by is not None, pointwise=pace > 0)
        asked = await run_in_threadpool(wanted.asked)
        check_scores(asked, wanted)
    fitting = within_budget(asked, wanted, pace)
    [ranked] = await _ranked(request, model, [fitting])
    relevance = {place: by(score) for place, score in ranked.order} if by else {}
    found = arranged(ranked, fitting, wanted, floor, relevance)
    left = len(asked.texts) - len(fitting.texts)
    warnings = [f"budget_ms: the last {left:,} of {len(asked.texts):,} documents did not fit, and are left out"]
    said = None if wanted.relevance_score == "sigmoid" else by
    heading = Heading(correlation_id.get() or "", model.name, _version(request), said, warnings if left else ())
    places = [str(place) for place, _ in found.ranked.order[: wanted.top_n or None]]
    return wanted.reply(found.ranked, heading, found.own), Shown(places)


async def _tried(
    request: Request, wanted: RerankRequest | CandidatesRequest, experiment: Experiment
) -> tuple[RerankReply | CandidatesReply, Shown]:
    """As `_reranked`, by the experiment's rankers."""
    with refused_as(422):
        trial.check_plain(wanted)
        asked = await run_in_threadpool(wanted.asked)
    _check_size(request, [asked])
    about = await _drafted(request, experiment, wanted.ubi, asked, wanted.top_n)
    heading = Heading(correlation_id.get() or "", experiment.name, _version(request))
    return trial.reply_of(wanted, about, heading), about


def _version(request: Request) -> str:
    return "2" if request.url.path.startswith("/v2") else "1"


@keyed.post("/rerank", response_model=list[TeiRank] | RerankReply, responses=_REFUSED)
async def rerank_texts(request: Request, wanted: TextsOrDocuments) -> Response:
    """The shape of text-embeddings-inference, or documents as in /v1/rerank."""
    if isinstance(wanted, RerankRequest):
        return await rerank(request, wanted)
    model = model_of(request, wanted.model)
    [ranked] = await _ranked(request, model, [wanted.asked()])
    reply = RootModel[list[TeiRank]](wanted.reply(ranked))
    return _json(reply)


@keyed.post("/v1/score", response_model=ScoreReply, responses=_REFUSED)
@keyed.post("/score", response_model=ScoreReply, responses=_REFUSED)
async def score(request: Request, wanted: ScoreRequest) -> Response:
    """The shape of vLLM: a score for each pair, in the order of the request."""
    model = model_of(request, wanted.model)
    with refused_as(422):
        asked = wanted.asked()
    ranked = await _ranked(request, model, asked)
    return _json(wanted.reply(ranked, Heading(correlation_id.get() or "", model.name, version="1")))


@keyed.post("/v1/search", response_model=SearchReply, responses=_REFUSED)
async def search(request: Request, wanted: SearchRequest) -> Response:
    """The index's best documents for a query, in the shape that `/v1/rerank` takes."""
    service = service_of(request)
    if service.search is None:
        raise HTTPException(404, "this server has no index; start it with --index DIR")
    _check_limit("characters", len(wanted.query), service.config.max_characters)
    experiment = service.trial.entered(wanted.ubi)
    with _refused_when_full():
        depth = max(wanted.hits, experiment.depth if experiment else 0)
        answer = service.search.find(wanted.query, depth, key_of(request))
    found = await _answered(request, answer)
    about = Shown([str(place) for place in range(len(found.candidates))])
    if experiment is not None:
        asked = Asked(wanted.query, [one.text for one in found.candidates], [one.score for one in found.candidates])
        about = await _drafted(request, experiment, wanted.ubi, asked, wanted.hits)
        found = trial.reordered(found, about)
    reply = wanted.reply(found, service.search.name)
    trial.put_teams(reply.candidates, about)
    about = replace(about, docids=[one.docid for one in found.candidates])
    reply.ubi = await _noted(request, wanted.ubi, Query("", wanted.query), about, experiment)
    return _json(reply)


@keyed.get("/metrics", response_class=PlainTextResponse, responses=_errors(401, 421))
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(service_of(request).metrics.page(), media_type=CONTENT_TYPE_LATEST)


@keyed.get("/v1/models", response_model=ModelList, responses=_errors(401, 421))
async def models(request: Request) -> Response:
    """The shape of OpenAI."""
    service = service_of(request)
    return _json(ModelList(data=[ModelCard(id=one.name, created=service.started) for one in service.models.served]))


@open_to_all.get("/ready", response_model=Ready, responses=_errors(421, 503))
async def ready(request: Request) -> Response:
    """Whether a request would be taken now; for load balancers."""
    service = service_of(request)
    if service.worker.waiting >= service.config.queue:
        raise HTTPException(503, "the queue is full", {"retry-after": "1"})
    return _json(Ready())


@open_to_all.get("/health", response_model=Health, responses=_errors(421))
async def health(request: Request) -> Response:
    """What is served, and how much a request may ask for."""
    service, config = service_of(request), service_of(request).config
    first = service.models.first
    return _json(
        Health(
            version=request.app.version,
            reranker=first.reranker,
            model=first.name,
            models=[one.name for one in service.models.served],
            index=service.search.name if service.search else None,
            keys=bool(service.keys),
            calibrated=first.relevance is not None,
            experiment=service.trial.experiment is not None,
            log=service.trial.log is not None,
            waiting=service.worker.waiting,
            limits={
                "queue": config.queue,
                "documents": config.max_documents,
                "characters": config.max_characters,
                "tokens": config.max_tokens,
                "body_bytes": config.max_bytes,
                "connections": config.connections,
                "timeout_s": config.timeout,
            },
        )
    )


@open_to_all.get("/", response_class=HTMLResponse, responses=_errors(421))
async def page() -> Response:
    """A page to try the reranker in a browser; its headers let it load or run nothing else."""
    return page_response()


# -- what handlers share ----------------------------------------------------------------------------------------------


def model_of(request: Request, wanted: str | None) -> Served:
    """The model that a request names; the log and the metrics name it too.

    Raises:
        HTTPException: 404 there is no such model.
    """
    with refused_as(404):
        model = service_of(request).models.pick(wanted)
    note(request, model=model.name)
    return model


async def _ranked(request: Request, model: Served, requests: Sequence[Asked]) -> list[Ranked]:
    """The answers to a client's queries, one after the other.

    Raises:
        HTTPException: 413 too many documents or characters, 429 the queue is full; and as `_answered`.
    """
    _check_size(request, requests)
    service = service_of(request)
    found: list[Ranked] = []
    for asked in requests:
        with _refused_when_full():
            submitted = service.worker.submit(asked, model.name, key_of(request), begun=bool(found))
        answer = asyncio.wrap_future(submitted)
        found.append(await _answered(request, answer))
        service.tracing.record(found[-1].times)
    waited_ms = sum(end - begin for one in found for begin, end in [one.times["queue"]]) / 1e6
    note(request, waited_ms=round(waited_ms, 1), together=max((one.together for one in found), default=0))
    return found


def _check_size(request: Request, requests: Sequence[Asked]) -> None:
    config, key = service_of(request).config, key_of(request)
    documents, characters = sum(len(one.texts) for one in requests), sum(one.characters for one in requests)
    _check_limit("documents", documents, config.max_documents)
    if key.documents is not None and documents > key.documents:
        raise HTTPException(413, f"{documents:,} documents, expected at most {key.documents:,} with this key")
    _check_limit("characters", characters, config.max_characters)
    note(request, documents=documents, characters=characters)


async def _drafted(
    request: Request, experiment: Experiment, user: Asker | None, asked: Asked, length: int | None
) -> Shown:
    """The experiment's list, by positions; the server's log says which rankers did not answer."""
    assert user is not None  # who has entered is known
    submit = partial(service_of(request).worker.submit, key=key_of(request))
    making = trial.drafted(experiment, submit, user.client_id, asked, length)
    about = await _answered(request, asyncio.ensure_future(making))
    fallback = {f"fallback {name}": why for name, why in about.fallback.items()}
    note(request, experiment=experiment.name, model=trial.answered_by(experiment, user.client_id, about), **fallback)
    return about


async def _noted(
    request: Request, user: Asker | None, query: Query, about: Shown, experiment: Experiment | None
) -> Noted | None:
    """What the client needs for its events; None for a request without a user.

    If the log cannot be written, the user is still answered, and the server's log says so.
    """
    address = request.client.host if request.client else ""
    try:
        return await service_of(request).trial.noted(user, query, about, experiment, address)
    except OSError as error:
        note(request, unlogged=str(error.strerror))
        return None


def _check_limit(what: str, count: int, most: int) -> None:
    if count > most:
        advice = f"send fewer, or start the server with --max-{what}"
        raise HTTPException(413, f"{count:,} {what}, expected at most {most:,}; {advice}")


async def _answered(request: Request, answer: asyncio.Future[T]) -> T:
    """The answer; cancelled if the client hangs up or the time is over first.

    Raises:
        HTTPException: 503 out of time, or the reranker cannot answer; 499 hung up.
    """
    gone = asyncio.ensure_future(_hang_up(request))
    either: set[asyncio.Future[Any]] = {answer, gone}
    try:
        seconds = request.state.deadline - time.monotonic()
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            with refused_as(503), _refused_when_full():
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


@contextmanager
def _refused_when_full() -> Iterator[None]:
    try:
        yield
    except Full as error:
        raise HTTPException(429, str(error), {"retry-after": str(error.retry_s)}) from None


def _json(reply: BaseModel) -> Response:
    return Response(reply.model_dump_json(exclude_none=True), media_type="application/json")
