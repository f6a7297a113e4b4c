"""The files of a log: a folder of `ubi_queries*` and `ubi_events*`, JSON lines, Parquet or OpenSearch bulk requests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rrarank.data.ubi import Entry, Log, LoggedEvent, LoggedQuery, T, entry_of, line_of, parse_line, row_of
from rrarank.errors import RrarankError
from rrarank.extras import importing
from rrarank.storage.files import atomic_write, read_lines
from rrarank.storage.leftovers import temporary_file

QUERIES, EVENTS = "ubi_queries", "ubi_events"
"""How the names of the files begin; OpenSearch's indexes have the same names."""
SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
BULK = (".ndjson", ".ndjson.gz")
"""Of files of bulk requests, whose lines may be of both kinds."""
_OBJECTS = ("query_attributes", "event_attributes")  # columns of JSON: their keys differ from row to row


def read_log(path: str | Path) -> Log:
    """A log's queries and events, each file's in its order, the files in the order of their names.

    Args:
        path: the folder, with one or many files of each kind.

    Raises:
        RrarankError: the folder has no queries, or a line is not of the schema.
    """
    (asked, torn), (sent, torn_events) = _entries(path, QUERIES, LoggedQuery), _entries(path, EVENTS, LoggedEvent)
    queries: dict[str, LoggedQuery] = {}
    for query in asked:
        queries.setdefault(query.query_id, query)
    if not queries:
        raise RrarankError(f"{path}: no logged queries; expected a folder of {QUERIES}*.jsonl and {EVENTS}*.jsonl")
    events = {line_of(event): event for event in sent}
    repeated = len(asked) - len(queries) + len(sent) - len(events)
    return Log(list(queries.values()), list(events.values()), torn + torn_events, repeated)


def write_log(folder: str | Path, queries: Iterable[LoggedQuery], events: Iterable[LoggedEvent]) -> None:
    """Write a log as two files of JSON lines, each whole or not at all."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, entries in ((QUERIES, queries), (EVENTS, events)):
        with atomic_write(Path(folder, f"{name}.jsonl")) as file:
            file.writelines(f"{line_of(one)}\n" for one in entries)


def write_parquet(folder: str | Path, queries: Sequence[LoggedQuery], events: Sequence[LoggedEvent]) -> None:
    """Write a log as two files of Parquet, each whole or not at all; attributes are columns of JSON.

    Raises:
        MissingPrerequisite: pyarrow is not installed.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    _write_parquet(Path(folder, f"{QUERIES}.parquet"), queries)
    _write_parquet(Path(folder, f"{EVENTS}.parquet"), events)


# -- reading ----------------------------------------------------------------------------------------------------------


def _entries(path: str | Path, name: str, kind: type[T]) -> tuple[list[T], int]:
    """The entries of all files of a kind, and how many lines were torn."""
    found: list[T] = []
    torn = 0
    for file in sorted(one for one in Path(path).glob("ubi_*") if _holds(one.name, name)):
        if file.suffix == ".parquet":
            found += _read_parquet(file, kind)
        else:
            for entry in _read_lines(file, name, kind):
                found += [] if entry is None else [entry]
                torn += entry is None
    return found, torn


def _holds(file: str, name: str) -> bool:
    return file.endswith(BULK) or (file.startswith(name) and file.endswith(SUFFIXES))


def _read_lines(path: Path, name: str, kind: type[T]) -> Iterator[T | None]:
    """The entries; None for a last line without a line end that cannot be read."""
    try:
        lines = ((number, line) for number, line in enumerate(read_lines(path), start=1) if line.strip())
        for number, line in _of_index(lines, name, path) if path.name.endswith(BULK) else lines:
            try:
                yield parse_line(kind, line, f"{path}:{number}")
            except RrarankError:
                if line.endswith("\n"):
                    raise
                yield None
    except RrarankError as error:
        if not _is_torn_character(error.__cause__):
            raise
        yield None


def _of_index(lines: Iterator[tuple[int, str]], name: str, path: Path) -> Iterator[tuple[int, str]]:
    """The lines of bulk requests that go to an index; before each stands one that names it."""
    for number, action in lines:
        try:
            [(verb, about)] = json.loads(action).items()
            index = about.get("_index", path.name)
        except (ValueError, AttributeError):
            verb = index = ""
        if verb not in ("index", "create"):
            such_as = json.dumps({"index": {"_index": name}})
            raise RrarankError(
                f"{path}:{number}: expected a line such as {such_as} before each document, as bulk requests have; "
                "without them, name the file .jsonl"
            )
        line = next(lines, None)
        if line and str(index).startswith(name):
            yield line


def _is_torn_character(error: BaseException | None) -> bool:
    """Whether a file ends within a character of several bytes."""
    return isinstance(error, UnicodeDecodeError) and error.reason == "unexpected end of data"


# -- Parquet ----------------------------------------------------------------------------------------------------------


def _read_parquet(path: Path, kind: type[T]) -> Iterator[T]:
    with importing():
        from pyarrow import ArrowException, parquet
    try:
        rows = parquet.read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise RrarankError(f"{path}: not a Parquet file that can be read ({str(error).splitlines()[0]})") from error
    for number, row in enumerate(rows, start=1):
        where = f"{path}: row {number}"
        unpacked = {
            name: _unpacked(value, f"{where}: {name}") if name in _OBJECTS else value for name, value in row.items()
        }
        yield entry_of(kind, unpacked, where)


def _unpacked(value: object, where: str) -> object:
    """JSON, or a struct as other writers have it."""
    if not isinstance(value, str):
        return _without_nulls(value)
    try:
        return json.loads(value)
    except ValueError as error:
        raise RrarankError(f"{where}: not JSON ({error})") from None


def _without_nulls(value: Any) -> Any:  # of Arrow: any nesting of its types
    """A struct column has every key of every row."""
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return value


def _write_parquet(path: Path, entries: Sequence[Entry]) -> None:
    with importing():
        import pyarrow
        from pyarrow import parquet
    rows = [{name: _packed(value) for name, value in row_of(entry).items()} for entry in entries]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    with temporary_file(path.resolve()) as temporary:
        parquet.write_table(pyarrow.table(columns), temporary)
        temporary.replace(path)


def _packed(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
