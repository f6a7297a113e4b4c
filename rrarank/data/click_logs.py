"""Plain click logs, a row for each shown or clicked document, read as a log in UBI's schema."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue

from rrarank.data.documents import json_object
from rrarank.data.ubi import CLICK, Log, LoggedEvent, LoggedQuery, click, entry_of, iso_time
from rrarank.data.ubi_files import BULK, read_log
from rrarank.errors import RrarankError, shown
from rrarank.storage.files import read_lines
from rrarank.storage.packed import unpacked


@dataclass(frozen=True)
class ClickColumns:
    """The names of a file's columns. A file without one of the optional columns lacks what it tells.

    Args:
        query_id: one impression of a query; its rows may stand apart.
        docid: with `query_id` the only column that a file must have.
        clicked: 1 or true for a click; 0, false or nothing for a document that was only shown. In a file without it
            every row is a click, and what was shown beside it is not known.
        position: from 1. Without it the rows of an impression are in the order shown.
        client_id: the user. Without it each impression is a user of its own.
        timestamp: ISO 8601, or seconds since 1970; the earliest of an impression's is the query's. Without it the
            times are unknown, and 1970.
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
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise RrarankError(f"{self.where}: {name} is {text!r}, expected a number")
        return number

    @property
    def time(self) -> str:
        """ISO 8601."""
        text = self["timestamp"] or "0"
        try:
            return iso_time(float(text) if _NUMBER.fullmatch(text) else text)
        except ValueError:
            raise RrarankError(
                f"{self.where}: timestamp is {text!r}, expected ISO 8601 or seconds since 1970"
            ) from None

    @property
    def is_click(self) -> bool:
        if (found := _CLICKED.get(self["clicked"].strip().lower())) is None:
            raise RrarankError(f"{self.where}: clicked is {self['clicked']!r}, expected 1 or true, 0 or false")
        return found


_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_CLICKED = {"1": True, "0": False, "true": True, "false": False, "": False}


def open_log(place: str | Path, columns: ClickColumns | None = None) -> Log:
    """A folder in UBI's schema, or a file of clicks by its columns.

    Raises:
        RrarankError: nothing is there, or it is malformed.
    """
    if Path(place).is_dir():
        if columns:
            raise RrarankError(f"{place}: a folder has the columns of UBI; --columns is for a file")
        return read_log(place)
    if not Path(place).exists():
        raise RrarankError(f"{place}: no such log; expected a folder of ubi_queries* and ubi_events*, or a file")
    if str(place).endswith(BULK):
        raise RrarankError(f"{place}: a file of bulk requests; give its folder, with the file named ubi_*.ndjson")
    if Path(place).suffix == ".parquet":
        raise RrarankError(
            f"{place}: a Parquet file; give the folder with ubi_queries*.parquet and ubi_events*.parquet, or CSV, TSV "
            "or JSON lines with --columns"
        )
    return read_click_log(place, columns)


def read_click_log(path: str | Path, columns: ClickColumns | None = None) -> Log:
    """A `.csv`, `.tsv` or `.jsonl` file, also packed.

    Raises:
        RrarankError: a column or a value is missing, or is not of its kind.
    """
    impressions: dict[str, list[_Row]] = {}
    is_whole = False
    for row in _rows(path, columns or ClickColumns()):
        impressions.setdefault(row["query_id"], []).append(row)
        is_whole |= "clicked" in row.values  # of JSON lines, some may be without it
    if not impressions:
        raise RrarankError(f"{path}: no rows; expected one for each document")
    queries, events = [], []
    for rows in impressions.values():
        query, own = _impression(rows, is_whole)
        queries.append(query)
        events += own
    return Log(queries, events)


def _impression(rows: Sequence[_Row], is_whole: bool) -> tuple[LoggedQuery, list[LoggedEvent]]:
    """
    Args:
        is_whole: whether the rows are all documents shown; else they are clicks alone.
    """
    about = {name: _one_of(rows, name) for name in ("client_id", "user_query", *_ATTRIBUTES)}
    if any(row["position"] for row in rows):
        rows = sorted(rows, key=_position)
    if is_whole and rows[0]["position"]:
        _check_places(rows)
    first = rows[0]
    attributes: dict[str, JsonValue] = {name: about[name] for name in _ATTRIBUTES if about[name]}
    order = dict.fromkeys(row["docid"] for row in rows)  # a document with two clicks was shown once
    if is_whole and any(row["team"] for row in rows):
        teams = {row["docid"]: row["team"] for row in rows}
        attributes["teams"] = [teams[docid] for docid in order]
    fields_of_query = {
        "query_id": first["query_id"],
        "client_id": about["client_id"] or first["query_id"],
        "timestamp": min((row.time for row in rows), key=datetime.fromisoformat),
        "query_response_hit_ids": list(order) if is_whole else [],
        "user_query": about["user_query"],
        "query_attributes": attributes,
    }
    query = entry_of(LoggedQuery, fields_of_query, first.where)
    places = {docid: place for place, docid in enumerate(order, start=1)}
    return query, [_click(query, row, places[row["docid"]]) for row in rows if not is_whole or row.is_click]


def _click(query: LoggedQuery, row: _Row, place: int) -> LoggedEvent:
    position, dwell = row.number("position"), row.number("dwell_time")
    ordinal = int(position) if position is not None else place
    own: dict[str, JsonValue] = {} if dwell is None else {"dwell_time": dwell}
    if query.shown:
        return click(query, place, row.time, own)
    about: dict[str, JsonValue] = {"object": {"object_id": row["docid"]}, "position": {"ordinal": ordinal}}
    return LoggedEvent(CLICK, row.time, query.query_id, query.client_id, event_attributes=about | own)


_ATTRIBUTES = ("qid", "experiment", "design", "arm")


def _one_of(rows: Sequence[_Row], name: str) -> str:
    """What an impression's rows have in common; refused if query_id names the query, and not one showing of it."""
    given = [row for row in rows if row[name]]
    for row in given:
        if row[name] != given[0][name]:
            raise RrarankError(
                f"{row.where}: {name} is {row[name]!r}, but {given[0][name]!r} in another row of query_id "
                f"{row['query_id']!r}; expected one query_id for each time that a list was shown"
            )
    return given[0][name] if given else ""


def _position(row: _Row) -> float:
    place = row.number("position")
    if place is None:
        raise RrarankError(f"{row.where}: position is empty, but other rows of query_id {row['query_id']!r} have one")
    return place


def _check_places(rows: Sequence[_Row]) -> None:
    """Refuse lists with gaps: what stood there would be taken for not shown, and the rest for higher than it was."""
    places = list({row["docid"]: _position(row) for row in reversed(rows)}.values())[::-1]
    if places != list(range(1, len(places) + 1)):
        seen = shown([f"{place:g}" for place in places])
        raise RrarankError(
            f"{rows[0].where}: the positions of query_id {rows[0]['query_id']!r} are {seen}, expected 1 to "
            f"{len(places)}: a row for each shown document"
        )


# -- rows -------------------------------------------------------------------------------------------------------------


def _rows(path: str | Path, columns: ClickColumns) -> Iterator[_Row]:
    names = {field.name: str(getattr(columns, field.name)) for field in fields(columns)}
    for where, row in _read(path):
        _check_columns(row, names, where)
        found = {name: _text(row[column], where, column) for name, column in names.items() if column in row}
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
    reader = csv.reader(read_lines(path), delimiter="\t" if suffix == ".tsv" else ",", strict=True)
    try:
        head = next(reader, [])
        if twice := [name for place, name in enumerate(head) if name in head[:place]]:
            raise RrarankError(f"{path}:1: column {twice[0]!r} occurs twice")
        for row in filter(None, reader):
            if len(row) != len(head):
                how = "more" if len(row) > len(head) else "fewer"
                raise RrarankError(f"{path}:{reader.line_num}: {how} values than columns")
            yield f"{path}:{reader.line_num}", dict(zip(head, row, strict=True))
    except csv.Error as error:
        raise RrarankError(f"{path}:{reader.line_num}: not CSV ({error})") from None


def _text(value: object, where: str, column: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list | dict):
        raise RrarankError(f"{where}: {column} is a list or an object, expected one value")
    return str(value).lower() if isinstance(value, bool) else str(value)
