"""Plain click logs, a row for each shown or clicked document, read as a log in UBI's schema."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pydantic import JsonValue

from rrarank.data.documents import json_object
from rrarank.data.ubi import CLICK, Log, LoggedEvent, LoggedQuery, click, entry_of, iso_time
from rrarank.data.ubi_files import read_log
from rrarank.errors import RrarankError, shown
from rrarank.storage.files import read_lines
from rrarank.storage.packed import unpacked


@dataclass(frozen=True)
class ClickColumns:
    """The names of a file's columns. A file without one of the optional columns lacks what it tells.

    Args:
        query_id: one impression of a query; its rows may stand apart.
        docid: with `query_id` the only column that a file must have.
        clicked: 1 or true for a click, 0 or false for a document that was only shown. Without it every row is a click,
            and what was shown beside it is not known.
        position: from 1. Without it the rows of an impression are in the order shown.
        client_id: the user. Without it each impression is a user of its own.
        timestamp: ISO 8601, or seconds since 1970. Without it the times are unknown, and 1970.
        dwell_time: seconds on the clicked document.
    """

    query_id: str = "query_id"
    docid: str = "docid"
    clicked: str = "clicked"
    position: str = "position"
    client_id: str = "client_id"
    timestamp: str = "timestamp"
    user_query: str = "user_query"
    dwell_time: str = "dwell_time"
    qid: str = "qid"
    experiment: str = "experiment"
    design: str = "design"
    arm: str = "arm"
    team: str = "team"


@dataclass(frozen=True)
class _Row:
    """One row by our names."""

    where: str
    values: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")

    def number(self, name: str) -> float | None:
        if not (text := self[name]):
            return None
        try:
            return float(text)
        except ValueError:
            raise RrarankError(f"{self.where}: {name} is {text!r}, expected a number") from None

    @property
    def is_click(self) -> bool:
        if "clicked" not in self.values:
            return True
        if (found := _CLICKED.get(self["clicked"].strip().lower())) is None:
            raise RrarankError(f"{self.where}: clicked is {self['clicked']!r}, expected one of {', '.join(_CLICKED)}")
        return found


_CLICKED = {"1": True, "0": False, "true": True, "false": False, "": False}


def open_log(place: str | Path, columns: ClickColumns | None = None) -> Log:
    """A folder in UBI's schema, or a file of clicks by its columns.

    Raises:
        RrarankError: nothing is there, or it is malformed.
    """
    if Path(place).is_dir():
        return read_log(place)
    if not Path(place).exists():
        raise RrarankError(f"{place}: no such log; expected a folder of ubi_queries* and ubi_events*, or a file")
    return read_click_log(place, columns)


def read_click_log(path: str | Path, columns: ClickColumns | None = None) -> Log:
    """A `.csv`, `.tsv` or `.jsonl` file, also packed.

    Raises:
        RrarankError: a column or a value is missing, or is not of its kind.
    """
    impressions: dict[str, list[_Row]] = {}
    for row in _rows(path, columns or ClickColumns()):
        impressions.setdefault(row["query_id"], []).append(row)
    if not impressions:
        raise RrarankError(f"{path}: no rows; expected one for each document")
    queries, events = [], []
    for rows in impressions.values():
        query, own = _impression(rows)
        queries.append(query)
        events += own
    return Log(queries, events)


def _impression(rows: Sequence[_Row]) -> tuple[LoggedQuery, list[LoggedEvent]]:
    if all(row["position"] for row in rows):
        rows = sorted(rows, key=lambda row: row.number("position") or 0)
    first, is_whole = rows[0], "clicked" in rows[0].values
    attributes: dict[str, JsonValue] = {name: first[name] for name in ("qid", "experiment", "design", "arm")}
    attributes = {name: value for name, value in attributes.items() if value}
    order = dict.fromkeys(row["docid"] for row in rows)  # a document with two clicks was shown once
    if is_whole and any(row["team"] for row in rows):
        teams = {row["docid"]: row["team"] for row in rows}
        attributes["teams"] = [teams[docid] for docid in order]
    fields_of_query = {
        "query_id": first["query_id"],
        "client_id": first["client_id"] or first["query_id"],
        "timestamp": _time(first),
        "query_response_hit_ids": list(order) if is_whole else [],
        "user_query": first["user_query"],
        "query_attributes": attributes,
    }
    query = entry_of(LoggedQuery, fields_of_query, first.where)
    places = {docid: place for place, docid in enumerate(order, start=1)}
    return query, [_click(query, row, places[row["docid"]]) for row in rows if row.is_click]


def _click(query: LoggedQuery, row: _Row, place: int) -> LoggedEvent:
    position, dwell = row.number("position"), row.number("dwell_time")
    ordinal = int(position) if position is not None else place
    own: dict[str, JsonValue] = {} if dwell is None else {"dwell_time": dwell}
    if query.shown:
        return click(query, place, _time(row), own)
    about: dict[str, JsonValue] = {"object": {"object_id": row["docid"]}, "position": {"ordinal": ordinal}}
    return LoggedEvent(CLICK, iso_time(_time(row)), query.query_id, query.client_id, event_attributes=about | own)


def _time(row: _Row) -> str | float:
    text = row["timestamp"] or "0"
    return float(text) if text.replace(".", "", 1).isdecimal() else text


# -- rows -------------------------------------------------------------------------------------------------------------


def _rows(path: str | Path, columns: ClickColumns) -> Iterator[_Row]:
    names = {field.name: str(getattr(columns, field.name)) for field in fields(columns)}
    for where, row in _read(path):
        _check_columns(row, names, where)
        found = {name: _text(row[column]) for name, column in names.items() if column in row}
        for needed in ("query_id", "docid"):
            if not found[needed]:
                raise RrarankError(f"{where}: {names[needed]} is empty, expected an id")
        yield _Row(where, found)


def _check_columns(row: Mapping[str, object], names: Mapping[str, str], where: str) -> None:
    usual = ClickColumns()
    needed = {name for name, column in names.items() if column != getattr(usual, name)} | {"query_id", "docid"}
    if lacking := [names[name] for name in sorted(needed) if names[name] not in row]:
        raise RrarankError(f"{where}: no column {shown(lacking)}; it has {shown(row, 20)}")


def _read(path: str | Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Each row with its place; of any file but `.jsonl` the first line names the columns."""
    suffix = Path(unpacked(Path(path).name)).suffix
    if suffix == ".jsonl":
        for number, line in enumerate(read_lines(path), start=1):
            if line.strip():
                yield f"{path}:{number}", json_object(line, f"{path}:{number}")
        return
    reader = csv.DictReader(read_lines(path), delimiter="\t" if suffix == ".tsv" else ",", restval="")
    for row in reader:
        if None in row:
            raise RrarankError(f"{path}:{reader.line_num}: more values than columns")
        yield f"{path}:{reader.line_num}", row


def _text(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return str(value).lower() if isinstance(value, bool) else str(value)
