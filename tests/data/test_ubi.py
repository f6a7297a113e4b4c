"""Logs of queries and events: what is written is UBI's schema, and what others write is read."""

import gzip
import json
import math
import sys
from datetime import datetime
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from pydantic import JsonValue

from rrarank.data.click_logs import ClickColumns, open_log, read_click_log
from rrarank.data.impressions import Rules, impressions, keep
from rrarank.data.ubi import Log, LoggedQuery, click, line_of
from rrarank.data.ubi_files import read_log, write_log, write_parquet
from rrarank.errors import RrarankError

SCHEMAS = Path(__file__).parent / "ubi-1.3.0"
TEAMS: dict[str, JsonValue] = {
    "experiment": "e",
    "design": "team-draft",
    "teams": ["x", "y"],
    "fallback": {"y": "out of time"},
}
QUERY = LoggedQuery("i1", "u1", "2026-01-31T12:00:00+00:00", ("a", "b"), query_attributes=TEAMS)
CLICK = click(QUERY, 2, "2026-01-31T12:00:03.250Z", {"dwell_time": 41.5})


def log_of(folder, queries, events=()):
    for name, lines in (("ubi_queries", queries), ("ubi_events", events)):
        (folder / f"{name}.jsonl").write_text("".join(lines))
    return folder


@pytest.mark.parametrize("write", [write_log, write_parquet])
def test_a_log_is_read_as_it_was_written(tmp_path, write):
    write(tmp_path / "log", [QUERY], [CLICK])
    assert read_log(tmp_path / "log") == Log([QUERY], [CLICK])


def test_the_accessors_know_where_things_stand():
    assert (CLICK.docid, CLICK.ordinal, CLICK.dwell_s, CLICK.is_conversion) == ("b", 2, 41.5, False)
    assert CLICK.seconds - QUERY.seconds == 3.25
    assert (QUERY.teams, QUERY.fallback, QUERY.arm) == (("x", "y"), {"y": "out of time"}, "")


@pytest.mark.parametrize(("entry", "schema"), [(QUERY, "query.request"), (CLICK, "event")])
def test_what_we_write_is_of_the_published_schema(entry, schema):
    text = (SCHEMAS / f"{schema}.schema.json").read_text()
    published = json.loads(text.replace('"oneOf"', '"anyOf"'))  # its own `click` matches both branches of a oneOf
    jsonschema.validate(json.loads(line_of(entry)), published)


def test_a_torn_last_line_is_left_out_and_a_broken_one_before_it_refused(tmp_path):
    whole, torn = line_of(CLICK), line_of(CLICK)[:40]
    log_of(tmp_path, [line_of(QUERY) + "\n"], [whole + "\n", torn])
    assert read_log(tmp_path) == Log([QUERY], [CLICK], torn=1)
    log_of(tmp_path, [line_of(QUERY) + "\n"], [torn + "\n", whole + "\n"])
    with pytest.raises(RrarankError, match=r"ubi_events.jsonl:1: the line: invalid JSON"):
        read_log(tmp_path)


def test_a_line_that_was_torn_within_a_character_is_left_out(tmp_path):
    log_of(tmp_path, [line_of(QUERY) + "\n"])
    other = line_of(click(QUERY, 1, "2026-01-31T12:00:09Z", {"note": "한"})).encode()
    torn = other[: other.index("한".encode()) + 1]
    (tmp_path / "ubi_events.jsonl").write_bytes(line_of(CLICK).encode() + b"\n" + torn)
    assert read_log(tmp_path) == Log([QUERY], [CLICK], torn=1)
    (tmp_path / "ubi_events.jsonl").write_bytes(torn + b"\n" + line_of(CLICK).encode() + b"\n")
    with pytest.raises(RrarankError, match=r"ubi_events.jsonl:1: not UTF-8"):
        read_log(tmp_path)


def test_blank_lines_say_nothing(tmp_path):
    log_of(tmp_path, ["\n", line_of(QUERY) + "\n", "\n"], [line_of(CLICK) + "\n\r\n"])
    assert read_log(tmp_path) == Log([QUERY], [CLICK])


def test_an_event_that_was_sent_again_counts_once(tmp_path):
    log_of(tmp_path, [line_of(QUERY) + "\n"], [line_of(CLICK) + "\n"] * 2)
    assert read_log(tmp_path) == Log([QUERY], [CLICK], repeated=1)


def test_a_query_that_was_logged_twice_counts_once(tmp_path):
    log_of(tmp_path, [line_of(QUERY) + "\n"] * 2, [line_of(CLICK) + "\n"])
    assert read_log(tmp_path) == Log([QUERY], [CLICK], repeated=1)


def test_a_stay_beyond_all_floats_is_long():
    assert click(QUERY, 1, 0, {"dwell_time": 10**400}).dwell_s == sys.float_info.max


def test_a_stay_of_less_than_no_time_is_unknown():
    event = click(QUERY, 2, "2026-01-31T12:00:03.250Z", {"dwell_time": -5})
    assert event.dwell_s is None
    [found], _ = impressions(Log([QUERY], [event]))
    assert math.isnan(found.clicks[0].dwell)


def test_what_spark_writes_is_read_and_faulty_json_in_parquet_is_named(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    row = {"query_id": ["i"], "client_id": ["u"], "timestamp": [datetime(2026, 1, 31, 12)]}
    parquet.write_table(pyarrow.table(row | {"query_attributes": ['{"arm": "a"}']}), tmp_path / "ubi_queries.parquet")
    [query] = read_log(tmp_path).queries
    assert (query.timestamp, query.arm) == ("2026-01-31T12:00:00+00:00", "a")
    parquet.write_table(pyarrow.table(row | {"query_attributes": ["{a"]}), tmp_path / "ubi_queries.parquet")
    with pytest.raises(RrarankError, match=r"ubi_queries.parquet: row 1: query_attributes: not JSON"):
        read_log(tmp_path)


def test_rotated_and_packed_files_are_one_log(tmp_path):
    log_of(tmp_path, [line_of(QUERY) + "\n"])
    other = LoggedQuery("i0", "u2", "2026-01-30T12:00:00+00:00")
    (tmp_path / "ubi_queries.20260130T120000.jsonl.gz").write_bytes(gzip.compress(line_of(other).encode() + b"\n"))
    assert read_log(tmp_path).queries == [other, QUERY]


def test_what_other_loggers_write_is_read(tmp_path):
    """Milliseconds since 1970, nulls, numbers as ids, fields of later versions."""
    query = {"query_id": 7, "client_id": "u", "timestamp": 1769860800000, "query_response_hit_ids": [1, 2]}
    event = {"action_name": "click", "query_id": 7, "timestamp": "2026-01-31T12:00:03", "session_id": None}
    event |= {"event_attributes": {"object": {"object_id": 2}}, "user_id": "x", "message": None}
    log = read_log(log_of(tmp_path, [json.dumps(query | {"query_attributes": None})], [json.dumps(event)]))
    [found], [clicked] = log.queries, log.events
    assert (found.query_id, found.shown, found.timestamp) == ("7", ("1", "2"), "2026-01-31T12:00:00.000+00:00")
    assert (clicked.docid, clicked.ordinal, clicked.seconds - found.seconds) == ("2", None, 3)


def test_impressions_say_what_was_shown_where_the_query_does_not(tmp_path):
    """As OpenSearch's own generator writes it; places of other loggers begin with 0."""
    asked = {"query_id": "i", "client_id": "u", "timestamp": "2026-01-31T12:00:00Z"}

    def event(action, docid, place):
        about = {"object": {"object_id": docid}, "position": {"ordinal": place}}
        return json.dumps(asked | {"action_name": action, "event_attributes": about}) + "\n"

    for first in (0, 1):
        sent = [event("impression", docid, first + place) for docid, place in (("b", 1), ("c", 2), ("a", 0), ("b", 1))]
        sent += [event("click", "b", first + 1), event("click", "x", first)]
        [found], stray = impressions(read_log(log_of(tmp_path, [json.dumps(asked) + "\n"], sent)))
        assert (found.query.shown, [one.place for one in found.clicks], stray) == (("a", "b", "c"), [2], 1)
    known = json.dumps(asked | {"query_response_hit_ids": ["b", "a"]}) + "\n"
    [found], _ = impressions(read_log(log_of(tmp_path, [known], sent)))
    assert found.query.shown == ("b", "a")


def test_bulk_requests_are_read_by_the_index_that_each_names(tmp_path):
    lines = [{"index": {"_index": "ubi_queries", "_id": "1"}}, json.loads(line_of(QUERY))]
    lines += [{"create": {"_index": "ubi_events-000001"}}, json.loads(line_of(CLICK))]
    lines += [{"index": {"_index": "other"}}, {"a": 1}]
    bulk = "".join(f"{json.dumps(line)}\n" for line in lines)
    (tmp_path / "ubi_queries_events.ndjson").write_text(bulk)
    assert read_log(tmp_path) == Log([QUERY], [CLICK])
    (tmp_path / "ubi_queries_events.ndjson").unlink()
    (tmp_path / "ubi_1.ndjson.gz").write_bytes(gzip.compress((bulk + json.dumps(lines[2])).encode()))
    assert read_log(tmp_path) == Log([QUERY], [CLICK])


@pytest.mark.parametrize(
    "line", ['{"query_id": "i"}', '{"delete": {"_index": "ubi_queries"}}', "[]", "{", '{"index": 1}']
)
def test_what_are_no_bulk_requests_is_said(tmp_path, line):
    (tmp_path / "ubi_queries.ndjson").write_text(f"{line}\n{line_of(QUERY)}\n")
    with pytest.raises(RrarankError, match=r'ubi_queries.ndjson:1: expected a line such as {"index": {"_index": "ubi_'):
        read_log(tmp_path)
    with pytest.raises(RrarankError, match=r"a file of bulk requests; give its folder"):
        open_log(tmp_path / "ubi_queries.ndjson")


def test_the_schema_needs_neither_a_user_nor_a_time_of_a_query(tmp_path):
    """Its user is then left out by the rules, and says why; the rest of the log can be read."""
    some = {"query_id": "i1", "user_query": "egg", "query_response_hit_ids": ["a"]}
    for unknown in ({}, {"client_id": None, "timestamp": None}):
        [found] = impressions(read_log(log_of(tmp_path, [json.dumps(some | unknown)])))[0]
        assert (found.user, found.day, found.query.shown) == ("", "", ("a",))
        assert set(keep([found], Rules()).left_out) == {"no client id"}


def test_null_attributes_name_nothing(tmp_path):
    unknown = {"experiment": None, "design": None, "arm": None, "qid": None, "teams": ["x", None]}
    query = json.loads(line_of(QUERY)) | {"user_query": "Egg", "query_attributes": unknown}
    event = json.loads(line_of(CLICK)) | {"event_attributes": {"object": {"object_id": None}}}
    log = read_log(log_of(tmp_path, [json.dumps(query)], [json.dumps(event)]))
    [found], [clicked] = log.queries, log.events
    assert (found.experiment, found.design, found.arm, found.qid, found.teams) == ("", "", "", "", ("x", ""))
    assert (clicked.docid, impressions(log)[0][0].name) == ("", "egg")


@pytest.mark.parametrize("form", ["20260131T235900Z", "2026-W05-6T23:59:00Z", "2026-01-31x23:59:00Z"])
def test_times_are_logged_in_the_form_that_postgresql_reads(form):
    """The first ten characters are the day, and another form would make two days of one."""
    assert click(QUERY, 1, form).timestamp == "2026-01-31T23:59:00+00:00"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"timestamp": "yesterday"}, "timestamp: invalid isoformat string: 'yesterday'"),
        ({"timestamp": 1e30}, r"timestamp: 1e\+30 is no time"),
        ({"query_id": "x" * 101}, "query_id: string should have at most 100 characters"),
        ({"query_id": None}, "query_id: string should have at least 1 character"),
        ({"query_attributes": {"words": [math.nan]}}, "query_attributes: holds nan, which is no number in JSON"),
        ({"query_response_hit_ids": "a"}, "query_response_hit_ids: input should be a valid array"),
    ],
)
def test_faults_name_the_field(tmp_path, change, fault):
    row = {"query_id": "i", "client_id": "u", "timestamp": "2026-01-31T12:00:00Z"} | change
    with pytest.raises(RrarankError, match=rf"ubi_queries.jsonl:1: {fault}"):
        read_log(log_of(tmp_path, [json.dumps(row) + "\n"]))


def test_a_folder_without_queries_is_no_log(tmp_path):
    with pytest.raises(RrarankError, match=r"no logged queries; expected a folder of ubi_queries"):
        read_log(tmp_path)


def test_a_plain_log_with_a_row_a_document(tmp_path):
    (tmp_path / "clicks.csv").write_text(
        "search,user,item,rank,clicked,ts,seconds\n"
        "s1,u1,b,2,1,2026-01-31T12:00:03Z,41.5\ns1,u1,a,1,0,2026-01-31T12:00:00Z,\ns2,u2,c,1,false,1769860800,\n"
    )
    columns = ClickColumns("search", "item", position="rank", client_id="user", timestamp="ts", dwell_time="seconds")
    log = read_click_log(tmp_path / "clicks.csv", columns)
    assert [(query.client_id, query.shown) for query in log.queries] == [("u1", ("a", "b")), ("u2", ("c",))]
    [event] = log.events
    assert event.seconds - log.queries[0].seconds == 3  # the earliest of an impression's times is its own
    assert (event.query_id, event.docid, event.ordinal, event.dwell_s) == ("s1", "b", 2, 41.5)


def test_a_plain_log_of_clicks_alone_tells_nothing_of_what_was_shown(tmp_path):
    rows = [{"query_id": 1, "docid": "b", "position": 4, "arm": "x"}, {"query_id": 1, "docid": "c", "position": 2}]
    (tmp_path / "clicks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    log = read_click_log(tmp_path / "clicks.jsonl")
    assert [query.shown for query in log.queries] == [()]
    assert [(event.docid, event.ordinal, event.client_id) for event in log.events] == [("c", 2, "1"), ("b", 4, "1")]


def test_json_lines_that_say_only_of_clicks_that_they_are_some(tmp_path):
    """The other documents were shown and not clicked, also where a whole list has no click."""
    rows = [{"query_id": 1, "docid": "a"}, {"query_id": 1, "docid": "b", "clicked": True}]
    rows += [{"query_id": 2, "docid": "c"}]
    (tmp_path / "clicks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    log = read_click_log(tmp_path / "clicks.jsonl")
    assert [query.shown for query in log.queries] == [("a", "b"), ("c",)]
    assert [(event.docid, event.ordinal) for event in log.events] == [("b", 2)]


def test_what_is_no_plain_log_is_said(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"query_id": "1", "docid": ["a"]}\n')
    with pytest.raises(RrarankError, match="c.jsonl:1: docid is a list or an object, expected one value"):
        open_log(tmp_path / "c.jsonl")
    (tmp_path / "c.parquet").touch()
    with pytest.raises(RrarankError, match=r"c.parquet: a Parquet file; give the folder with ubi_queries"):
        open_log(tmp_path / "c.parquet")
    with pytest.raises(RrarankError, match="--columns is for a file"):
        open_log(tmp_path, ClickColumns(docid="item"))


def test_a_plain_log_keeps_arms_and_teams(tmp_path):
    (tmp_path / "c.tsv").write_text("query_id\tdocid\tclicked\tteam\tarm\n1\ta\t1\tx\t\n1\tb\t0\ty\t\n2\tb\t0\t\tx\n")
    first, second = read_click_log(tmp_path / "c.tsv").queries
    assert (first.teams, first.arm, second.teams, second.arm) == (("x", "y"), "", (), "x")


@pytest.mark.parametrize(
    ("content", "columns", "fault"),
    [
        ("query_id,item\n1,a\n", ClickColumns(), "c.csv:2: no column 'docid'; it has 'query_id', 'item'"),
        ("query_id,docid\n1,a\n", ClickColumns(client_id="uid"), "c.csv:2: no column 'uid'"),
        (
            "query_id,docid,clicked\n1,a,maybe\n",
            ClickColumns(),
            "c.csv:2: clicked is 'maybe', expected 1 or true, 0 or false",
        ),
        ("query_id,docid,clicked\n1,,1\n", ClickColumns(), "c.csv:2: docid is empty, expected an id"),
        ("query_id,docid\n", ClickColumns(), "c.csv: no rows; expected one for each document"),
        ("query_id,docid\n1,a,b\n", ClickColumns(), "c.csv:2: more values than columns"),
        ("query_id,docid,arm\n1,a\n", ClickColumns(), "c.csv:2: fewer values than columns"),
        ("query_id,docid,docid\n1,a,b\n", ClickColumns(), "c.csv:1: column 'docid' occurs twice"),
        ('query_id,docid\n1,"a\n', ClickColumns(), "c.csv:2: not CSV (unexpected end of data)"),
        ("query_id,docid,timestamp\n1,a,soon\n", ClickColumns(), "c.csv:2: timestamp is 'soon', expected ISO 8601"),
        ("query_id,docid,timestamp\n1,a,1e30\n", ClickColumns(), "c.csv:2: timestamp is '1e30', expected ISO 8601"),
        ("query_id,docid,dwell_time\n1,a,inf\n", ClickColumns(), "c.csv:2: dwell_time is 'inf', expected a number"),
        ("query_id,docid,position\n1,a,nan\n", ClickColumns(), "c.csv:2: position is 'nan', expected a number"),
        ("query_id,docid,position\n1,a,1\n1,b,\n", ClickColumns(), "c.csv:3: position is empty"),
        (
            "query_id,docid,clicked,position\n1,a,1,0\n1,b,0,1\n",
            ClickColumns(),
            "c.csv:2: the positions of query_id '1'",
        ),
        (
            "query_id,docid,clicked,position\n1,a,1,2\n1,b,0,4\n",
            ClickColumns(),
            "c.csv:2: the positions of query_id '1'",
        ),
        (
            "query_id,docid,client_id\n1,a,u\n1,b,v\n",
            ClickColumns(),
            "c.csv:3: client_id is 'v', but 'u' in another row",
        ),
        ("query_id,docid,arm\n1,a,x\n1,b,y\n", ClickColumns(), "c.csv:3: arm is 'y', but 'x' in another row"),
    ],
)
def test_faults_of_a_plain_log_name_the_line(tmp_path, content, columns, fault):
    (tmp_path / "c.csv").write_text(content)
    with pytest.raises(RrarankError) as error:
        read_click_log(tmp_path / "c.csv", columns)
    assert f"{tmp_path}/{fault}" in str(error.value)
