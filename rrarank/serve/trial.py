"""What is done for a request that names its user: the experiment's list, and a line in the log."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import JsonValue

from rrarank.data.documents import ID_FIELDS
from rrarank.data.types import Query, Ranking
from rrarank.data.ubi import MOST_OF_DOCID, LoggedQuery
from rrarank.engine.experiment import FIRST_STAGE, Experiment, Shown, read_experiment, show
from rrarank.errors import RrarankError, shown
from rrarank.serve.config import ServeConfig
from rrarank.serve.event_log import EventLog
from rrarank.serve.events import Asker, Noted, Placed
from rrarank.serve.options import Options, by_first_stage
from rrarank.serve.queue import Full
from rrarank.serve.scoring import Asked, Ranked
from rrarank.serve.wire import CandidatesReply, CandidatesRequest, Heading, RerankReply, RerankRequest

Submit = Callable[[Asked, str], Future[Ranked]]
"""Has a model of that name rank the texts."""


@dataclass(frozen=True)
class Trial:
    """
    Args:
        experiment: None: every user is answered as a request without a user is.
        log: None: nothing is logged.
        log_text: log the queries' texts too.
        log_addresses: log the clients' addresses too.
    """

    experiment: Experiment | None = None
    log: EventLog | None = None
    log_text: bool = False
    log_addresses: bool = False

    def entered(self, user: Asker | None) -> Experiment | None:
        """The experiment, if it decides what this user is shown."""
        if self.experiment is None or user is None or not self.experiment.takes(user.client_id):
            return None
        return self.experiment

    async def noted(
        self, user: Asker | None, query: Query, about: Shown, experiment: Experiment | None, address: str
    ) -> Noted | None:
        """Log what is shown, and return what the client needs for its events; None without a user, or without both
        experiment and log.

        Args:
            query: its qid is the client's own, if it has one.
            about: its ids are docids.

        Raises:
            OSError: the log cannot be written.
        """
        if user is None or (self.experiment is None and self.log is None):
            return None
        query_id = uuid.uuid4().hex
        if self.log is not None:
            attributes = about.attributes(experiment) if experiment else {}
            attributes |= {"qid": query.qid or self.log.name_of(query.text), "words": len(query.text.split())}
            if self.log_addresses:
                attributes["client_address"] = address
            entry = LoggedQuery(
                query_id,
                user.client_id,
                now(),
                tuple(about.docids),
                query.text if self.log_text else "",
                user.application,
                user.session_id,
                query_attributes=attributes,
            )
            await asyncio.wrap_future(self.log.add([entry]))
        if experiment is None:
            return Noted(query_id=query_id)
        fallback = dict(about.fallback) or None
        return Noted(query_id=query_id, experiment=experiment.name, arm=about.arm or None, fallback=fallback)

    def close(self) -> None:
        if self.log is not None:
            self.log.close()


def open_trial(config: ServeConfig, models: Sequence[str]) -> Trial:
    """The experiment and the log that the settings name.

    Args:
        models: the names of those that the server holds.

    Raises:
        RrarankError: the experiment's file is faulty, or names a model that is not there; the log cannot be written, or
            there is none for what is to be logged.
    """
    if config.log is None and (config.log_text or config.log_addresses):
        flag = "--log-text" if config.log_text else "--log-addresses"
        raise RrarankError(f"{flag}: nothing is logged without --log DIR; give both")
    experiment = read_experiment(config.experiment) if config.experiment else None
    if experiment is not None:
        _check(experiment, config, models)
    log = EventLog(config.log, config.log_max_bytes, config.log_fsync == "always") if config.log else None
    return Trial(experiment, log, config.log_text, config.log_addresses)


def _check(experiment: Experiment, config: ServeConfig, names: Sequence[str]) -> None:
    where = f"--experiment {config.experiment}"
    if FIRST_STAGE in names:
        raise RrarankError(f"{where}: {FIRST_STAGE!r} is the first stage's order there; name that model otherwise")
    for name, ranker in experiment.rankers.items():
        if ranker.model != FIRST_STAGE and ranker.model not in names:
            known = shown([FIRST_STAGE, *names], 20)
            raise RrarankError(f"{where}: rankers.{name}: no model {ranker.model!r} (the server has {known})")
    if experiment.design != "ab" and len({ranker.share for ranker in experiment.rankers.values()}) > 1:
        raise RrarankError(f"{where}: share: only for the design ab; all rankers of a {experiment.design} pick alike")
    if experiment.timeout_ms >= config.timeout * 1000:
        raise RrarankError(f"{where}: timeout_ms {experiment.timeout_ms:g} is not below --timeout {config.timeout:g} s")


# -- what an experiment shows -----------------------------------------------------------------------------------------


async def drafted(experiment: Experiment, submit: Submit, user: str, asked: Asked, length: int | None) -> Shown:
    """The experiment's list; its ids are the positions of the texts.

    Args:
        length: most documents; None or 0 for all.
    """
    first = [str(place) for place in by_first_stage(asked)]
    needed = experiment.needed(user)
    found = await asyncio.gather(*(_ranking(experiment, submit, name, asked, first) for name in needed))
    rankings = {name: order for name, (order, _) in zip(needed, found, strict=True)}
    fallback = {name: why for name, (_, why) in zip(needed, found, strict=True) if why}
    return show(experiment, user, asked.query, rankings, fallback, length or None)


def answered_by(experiment: Experiment, user: str, about: Shown) -> str:
    """The models behind a user's list; the first stage for a ranker that it stood in for."""
    needed = sorted(experiment.needed(user))
    models = [FIRST_STAGE if name in about.fallback else experiment.rankers[name].model for name in needed]
    return ", ".join(dict.fromkeys(models))


async def _ranking(
    experiment: Experiment, submit: Submit, name: str, asked: Asked, first: Sequence[str]
) -> tuple[Sequence[str], str]:
    """A ranker's order, or the first stage's and why it stands in."""
    model = experiment.rankers[name].model
    if model == FIRST_STAGE:
        return first, ""
    try:
        answer = asyncio.wrap_future(submit(asked, model))
        ranked = await asyncio.wait_for(answer, experiment.timeout_ms / 1000)
    except Full:
        return first, "queue full"
    except TimeoutError:
        return first, "out of time"
    except Exception as error:  # whatever a reranker raises, the user is shown something
        return first, f"failed: {type(error).__name__}"
    return [str(place) for place, _ in ranked.order], ""


def check_plain(options: Options) -> None:
    """
    Raises:
        RrarankError: an option for one reranker, where several compete.
    """
    given = [name for name in _OF_ONE_RERANKER if getattr(options, name) is not None]
    if given:
        raise RrarankError(f"{', '.join(given)}: the experiment's rankers decide for ubi's user; leave it out")


_OF_ONE_RERANKER = ("interpolate", "norm", "min_score", "min_relevance", "budget_ms")


def reply_of(
    wanted: RerankRequest | CandidatesRequest, about: Shown, heading: Heading
) -> RerankReply | CandidatesReply:
    """A reply whose scores tell the order and nothing else: 1 / rank.

    Args:
        about: its ids are positions.
    """
    order = [(int(place), 1 / rank) for rank, place in enumerate(about.docids, start=1)]
    reply = wanted.reply(Ranked(order, 0, 1), heading)
    rows = reply.results if isinstance(reply, RerankReply) else reply.candidates
    for row in rows:
        row.relevance_score = row.score
    put_teams(rows, about)
    reply.meta.relevance_score = "rank"
    return reply


def put_teams(rows: Sequence[Placed], about: Shown) -> None:
    for row, team in zip(rows, about.teams, strict=False):  # an A/B test has no teams
        row.team = team


def reordered(found: Ranking, about: Shown) -> Ranking:
    """The shown ones of the candidates, with scores as `reply_of` has them."""
    kept = [found.candidates[int(place)] for place in about.docids]
    return Ranking(found.query, tuple(replace(one, score=1 / rank) for rank, one in enumerate(kept, start=1)))


def query_of(wanted: RerankRequest | CandidatesRequest) -> Query:
    if isinstance(wanted, RerankRequest):
        return Query("", wanted.query)
    return Query("" if wanted.query.qid is None else str(wanted.query.qid), wanted.query.text)


def check_ids(wanted: RerankRequest | CandidatesRequest) -> None:
    """
    Raises:
        RrarankError: an id of a request that names its user is too long for a line of the log.
    """
    if wanted.ubi is None:
        return
    for what, name in [("the qid", query_of(wanted).qid), *(("a document's id", one) for one in docids_of(wanted))]:
        if len(name) > MOST_OF_DOCID:
            raise RrarankError(
                f"{what} has {len(name):,} characters, expected at most {MOST_OF_DOCID} where ubi names the user"
            )


def docids_of(wanted: RerankRequest | CandidatesRequest) -> list[str]:
    """The ids of the documents of a request; of a document without one, its position."""
    if isinstance(wanted, CandidatesRequest):
        return [str(one.docid) or str(place) for place, one in enumerate(wanted.candidates)]
    return [_docid(one, place) for place, one in enumerate(wanted.documents)]


def _docid(document: str | Mapping[str, JsonValue], place: int) -> str:
    ids = () if isinstance(document, str) else (document.get(name) for name in ID_FIELDS)
    return next((str(one) for one in ids if isinstance(one, str | int) and one != ""), str(place))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
