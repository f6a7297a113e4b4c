"""Simulated users who ask a real server over HTTP and send it their clicks until it acknowledges them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from rrarank.data.types import Qrels, Ranking
from rrarank.data.ubi import CLICK, DWELL, iso_time
from rrarank.errors import RrarankError
from rrarank.online.simulator import Crowd, after, check_crowd, highest_grade, popularity, user_name
from rrarank.online.users import UserModel, clicks, dwell_times, leans

BUSY = (429, 503)  # asks to try again


@dataclass(frozen=True)
class Endpoint:
    """A server of ours.

    Args:
        key: its API key; empty: none.
        patience_s: seconds to try again for, while it is away or busy.
        timeout_s: most seconds for an answer.
    """

    url: str
    key: str = ""
    patience_s: float = 60.0
    timeout_s: float = 60.0


@dataclass
class Driven:
    """What the users saw acknowledged; it grows while they are at work.

    Args:
        impressions: query ids of the answers.
        events: (query id, action name, docid) of the events.
        again: requests that were sent again.
    """

    impressions: list[str] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    again: int = 0


def drive(
    server: Endpoint,
    rankings: Sequence[Ranking],
    qrels: Qrels,
    model: UserModel,
    crowd: Crowd | None = None,
    at_once: int = 4,
    seen: Driven | None = None,
) -> Driven:
    """Let users ask for rankings and click on the answers by the judgments.

    Args:
        rankings: queries with the first stage's candidates.
        at_once: users who are there at a time.
        seen: is filled while the users are at work, for who wants to watch.

    Raises:
        RrarankError: a number of the crowd is out of range, or the server refused a request or did not answer within
            `patience_s`.
    """
    crowd, seen = crowd or Crowd(), seen or Driven()
    check_crowd(crowd)
    asked = [ranking for ranking in rankings if ranking.query.qid in qrels]
    highest = highest_grade(qrels, [one.query.qid for one in asked])
    lean = leans(crowd.users, model, np.random.default_rng(crowd.seed))
    likely = popularity(len(asked), crowd)

    def visit(user: int) -> None:
        rng = np.random.default_rng((crowd.seed, user))
        session = _Session(server, seen)
        for number in rng.choice(len(asked), rng.geometric(1 / crowd.queries), p=likely):
            _ask(session, user_name(user), asked[number], qrels, _Eyes(model, highest, lean[user], crowd.places, rng))

    with ThreadPoolExecutor(at_once) as pool:
        for job in [pool.submit(visit, user) for user in range(crowd.users)]:
            job.result()
    return seen


@dataclass(frozen=True)
class _Eyes:
    """A user before one list."""

    model: UserModel
    highest: int
    lean: float
    places: int
    rng: np.random.Generator

    def look(self, grades: Sequence[int]) -> list[tuple[int, float, float]]:
        """(place from 1, seconds until the click, seconds on the document) of each click."""
        row = np.array([grades])
        clicked = clicks(row, self.highest, self.model, np.array([self.lean]), self.rng)
        dwell = dwell_times(row, self.highest, self.model, self.rng)
        times = after(clicked, dwell, self.rng)
        return [(int(at) + 1, float(times[0, at]), float(dwell[0, at])) for at in np.nonzero(clicked[0])[0]]


def _ask(session: _Session, user: str, ranking: Ranking, qrels: Qrels, eyes: _Eyes) -> None:
    """One query and its clicks, each sent with its dwell time as soon as it is made."""
    qid = ranking.query.qid
    reply = session.post("/v1/rerank", _request(user, ranking, eyes.places))
    began, query_id = time.time(), reply["ubi"]["query_id"]
    session.seen.impressions.append(query_id)
    docids = [one["docid"] for one in reply["candidates"]]
    if not docids:
        return
    for place, wait_s, dwell_s in eyes.look([max(qrels[qid].get(docid, 0), 0) for docid in docids]):
        about = {"object": {"object_id": docids[place - 1]}, "position": {"ordinal": place}}
        who = {"query_id": query_id, "client_id": user}
        click = who | {"action_name": CLICK, "timestamp": iso_time(began + wait_s), "event_attributes": about}
        stay = about | {"dwell_time": round(dwell_s, 3)}
        left = iso_time(began + wait_s + dwell_s)
        session.post("/v1/events", [click, who | {"action_name": DWELL, "timestamp": left, "event_attributes": stay}])
        session.seen.events += [(query_id, action, docids[place - 1]) for action in (CLICK, DWELL)]


def _request(user: str, ranking: Ranking, places: int) -> Mapping[str, object]:
    return {
        "query": {"text": ranking.query.text, "qid": ranking.query.qid},
        "candidates": [{"docid": one.docid, "score": one.score, "doc": one.text} for one in ranking.candidates],
        "top_n": places,
        "ubi": {"client_id": user, "application": "simulated"},
    }


class _Session:
    """A user's connection; what the server does not answer is sent again."""

    def __init__(self, server: Endpoint, seen: Driven) -> None:
        self.server, self.seen = server, seen
        self._connection: HTTPConnection | None = None

    def post(self, path: str, content: object) -> Any:  # Any: JSON of the server
        """
        Raises:
            RrarankError: refused, or unanswered for too long.
        """
        body, give_up = json.dumps(content).encode(), time.monotonic() + self.server.patience_s
        while True:
            try:
                status, reply = self._send(path, body)
            except (OSError, HTTPException) as error:
                self._connection = None
                status, reply = BUSY[-1], str(error).encode()
            if status == 200:
                return json.loads(reply)
            if status not in BUSY or time.monotonic() > give_up:
                raise RrarankError(f"{self.server.url}{path}: {status}, {reply[:300].decode('utf-8', 'replace')}")
            self.seen.again += 1
            time.sleep(0.1)

    def _send(self, path: str, body: bytes) -> tuple[int, bytes]:
        if self._connection is None:
            parts = urlsplit(self.server.url)
            kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
            self._connection = kind(parts.hostname or "", parts.port, timeout=self.server.timeout_s)
        key = {"authorization": f"Bearer {self.server.key}"} if self.server.key else {}
        self._connection.request("POST", path, body, {"content-type": "application/json", **key})
        answer = self._connection.getresponse()
        return answer.status, answer.read()
