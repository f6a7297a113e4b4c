"""What a client says of a user, and what it is told for the user's events: the fields `ubi` of requests and replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, JsonValue, Strict, model_validator

from rrarank.data.ubi import MOST_OF_DOCID, LoggedEvent, entry_of, line_of, without_null
from rrarank.errors import RrarankError

MOST_EVENTS = 1_000  # of a request
MOST_CHARACTERS = 8_192  # of an event's line

Name = Annotated[str, Strict(), Field(max_length=100)]
MaybeName = Annotated[Name, BeforeValidator(without_null, json_schema_input_type=Name | None)]
"""Clients send null for what they do not know."""
Text = Annotated[str, Field(max_length=1_024)]
MaybeText = Annotated[Text, BeforeValidator(without_null, json_schema_input_type=Text | None)]
Id = Annotated[str, Strict(), Field(min_length=1, max_length=MOST_OF_DOCID)] | Annotated[int, Strict()]


class Asker(BaseModel):
    """Who asks. Names are pseudonyms that the application gives; nothing of the connection is used."""

    client_id: Annotated[Name, Field(min_length=1, description="the user; an experiment divides users by it")]
    session_id: MaybeName = ""
    application: MaybeName = ""


class Asking(BaseModel):
    """A request that may name its user."""

    ubi: Asker | None = Field(
        default=None,
        description="the user, for the experiment and the log of the server; without it a request is in neither",
    )


class Noted(BaseModel):
    """What events of this answer refer to."""

    query_id: str
    experiment: str | None = Field(default=None, description="absent if the user is not in one")
    arm: str | None = Field(default=None, description="of an A/B test: the ranker")
    fallback: dict[str, str] | None = Field(
        default=None, description="ranker -> why the first stage stood in for it; absent if all rankers answered"
    )


class Answering(BaseModel):
    """A reply to a request that names its user."""

    ubi: Noted | None = None


class Placed(BaseModel):
    """A document in such a reply."""

    team: str | None = Field(default=None, description="of an interleaved answer: the ranker that the document is from")


# -- events -----------------------------------------------------------------------------------------------------------


class EventObject(BaseModel):
    model_config = ConfigDict(extra="allow")

    object_id: Id = Field(description="the document's id, as the answer had it; its index if it had none")


class Point(BaseModel):
    x: float
    y: float


class Position(BaseModel):
    model_config = ConfigDict(extra="allow")

    ordinal: Annotated[int, Field(strict=True, ge=1)] | None = Field(default=None, description="place, from 1")
    xy: Point | None = None

    @model_validator(mode="after")
    def _is_somewhere(self) -> Position:
        if self.ordinal is None and self.xy is None:
            raise ValueError("expected ordinal or xy")
        return self


class EventAttributes(BaseModel):
    model_config = ConfigDict(extra="allow")

    position: Position
    object: EventObject | None = None
    dwell_time: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="seconds spent on the document"
    )


class Event(BaseModel):
    """An event in UBI's schema 1.3.0. Fields that are not of the schema are left out of the log."""

    action_name: Annotated[Name, Field(min_length=1, description="click, dwell, purchase, or another")]
    query_id: MaybeName = Field(default="", description="from the answer")
    client_id: MaybeName = ""
    session_id: MaybeName = ""
    application: MaybeName = ""
    timestamp: str | None = Field(default=None, description="ISO 8601 with a zone; absent: when the server reads it")
    message_type: MaybeName = Field(default="", description="CONVERSION marks a conversion")
    message: MaybeText = Field(default="", description="logged only with --log-text")
    event_attributes: EventAttributes | None = None

    def logged(self, now: str, with_text: bool, where: str) -> LoggedEvent:
        """
        Args:
            now: for an event without a time.
            with_text: keep texts; else of what clients add only numbers and true and false are kept.

        Raises:
            RrarankError: the time is none, or the event is too long.
        """
        row = self.model_dump(exclude_none=True) | {"timestamp": self.timestamp or now}
        if not with_text:
            row |= {"message": "", "event_attributes": _without_texts(row.get("event_attributes", {}))}
        event = entry_of(LoggedEvent, row, where)
        if (length := len(line_of(event))) > MOST_CHARACTERS:
            raise RrarankError(f"{where}: {length:,} characters, expected at most {MOST_CHARACTERS:,}; send less")
        return event


Events = Annotated[
    list[Event],
    Field(min_length=1, max_length=MOST_EVENTS),
    FailFast(),
    BeforeValidator(lambda sent: [sent] if isinstance(sent, dict) else sent),
]
"""A list of events; one alone will do."""


class Accepted(BaseModel):
    accepted: int = Field(description="events that are on disk")


_IDS = ("object_id", "object_id_field", "object_id_type", "internal_id")


def _without_texts(attributes: Mapping[str, Any]) -> dict[str, JsonValue]:  # Any: checked JSON
    kept: dict[str, JsonValue] = {name: value for name, value in attributes.items() if _is_number(value)}
    if position := attributes.get("position"):
        kept["position"] = {name: value for name, value in position.items() if _is_number(value) or name == "xy"}
    if about := attributes.get("object"):
        kept["object"] = {name: about[name] for name in _IDS if isinstance(about.get(name), str | int)}
    return kept


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
