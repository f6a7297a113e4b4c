"""What users did: logged queries and events in the schema of OpenSearch's User Behavior Insights, version 1.3.

What an experiment adds to a query stands in its `query_attributes`: experiment, design, arm, teams, fallback.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from rrarank.errors import RrarankError

CLICK, DWELL, IMPRESSION, CONVERSION = "click", "dwell", "impression", "CONVERSION"
"""Three action names, and the message type that marks a conversion whatever its action is called."""

_given = BeforeValidator(lambda value: without_null(value))
MOST_OF_DOCID = 256  # characters, as UBI's schema has it
Name = Annotated[str, Field(max_length=100), _given]
Id = Annotated[str, Field(min_length=1, max_length=100), _given]
DocId = Annotated[str, Field(min_length=1, max_length=MOST_OF_DOCID)]
Time = Annotated[str, BeforeValidator(lambda value: iso_time(value))]
NO_TIME = "1970-01-01T00:00:00+00:00"
"""Of a query whose time is unknown."""
Attributes = Annotated[Mapping[str, JsonValue], BeforeValidator(lambda value: _finite(value or {}))]


@dataclass(frozen=True)
class LoggedQuery:
    """A query and what was shown for it.

    Args:
        query_id: names this impression; events refer to it.
        client_id: the user, the unit of randomisation; empty if unknown.
        timestamp: ISO 8601 with a zone.
        user_query: its text; empty where texts are not logged.
        query_response_hit_ids: docids as shown, the first on top.
        query_attributes: `experiment`, `design`, `arm` (A/B: the ranker's name), `teams` (interleaving: a ranker's name
            for each shown document), `fallback` (ranker -> why the first stage stood in for it), `qid`, `words`
            (length of the query), and what others add.
    """

    __pydantic_config__: ClassVar = ConfigDict(coerce_numbers_to_str=True)

    query_id: Id
    client_id: Name = ""
    timestamp: Annotated[Time, BeforeValidator(lambda value: NO_TIME if value is None else value)] = NO_TIME
    query_response_hit_ids: Annotated[tuple[DocId, ...], BeforeValidator(lambda value: value or ())] = ()
    user_query: Annotated[str, _given] = ""
    application: Name = ""
    session_id: Name = ""
    query_response_id: Name = ""
    object_id_field: Name = ""
    query_attributes: Attributes = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Since 1970."""
        return datetime.fromisoformat(self.timestamp).timestamp()

    @property
    def shown(self) -> tuple[str, ...]:
        """The docids, the first on top."""
        return self.query_response_hit_ids

    @property
    def experiment(self) -> str:
        return _text(self.query_attributes.get("experiment"))

    @property
    def design(self) -> str:
        return _text(self.query_attributes.get("design"))

    @property
    def arm(self) -> str:
        return _text(self.query_attributes.get("arm"))

    @property
    def qid(self) -> str:
        return _text(self.query_attributes.get("qid"))

    @property
    def teams(self) -> tuple[str, ...]:
        """A ranker for each shown document; empty without interleaving."""
        teams = self.query_attributes.get("teams")
        return tuple(map(_text, teams)) if isinstance(teams, list | tuple) else ()

    @property
    def fallback(self) -> Mapping[str, str]:
        """Ranker -> why the first stage stood in for it."""
        reasons = self.query_attributes.get("fallback")
        return {name: str(why) for name, why in reasons.items()} if isinstance(reasons, Mapping) else {}


@dataclass(frozen=True)
class LoggedEvent:
    """What a user did.

    Args:
        action_name: `click`, `dwell`, `purchase`, or another.
        message_type: `CONVERSION` marks a conversion.
        event_attributes: `object` with the `object_id`, `position` with the `ordinal` from 1, `dwell_time` in seconds,
            and what others add.
    """

    __pydantic_config__: ClassVar = ConfigDict(coerce_numbers_to_str=True)

    action_name: Annotated[str, Field(min_length=1, max_length=100)]
    timestamp: Time
    query_id: Name = ""
    client_id: Name = ""
    session_id: Name = ""
    application: Name = ""
    message_type: Name = ""
    message: Annotated[str, Field(max_length=1024), _given] = ""
    event_attributes: Attributes = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Since 1970."""
        return datetime.fromisoformat(self.timestamp).timestamp()

    @property
    def docid(self) -> str:
        """Empty if the event is about no document."""
        return _text(self._part("object").get("object_id"))

    @property
    def ordinal(self) -> int | None:
        """The document's place, from 1."""
        place = self._part("position").get("ordinal")
        return place if isinstance(place, int) and not isinstance(place, bool) else None

    @property
    def dwell_s(self) -> float | None:
        """Seconds spent on the document; None if none are logged, or a number below 0."""
        seconds = self.event_attributes.get("dwell_time")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            return None
        return float(min(seconds, sys.float_info.max)) if seconds >= 0 else None  # JSON's integers have no end

    @property
    def is_conversion(self) -> bool:
        return self.message_type == CONVERSION or self.action_name == "purchase"

    def _part(self, name: str) -> Mapping[str, JsonValue]:
        part = self.event_attributes.get(name)
        return part if isinstance(part, Mapping) else {}


@dataclass(frozen=True)
class Log:
    """Queries and events, in the order of the files.

    Args:
        torn: lines that a crash broke off, and that were left out; the server never acknowledged them.
        repeated: queries and events that were left out because one with the same id, or an equal one, came before:
            clients send again what was not acknowledged in time, and files may overlap.
    """

    queries: Sequence[LoggedQuery]
    events: Sequence[LoggedEvent]
    torn: int = 0
    repeated: int = 0


def click(
    query: LoggedQuery,
    place: int,
    timestamp: str | float,
    own: Mapping[str, JsonValue] = MappingProxyType({}),
    action: str = CLICK,
) -> LoggedEvent:
    """An event of a query's user on the document at a place.

    Args:
        place: from 1.
        own: further attributes, such as `dwell_time`.
    """
    about: dict[str, JsonValue] = {"object": {"object_id": query.shown[place - 1]}, "position": {"ordinal": place}}
    return LoggedEvent(
        action,
        iso_time(timestamp),
        query.query_id,
        query.client_id,
        query.session_id,
        query.application,
        event_attributes=about | dict(own),
    )


def iso_time(value: object) -> str:
    """ISO 8601 in its usual form with a zone: other forms, such as 20260131T120000Z, PostgreSQL cannot read.

    Args:
        value: such a time, without a zone UTC's; or seconds since 1970, milliseconds if they are large, as OpenSearch
            has them.

    Raises:
        ValueError: it is no time.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value / 1000 if abs(value) > 1e11 else value
        try:
            return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
        except (OverflowError, OSError, ValueError):
            raise ValueError(f"{value:g} is no time since 1970") from None
    if isinstance(value, datetime):  # of a Parquet file
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if not isinstance(value, str):
        raise ValueError("expected a time such as 2026-01-31T12:00:00Z")
    found = datetime.fromisoformat(value)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()


def without_null(value: object) -> object:
    """Empty for null, which other writers have for what they do not know."""
    return "" if value is None else value


def _text(value: object) -> str:
    return str(without_null(value))


def _finite(value: object) -> object:
    """The value itself.

    Raises:
        ValueError: it holds a number that JSON has not.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"holds {value}, which is no number in JSON")
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for part in parts:
        _finite(part)
    return value


# -- rows -------------------------------------------------------------------------------------------------------------

Entry = LoggedQuery | LoggedEvent
T = TypeVar("T", LoggedQuery, LoggedEvent)


def row_of(entry: Entry) -> dict[str, object]:
    """The fields that are not empty, by UBI's names."""
    fields = ((one.name, getattr(entry, one.name)) for one in dataclass_fields(entry))
    return {name: value for name, value in fields if value or name in _ALWAYS}


def line_of(entry: Entry) -> str:
    """A row as one line of JSON, without its line end."""
    return json.dumps(row_of(entry), ensure_ascii=False, allow_nan=False)


def parse_line(kind: type[T], line: str | bytes, where: str) -> T:
    """
    Raises:
        RrarankError: not JSON, or not of the schema.
    """
    return _checked(kind, lambda adapter: adapter.validate_json(line), where)


def entry_of(kind: type[T], row: Mapping[str, object], where: str) -> T:
    """
    Raises:
        RrarankError: the row is not of the schema.
    """
    return _checked(kind, lambda adapter: adapter.validate_python(row), where)


_ALWAYS = ("user_query", "query_response_hit_ids")  # the schema wants the first, and no hits are something too


@cache
def _adapters() -> dict[type[Entry], TypeAdapter[Any]]:  # Any: a table of one adapter a kind
    return {kind: TypeAdapter(kind) for kind in (LoggedQuery, LoggedEvent)}


def _checked(kind: type[T], read: Callable[[TypeAdapter[T]], T], where: str) -> T:
    try:
        return read(_adapters()[kind])
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = ".".join(map(str, fault["loc"])) or "the line"
        message = fault["msg"].removeprefix("Value error, ")
        raise RrarankError(f"{where}: {name}: {message[0].lower()}{message[1:]}") from None
