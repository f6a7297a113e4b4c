"""`POST /v1/events`: what users did, acknowledged once it is on disk."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import HTTPException, Request, Response

from rrarank.serve.events import Accepted, Events
from rrarank.serve.intake import refused_as, service_of
from rrarank.serve.routes import REFUSALS, keyed
from rrarank.serve.trial import now
from rrarank.serve.watch import note
from rrarank.serve.wire import ErrorReply

_OWN = {404: "the server keeps no log", 503: "the log cannot be written"}
_WHY = {status: REFUSALS[status] for status in (401, 408, 413, 415, 421, 422)} | _OWN
_RESPONSES: dict[int | str, dict[str, Any]] = {  # as FastAPI types them
    status: {"model": ErrorReply, "description": why} for status, why in _WHY.items()
}


@keyed.post("/v1/events", response_model=Accepted, responses=_RESPONSES)
async def add_events(request: Request, wanted: Events) -> Response:
    """Clicks, dwell times and conversions, one or many: all of them are logged, or none."""
    trial = service_of(request).trial
    if trial.log is None:
        raise HTTPException(404, "this server keeps no log; start it with --log DIR")
    at = now()
    with refused_as(422):
        events = [one.logged(at, trial.log_text, f"event {number}") for number, one in enumerate(wanted, start=1)]
    try:
        await asyncio.wrap_future(trial.log.add(events))
    except OSError as error:
        message = f"the log cannot be written ({error.strerror}); nothing was kept, send the events again"
        raise HTTPException(503, message, {"retry-after": "5"}) from None
    note(request, events=len(events))
    return Response(Accepted(accepted=len(events)).model_dump_json(), media_type="application/json")
