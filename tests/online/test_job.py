"""The verb `online`: from a log to tables, whoever is left out said, whatever cannot be trusted refused."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from online_log import make_log  # type: ignore[import-not-found]  # pytest finds it beside this folder
from pydantic import JsonValue

from rrarank.data.impressions import Rules, impressions, keep
from rrarank.data.ubi import Log, LoggedQuery, click, iso_time, line_of
from rrarank.data.ubi_files import read_log, write_log
from rrarank.errors import RrarankError
from rrarank.measures.online_file import read_lifts
from rrarank.online.__main__ import main

DOCS = [f"d{number}" for number in range(5)]
ATTRACTION = {"1": dict(zip(DOCS, [0.1, 0.2, 0.3, 0.6, 0.8], strict=True)), "2": dict.fromkeys(DOCS, 0.4)}
ARMS = {"bm25": dict.fromkeys(ATTRACTION, DOCS), "rra": dict.fromkeys(ATTRACTION, DOCS[::-1])}


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    for design in ("ab", "team-draft"):
        log = make_log(ARMS, ATTRACTION, users=160, design=design, days=4)
        write_log(folder / design, log.queries, log.events)
    return folder


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_an_ab_test_is_compared_over_users(logs, capsys):
    outputs = ["out.json", "out.html", "out.png", "out.md", "out.tex"]
    assert main(["--log", str(logs / "ab"), "--plan", "5%", "--output", *outputs]) == 0
    found = json.loads(Path("out.json").read_text())
    assert found["format"] == "rrarank.online/1"
    assert found["baseline"] == "bm25"
    assert sum(arm["users"] for arm in found["arms"]) == 160
    by_measure = {one["measure"]: one for one in found["lifts"]["rra"]}
    assert by_measure["ctr"]["difference"] == pytest.approx(-by_measure["abandonment"]["difference"])
    assert by_measure["abandonment"]["holm"] is None
    assert by_measure["click@1"]["low"] < by_measure["click@1"]["difference"] < by_measure["click@1"]["high"]
    assert [look["when"] for look in found["looks"]["rra"]] == sorted({look["when"] for look in found["looks"]["rra"]})
    assert {one["measure"] for one in found["plans"]} >= {"ctr", "dwell"}
    assert json.loads(Path("out.json.json").read_text())["config"]["rules"]["dwell_cap"] == 600
    page = Path("out.html").read_text()
    assert "<svg" in page
    assert "no mismatch" in page
    assert "by delta method" in Path("out.md").read_text()
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")


def test_a_tab_that_was_left_open_does_not_decide_the_time_to_the_first_click(logs, capsys):
    log = read_log(logs / "ab")
    late = next(one for one in log.events if one.action_name == "click")
    night = replace(late, timestamp=iso_time(late.seconds + 36_000))
    others = [one for one in log.events if one.query_id != late.query_id]
    write_log("late", log.queries, [*others, night])
    flags = ["--log", "late", "--measures", "wait", "--overwrite", "--output", "late.json", "-"]
    assert main(flags) == 0
    assert "1 times to the first click were capped." in capsys.readouterr().out
    assert _slowest("late.json") < 60
    assert main([*flags, "--wait-cap", "40000"]) == 0
    assert _slowest("late.json") > 60
    assert main(["--log", "late", "--wait-cap", "0"]) == 2
    assert "--wait-cap 0: expected more than 0 seconds" in capsys.readouterr().err


def test_a_log_whose_impressions_are_events_has_the_same_result(logs, capsys):
    """OpenSearch's own generator writes so, and as one file of bulk requests."""
    log = read_log(logs / "ab")
    queries = [replace(one, query_response_hit_ids=()) for one in log.queries]
    events = [*log.events, *_seen(log)]
    Path("bulk").mkdir()
    with Path("bulk", "ubi_queries_events.ndjson").open("w") as file:
        for index, entries in (("ubi_queries", queries), ("ubi_events", events)):
            file.writelines(f'{{"index": {{"_index": "{index}"}}}}\n{line_of(one)}\n' for one in entries)
    assert main(["--log", str(logs / "ab"), "--output", "ab.json"]) == 0
    assert main(["--log", "bulk", "--output", "bulk.json"]) == 0
    assert json.loads(Path("bulk.json").read_text()) == json.loads(Path("ab.json").read_text())


def _seen(log):
    """An event for each shown document."""
    for query in log.queries:
        for place in range(1, len(query.shown) + 1):
            yield click(query, place, query.timestamp, action="impression")


def _slowest(path):
    """Seconds to the first click, in the slower of two arms."""
    [lift] = json.loads(Path(path).read_text())["lifts"]["rra"]
    return max(lift["reference"], lift["value"])


def test_interleaving_gives_a_preference_and_its_parts(logs, capsys):
    assert main(["--log", str(logs / "team-draft"), "--plan", "0.1"]) == 0
    out = capsys.readouterr().out
    assert "Each user sees all rankers." in out
    assert "preferred" in out
    assert "p of votes" in out


def test_simulated_users_are_said_to_be_so_everywhere(logs, capsys):
    main(["--log", str(logs / "ab"), "--simulated", "--output", "-", "s.json"])
    assert capsys.readouterr().out.count("SIMULATED USERS.") == 3
    assert read_lifts("s.json", "rra", "bm25").simulated


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"lifts": {"rra": [{"measure": "ctr"}]}}, "malformed (KeyError 'value')"),
        ({"lifts": {"rra": "x"}}, "malformed (TypeError"),
        ({"split_p": "x"}, "malformed (TypeError"),
        ({"lifts": {}}, "of interleaved lists, which give preferences"),
        ({"baseline": "x"}, "compares 'rra' with 'x', expected 'rra' with 'bm25'"),
    ],
)
def test_a_file_that_was_changed_is_one_line(logs, change, fault):
    main(["--log", str(logs / "ab"), "--measures", "ctr", "--output", "s.json"])
    Path("s.json").write_text(json.dumps(json.loads(Path("s.json").read_text()) | change))
    with pytest.raises(RrarankError, match=re.escape(f"s.json: {fault}")):
        read_lifts("s.json", "rra", "bm25")


def test_a_ranker_that_was_not_shown_is_estimated(logs, capsys):
    lines = [f"{q} Q0 {d} 1 {s} new" for q in ATTRACTION for s, d in enumerate(DOCS)]
    Path("new.trec").write_text("\n".join(lines) + "\n")
    assert (
        main(
            ["--log", str(logs / "ab"), "--estimate", "new.trec", "--click-model", "intervention", "--output", "e.json"]
        )
        == 0
    )
    found = json.loads(Path("e.json").read_text())
    clicks = next(one for one in found["lifts"]["rra"] if one["measure"] == "clicks")
    assert found["estimates"]["new"]["ips"] == pytest.approx(clicks["value"], rel=0.15)  # it is the arm `rra`
    assert found["estimates"]["new"]["covered"] == pytest.approx(1)


def test_a_mismatch_is_said_first(logs, capsys):
    assert main(["--log", str(logs / "ab"), "--shares", "bm25=9", "rra=1"]) == 0
    out, err = capsys.readouterr()
    assert "SAMPLE-RATIO MISMATCH" in out
    assert "find the fault before you read the lifts" in err


def test_plain_csv_without_times_is_read_by_its_columns(capsys):
    rows = ["id,who,doc,hit,arm"]
    for user in range(40):
        arm = "a" if user % 2 else "b"
        rows += [f"q{user},u{user},{d},{int(d == 'x' and (user % 2 or user % 4 == 0))},{arm}" for d in ("x", "y")]
    Path("clicks.csv").write_text("\n".join(rows) + "\n")
    columns = ["query_id=id", "client_id=who", "docid=doc", "clicked=hit"]
    assert main(["--log", "clicks.csv", "--columns", *columns]) == 0
    out = capsys.readouterr().out
    assert "20" in out
    assert "robot" not in out
    assert "time to the first click" not in out
    assert "ab, no times." in out


def test_a_log_of_one_arm_is_refused(logs, capsys):
    log = read_log(logs / "ab")
    write_log("one", [query for query in log.queries if query.arm == "bm25"], log.events)
    assert main(["--log", "one"]) == 2
    assert "experiment 'e': users of 'bm25' alone, expected two arms or more" in capsys.readouterr().err


def test_a_log_without_a_click_is_refused(logs, capsys):
    log = read_log(logs / "ab")
    write_log("none", log.queries, [replace(event, query_id="other") for event in log.events])
    assert main(["--log", "none"]) == 2
    said = (
        f"none: no click on a shown document in {len(log.queries)} queries; {len(log.events)} events are of no logged"
    )
    assert said in capsys.readouterr().err


def test_it_is_said_when_most_users_are_left_out(logs, capsys):
    log = read_log(logs / "ab")
    arms = [{**query.query_attributes, "arm": "bm25" if n % 2 else "rra"} for n, query in enumerate(log.queries)]
    queries = [replace(query, query_attributes=own) for query, own in zip(log.queries, arms, strict=True)]
    write_log("both", queries, log.events)
    assert main(["--log", "both"]) == 0
    assert "users are left out (153 in two arms); find out why" in capsys.readouterr().err


def test_a_log_of_both_designs_is_refused(logs, capsys):
    """Else one interleaved list would silently leave out the A/B test."""
    ab, drafted = read_log(logs / "ab"), read_log(logs / "team-draft")
    write_log("both", [*ab.queries, replace(drafted.queries[0], query_id="other")], ab.events)
    assert main(["--log", "both"]) == 2
    said = f"experiment 'e': 1 interleaved lists and {len(ab.queries)} lists of one arm; expected one design"
    assert said in capsys.readouterr().err


def test_interleaved_lists_of_one_ranker_are_refused(logs, capsys):
    """A document of no ranker is not another one's."""
    log = read_log(logs / "team-draft")
    own: dict[str, JsonValue] = {"experiment": "e", "teams": ["bm25", "", "bm25", "bm25", "bm25"]}
    queries = [replace(one, query_attributes=own) for one in log.queries]
    write_log("alone", queries, log.events)
    assert main(["--log", "alone"]) == 2
    assert "documents of 'bm25' alone, expected two rankers or more" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--measures", "ctr"], ["--look-at", "clicks"], ["--shares", "bm25=1", "rra=1"]])
def test_what_interleaving_does_not_answer_is_refused(logs, capsys, flags):
    assert main(["--log", str(logs / "team-draft"), *flags]) == 2
    assert f"{flags[0]}: only for an A/B test; experiment 'e' has interleaved lists" in capsys.readouterr().err


def test_without_a_figure_nothing_is_written(logs, capsys):
    assert main(["--log", str(logs / "team-draft"), "--output", "out.html", "out.png"]) == 2
    assert "out.png: nothing to draw" in capsys.readouterr().err
    assert not Path("out.html").exists()


def test_runs_of_one_name_are_refused(logs, capsys):
    """Else one of them would be left out silently."""
    assert main(["--log", str(logs / "ab"), "--estimate", "a/new.trec", "b/new.trec"]) == 2
    assert "--estimate: two runs are named 'new'" in capsys.readouterr().err


def test_one_user_gives_no_plan(capsys):
    own: dict[str, JsonValue] = {"experiment": "e", "design": "team-draft", "teams": ["a", "b"], "qid": "1"}
    one = LoggedQuery("q", "u", iso(1_760_000_000), ("x", "y"), query_attributes=own)
    write_log("single", [one], [click(one, 1, one.seconds + 2)])
    assert main(["--log", "single", "--plan", "0.05"]) == 0
    out, err = capsys.readouterr()
    assert "Traffic" not in out
    assert "too few users, or all alike" in err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--experiment", "f"], "no experiment 'f'; did you mean"),
        (["--baseline", "bm24"], "--baseline bm24: not in the experiment (known: bm25, rra)"),
        (["--shares", "bm25=none"], "--shares 'none': expected a number above 0"),
        (["--shares", "bm25=inf", "rra=1"], "--shares 'inf': expected a number above 0"),
        (["--shares", "bm25=1"], "--shares of bm25: expected one for each arm with users in the log (bm25, rra)"),
        (["--shares", "bm25=1", "rra=1", "x=1"], "--shares of bm25, rra, x: expected one for each arm"),
        (["--most-queries", "-3"], "--most-queries -3: expected 0 or more"),
        (["--click-all", "0"], "--click-all 0: expected a share above 0"),
        (["--fastest", "nan"], "--fastest nan: expected 0 seconds or more"),
        (["--dwell-cap", "nan"], "--dwell-cap nan: expected more than 0 seconds"),
        (["--clip", "0"], "--clip 0: expected a weight above 0"),
        (["--seed", "-1"], "--seed -1: expected 0 or more"),
        (["--columns", "docs=x"], "--columns docs: no such name"),
        (["--columns", "docid=x", "docid=y"], "--columns docid: given twice"),
        (["--output", "x.xyz"], "x.xyz"),
    ],
)
def test_odd_flags_are_one_line(logs, capsys, flags, said):
    if flags[0] == "--experiment":
        said = "no experiment 'f'"
    assert main(["--log", str(logs / "ab"), *flags]) == 2
    assert said in capsys.readouterr().err


# -- rules ------------------------------------------------------------------------------------------------------------


def user(name, queries, arm="a", clicks=1, after=3.0, start=1_760_000_000):
    logged = [
        LoggedQuery(f"{name}-{n}", name, iso(start + n), tuple(DOCS), query_attributes={"arm": arm, "qid": "1"})
        for n in range(queries)
    ]
    return logged, [click(query, place + 1, query.seconds + after) for query in logged for place in range(clicks)]


def iso(seconds):
    from rrarank.data.ubi import iso_time

    return iso_time(float(seconds))


def test_clicks_with_the_time_of_their_query_are_no_robots():
    """Plain logs have one time for an impression and its clicks."""
    log = Log(*user("usual", 9, after=0.0))
    found, _ = impressions(log)
    assert keep(found, Rules()).left_out == {}
    assert math.isnan(found[0].clicks[0].after)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (user("odd", 300), "robot: more than 200 queries on a day"),
        (user("odd", 5, clicks=5), "robot: clicks on 90% of all documents shown"),
        (user("odd", 5, after=0.1), "robot: half of its first clicks within 0.2 s"),
        (user("", 1), "no client id"),
    ],
)
def test_users_are_left_out_by_stated_rules(odd, reason):
    usual = user("usual", 6)
    log = Log([*usual[0], *odd[0]], [*usual[1], *odd[1]])
    kept = keep(impressions(log)[0], Rules())
    assert kept.left_out == {reason: {odd[0][0].client_id}}
    assert {one.user for one in kept.impressions} == {"usual"}


def test_a_user_in_two_arms_is_left_out():
    first, second = user("odd", 1, arm="a"), user("odd", 1, arm="b", start=1_770_000_000)
    renamed = [replace(query, query_id="other") for query in second[0]]
    kept = keep(impressions(Log([*first[0], *renamed], first[1]))[0], Rules())
    assert list(kept.left_out) == ["in two arms"]


def test_the_place_tells_documents_with_one_id_apart():
    query = LoggedQuery("q", "u", iso(5), ("x", "x"), query_attributes={"teams": ["a", "b"]})
    [one], stray = impressions(Log([query], [click(query, 2, query.seconds + 1)]))
    assert (one.clicks[0].place, one.teams, stray) == (2, ["b"], 0)


def test_strays_are_counted_and_a_document_clicked_twice_counts_once():
    [query], [event] = user("u", 1)
    stray = click(replace(query, query_id="nowhere"), 1, query.seconds)
    found, strays = impressions(Log([query], [event, replace(event, timestamp=iso(query.seconds + 9)), stray]))
    assert len(found[0].clicks) == 1
    assert found[0].clicks[0].after == pytest.approx(3.0)
    assert strays == 1
