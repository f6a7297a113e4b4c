"""An experiment in a real server: who is shown what, what the log says, and what stands in for a ranker that fails."""

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from server_process import serving  # type: ignore[import-not-found]  # pytest finds it beside this file

from rrarank.data.impressions import impressions
from rrarank.data.ubi_files import read_log
from rrarank.engine.experiment import Experiment, Ranker
from rrarank.serve.__main__ import main
from rrarank.sources.lucene import build_index

SLEEPER = Path(__file__).with_name("sleeper.py")
SCHEMAS = Path(__file__).parents[1] / "data" / "ubi-1.3.0"
MODELS = '[words]\nreranker = "sleepy-pairs"\n\n[letters]\nreranker = "sleeper"\n'
TEXTS = ["a", "b b b b", "ccccccccc", "dd dd"]  # by letters: c b d a; by words: b d a c
CANDIDATES = [{"docid": f"d{n}", "score": 9 - n, "doc": text} for n, text in enumerate(TEXTS)]


def experiment(folder, **more):
    rankers = {"first": {"model": "first-stage"}, "long": {"model": "letters"}}
    content = {"name": "e", "design": "ab", "rankers": rankers}
    (folder / "experiment.yaml").write_text(json.dumps(content | more))  # JSON is YAML
    return folder / "experiment.yaml"


def start(folder, *flags, **more):
    (folder / "models.toml").write_text(MODELS)
    flags = ("--models", folder / "models.toml", *flags)
    return serving(folder, *flags, "--experiment", experiment(folder, **more), command=[SLEEPER])


@pytest.fixture(scope="module")
def ab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ab")
    with start(folder, "--log", folder / "users") as server:
        yield server, folder / "users"


@pytest.fixture(scope="module")
def draft(tmp_path_factory):
    folder = tmp_path_factory.mktemp("draft")
    rankers = {"first": {"model": "first-stage"}, "long": {"model": "letters"}, "wordy": {"model": "words"}}
    with start(
        folder, "--log", folder / "users", "--log-text", "--log-addresses", design="team-draft", rankers=rankers
    ) as server:
        yield server, folder / "users"


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """An experiment for half of the users and without a log, whose rankers have little time."""
    rankers = {"a": {"model": "letters"}, "b": {"model": "letters"}}
    with start(tmp_path_factory.mktemp("half"), traffic=0.5, timeout_ms=100, rankers=rankers) as server:
        yield server


def ask(server, user, candidates=CANDIDATES, query="q one", **more):
    body = {"query": {"text": query}, "candidates": candidates, "ubi": {"client_id": user}} | more
    reply = server.post(body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def order(reply):
    return [one["docid"] for one in reply["candidates"]]


def logged(folder, reply):
    return next(one for one in read_log(folder).queries if one.query_id == reply["ubi"]["query_id"])


def event(reply, place=1, **more):
    attributes = {"object": {"object_id": order(reply)[place - 1]}, "position": {"ordinal": place}}
    given = {"action_name": "click", "query_id": reply["ubi"]["query_id"], "client_id": "u"}
    return given | {"event_attributes": attributes} | more


def test_users_are_shown_their_arms_ranker_and_the_log_says_which(ab):
    server, folder = ab
    orders = {"first": ["d0", "d1", "d2", "d3"], "long": ["d2", "d1", "d3", "d0"]}
    test = Experiment("e", "ab", {"first": Ranker("first-stage"), "long": Ranker("letters")})
    seen = set()
    for user in map(str, range(8)):
        reply = ask(server, user)
        arm = reply["ubi"]["arm"]
        assert arm == test.arm(user)
        assert order(reply) == orders[arm]
        entry = logged(folder, reply)
        assert (entry.client_id, entry.arm, entry.design, list(entry.shown)) == (user, arm, "ab", orders[arm])
        seen.add(arm)
    assert seen == {"first", "long"}


def test_health_tells_the_page_whether_to_name_a_user(ab, half, tmp_path):
    """Its browser keeps and sends nothing otherwise."""
    with serving(tmp_path, "--reranker", "bm25") as plain:
        for server, wanted in ((ab[0], (True, True)), (half, (True, False)), (plain, (False, False))):
            found = server.get("/health").json()
            assert (found["experiment"], found["log"]) == wanted


def test_what_the_page_sends_is_an_impression_with_its_click(ab):
    server, folder = ab
    reply = server.post({"query": "q", "documents": TEXTS, "ubi": {"client_id": "page"}}).json()
    about = {"object": {"object_id": str(reply["results"][1]["index"])}, "position": {"ordinal": 2}}
    click = {"action_name": "click", "query_id": reply["ubi"]["query_id"], "client_id": "page"}
    assert server.post(click | {"event_attributes": about}, "/v1/events").json() == {"accepted": 1}
    [found] = [one for one in impressions(read_log(folder))[0] if one.user == "page"]
    assert (found.query.experiment, [one.place for one in found.clicks]) == ("e", [2])


def test_scores_tell_the_order_and_not_the_ranker(ab):
    reply = ask(ab[0], "u")
    assert [one["score"] for one in reply["candidates"]] == [1, 1 / 2, 1 / 3, 1 / 4]
    assert (reply["meta"]["relevance_score"], reply["model"]) == ("rank", "e")


def test_neither_texts_nor_addresses_are_logged_unless_asked_for(ab, draft):
    for server, _ in (ab, draft):
        sent = event(ask(server, "u", query="secret words"), message="secret message")
        sent["event_attributes"] |= {"note": "secret note", "scroll": 3, "dwell_time": 2.5}
        sent["event_attributes"]["object"] |= {"description": "secret title", "internal_id": {"name": "secret name"}}
        assert server.post(sent, "/v1/events").json() == {"accepted": 1}
    lines = ["".join(file.read_text() for file in folder.glob("*.jsonl")) for _, folder in (ab, draft)]
    assert "secret" not in lines[0]
    assert "127.0.0.1" not in lines[0]
    assert all(f"secret {word}" in lines[1] for word in ("words", "message", "note", "title"))
    assert "127.0.0.1" in lines[1]
    kept = read_log(ab[1]).events[-1]
    assert (kept.event_attributes["scroll"], kept.dwell_s, kept.docid[0]) == (3, 2.5, "d")


def test_repetitions_of_a_query_can_be_told_without_its_text(ab):
    names = [logged(ab[1], ask(ab[0], "u", query=query)) for query in ("One  two", "one two", "one three")]
    assert names[0].qid == names[1].qid != names[2].qid
    assert names[0].query_attributes["words"] == 2
    own = ab[0].post({"query": {"text": "x", "qid": 7}, "candidates": CANDIDATES, "ubi": {"client_id": "u"}}).json()
    assert logged(ab[1], own).qid == "7"


def test_each_document_has_its_team(draft):
    server, folder = draft
    reply = ask(server, "u")
    teams = [one["team"] for one in reply["candidates"]]
    assert sorted(order(reply)) == ["d0", "d1", "d2", "d3"]
    assert set(teams[:3]) == {"first", "long", "wordy"}
    assert list(logged(folder, reply).teams) == teams
    assert order(ask(server, "u")) == order(reply)
    assert len({tuple(order(ask(server, str(number)))) for number in range(9)}) > 1


def test_documents_keep_their_ids_and_top_n(draft):
    server, folder = draft
    documents = [{"id": "x", "text": "a a"}, {"text": "bb"}, "ccc"]
    reply = server.post({"query": "q", "documents": documents, "top_n": 2, "ubi": {"client_id": "u"}}).json()
    ids = ["x", "1", "2"]
    assert list(logged(folder, reply).shown) == [ids[one["index"]] for one in reply["results"]]
    assert (len(reply["results"]), all(one["team"] for one in reply["results"])) == (2, True)


def test_a_document_with_an_empty_id_leaves_the_log_readable(ab):
    server, folder = ab
    reply = ask(server, "u", [{"docid": "", "score": 1, "doc": "a"}, {"docid": "x", "score": 0, "doc": "b"}])
    assert sorted(logged(folder, reply).shown) == ["0", "x"]


def test_an_id_that_is_too_long_for_the_log_is_refused_and_not_cut(ab):
    """Cut ids would name other documents; without a user nothing is logged, and any id will do."""
    server, folder = ab
    before = len(read_log(folder).queries)
    long, user = "x" * 257, {"ubi": {"client_id": "u"}}
    named = {"query": {"text": "q", "qid": long}, "candidates": CANDIDATES}
    documents = {"query": "q", "documents": [{"id": long, "text": "a"}]}
    candidates = {"query": {"text": "q"}, "candidates": [CANDIDATES[0] | {"docid": long}]}
    for body, what in ((named, "the qid"), (documents, "a document's id"), (candidates, "a document's id")):
        reply = server.post(body | user)
        wanted = f"{what} has 257 characters, expected at most 256 where ubi names the user"
        assert (reply.status_code, reply.json()["message"]) == (422, wanted)
        assert server.post(body).status_code == 200
    assert len(read_log(folder).queries) == before


def answering(server):
    """The models that the last lines of the access log name, the newest first."""
    server.get("/health")  # then the lines of what came before are written
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [line.get("model") for line in reversed(lines) if line["route"] == "/v1/rerank"]


def test_the_access_log_names_the_models_that_answered(ab, draft):
    server, _ = ab
    for user in map(str, range(8)):
        arm = ask(server, user)["ubi"]["arm"]
        assert answering(server)[0] == {"first": "first-stage", "long": "letters"}[arm]
    server, _ = draft
    ask(server, "u")
    ask(server, "u", [*CANDIDATES, {"docid": "x", "score": 0, "doc": "fail"}])
    assert answering(server)[:2] == ["first-stage, words", "first-stage, letters, words"]
    assert 'model="first-stage, words"' in server.get("/metrics").text


@pytest.mark.parametrize(("text", "why"), [("fail", "failed: RrarankError"), ("crash", "failed: ValueError")])
def test_the_first_stage_stands_in_for_a_ranker_that_fails(draft, text, why):
    server, folder = draft
    reply = ask(server, "u", [*CANDIDATES, {"docid": "x", "score": 0, "doc": text}])
    assert reply["ubi"]["fallback"] == {"long": why}
    assert logged(folder, reply).fallback == {"long": why}
    assert f'"fallback long": "{why}"' in server.log.read_text()


def test_the_first_stage_stands_in_for_a_ranker_that_runs_out_of_time(half):
    user = next(str(n) for n in range(9) if "experiment" in ask(half, str(n))["ubi"])
    reply = ask(half, user, [*CANDIDATES, {"docid": "x", "score": 0, "doc": "sleep 1"}])
    assert list(reply["ubi"]["fallback"].values()) == ["out of time"]
    assert order(reply) == ["d0", "d1", "d2", "d3", "x"]


def test_without_a_user_nothing_is_tried_or_logged(ab):
    server, folder = ab
    before = len(read_log(folder).queries)
    reply = server.post({"query": {"text": "q"}, "candidates": CANDIDATES}).json()
    assert "ubi" not in reply
    assert reply["candidates"][0]["score"] > 1
    assert len(read_log(folder).queries) == before


def test_users_outside_the_traffic_are_answered_as_without_it(half):
    user = next(str(n) for n in range(9) if "experiment" not in ask(half, str(n))["ubi"])
    reply = ask(half, user, model="words")
    assert (order(reply)[0], set(reply["ubi"])) == ("d1", {"query_id"})


@pytest.mark.parametrize("option", [{"interpolate": 0.5}, {"min_score": 1.0}, {"budget_ms": 9.0}])
def test_options_of_one_reranker_are_refused(ab, option):
    body = {"query": {"text": "q"}, "candidates": CANDIDATES, "ubi": {"client_id": "u"}} | option
    assert f"{next(iter(option))}: the experiment's rankers decide" in ab[0].post(body).json()["message"]


# -- events -----------------------------------------------------------------------------------------------------------


def test_events_are_acknowledged_when_they_are_in_the_log(ab):
    server, folder = ab
    reply = ask(server, "u")
    conversion = event(reply, action_name="purchase", message_type="CONVERSION", timestamp="2026-01-31T12:00:00+09:00")
    assert server.post([event(reply, 2), conversion], "/v1/events").json() == {"accepted": 2}
    [click, purchase] = [one for one in read_log(folder).events if one.query_id == reply["ubi"]["query_id"]]
    assert (click.ordinal, click.docid, purchase.is_conversion) == (2, order(reply)[1], True)
    assert abs(click.seconds - time.time()) < 60
    assert purchase.timestamp == "2026-01-31T12:00:00+09:00"


def test_the_log_is_of_the_published_schema(ab):
    server, folder = ab
    server.post(event(ask(server, "u")), "/v1/events")
    for name, schema in (("ubi_queries", "query.request"), ("ubi_events", "event")):
        text = (SCHEMAS / f"{schema}.schema.json").read_text().replace('"oneOf"', '"anyOf"')
        lines = [line for file in folder.glob(f"{name}*") for line in file.read_text().splitlines()]
        assert lines
        for line in lines:
            jsonschema.validate(json.loads(line), json.loads(text))


def test_null_is_as_good_as_nothing_where_a_field_may_be_absent(ab):
    server, folder = ab
    unknown = dict.fromkeys(("session_id", "application", "message_type", "message", "timestamp"))
    reply = ask(server, "u", ubi={"client_id": "u", "session_id": None, "application": None})
    assert server.post(event(reply, **unknown), "/v1/events").json() == {"accepted": 1}
    nobody = {"action_name": "login", "query_id": None, "client_id": None, "event_attributes": None}
    assert server.post(nobody, "/v1/events").json() == {"accepted": 1}
    events = read_log(folder).events
    assert any(one.query_id == reply["ubi"]["query_id"] and one.session_id == "" for one in events)
    assert any((one.action_name, one.query_id, one.client_id) == ("login", "", "") for one in events)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"action_name": ""}, "action_name: string should have at least 1 character"),
        ({"timestamp": "soon"}, "event 1: timestamp: invalid isoformat string"),
        ({"timestamp": "99999-01-01"}, "event 1: timestamp: invalid isoformat string"),
        ({"event_attributes": {"object": {"object_id": "a"}}}, "position: field required"),
        ({"event_attributes": {"position": {"x": 1}}}, "position: value error, expected ordinal or xy"),
        ({"event_attributes": {"position": {"ordinal": 0}}}, "ordinal: input should be greater than or equal to 1"),
        ({"event_attributes": {"position": {"ordinal": 1}, "dwell_time": -1}}, "dwell_time: input should be greater"),
        ({"query_id": "x" * 101}, "query_id: string should have at most 100 characters"),
        ({"event_attributes": {"position": {"ordinal": 1}} | {f"n{i}": i for i in range(900)}}, "event 1: 1"),
    ],
)
def test_faulty_events_are_refused_and_none_of_their_request_is_kept(ab, change, fault):
    server, folder = ab
    before = len(read_log(folder).events)
    good = {"action_name": "click", "event_attributes": {"position": {"ordinal": 1}}}
    reply = server.post(good | change, "/v1/events")
    assert reply.status_code == 422
    assert fault in reply.json()["message"]
    assert server.post([good, good | change], "/v1/events").status_code == 422
    assert len(read_log(folder).events) == before


def test_a_request_holds_so_many_events(ab):
    server, _ = ab
    reply = server.post([{"action_name": "click"}] * 1_001, "/v1/events")
    assert (reply.status_code, "at most 1000 items" in reply.json()["message"]) == (422, True)


def test_an_experiment_without_a_log_is_told_once(ab, half):
    said = "--experiment without --log DIR: users see its lists, but nothing is logged"
    assert [server.log.read_text().count(said) for server in (half, ab[0])] == [1, 0]


def test_a_server_without_a_log_takes_no_events(half):
    reply = half.post({"action_name": "click"}, "/v1/events")
    assert (reply.status_code, "start it with --log DIR" in reply.json()["message"]) == (404, True)


@pytest.mark.slow
def test_a_search_is_in_the_experiment_too(tmp_path):
    texts = {"a": "cat cat cat", "b": "a cat that sat on the mat", "c": "a dog"}
    build_index(texts.items(), tmp_path / "pets")
    rankers = {"a": {"model": "letters"}, "b": {"model": "letters"}}
    flags = ("--index", tmp_path / "pets", "--log", tmp_path / "users")
    with start(tmp_path, *flags, design="team-draft", rankers=rankers) as server:
        plain = server.post({"query": "cat", "hits": 1}, "/v1/search").json()
        found = server.post({"query": "cat", "hits": 1, "ubi": {"client_id": "u"}}, "/v1/search").json()
        assert ([one["docid"] for one in plain["candidates"]], "ubi" in plain) == (["a"], False)
        [shown] = found["candidates"]
        assert (shown["docid"], shown["score"], shown["team"] in rankers) == ("b", 1.0, True)
        entry = logged(tmp_path / "users", found)
        assert (entry.shown, entry.teams, entry.experiment) == (("b",), (shown["team"],), "e")


def test_a_killed_server_loses_no_acknowledged_event(tmp_path):
    """SIGKILL while eight clients send as fast as they can."""
    acknowledged: list[str] = []
    with start(tmp_path, "--log", tmp_path / "users", "--log-fsync", "never") as server:
        ask(server, "u")
        stop = threading.Event()

        def send(client):
            for number in range(10_000):
                name = f"{client}-{number}"
                try:
                    reply = server.post({"action_name": "click", "query_id": name}, "/v1/events")
                except Exception:
                    return
                if reply.status_code == 200:
                    acknowledged.append(name)
                if len(acknowledged) > 300:
                    stop.set()

        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(send, client) for client in range(8)]
            assert stop.wait(60)
            server.process.send_signal(signal.SIGKILL)
            for job in jobs:
                job.result(60)
    assert len(acknowledged) > 300
    assert set(acknowledged) <= {one.query_id for one in read_log(tmp_path / "users").events}


# -- start ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "flags", "fault"),
    [
        ({"rankers": {"a": {"model": "first-stage"}, "b": {"model": "none"}}}, [], "rankers.b: no model 'none' (the"),
        ({"timeout_ms": 5000}, ["--timeout", "5"], "timeout_ms 5000 is not below --timeout 5 s"),
        ({"design": "best"}, [], "design is 'best'"),
        (
            {"design": "team-draft", "rankers": {"a": {"model": "first-stage"}, "b": {"model": "bm25", "share": 3}}},
            [],
            "share: only for the design ab; all rankers of a team-draft pick alike",
        ),
        ({}, ["--log-text"], "--log-text: nothing is logged without --log DIR"),
        ({}, ["--log-fsync", "often"], "--log-fsync often: input should be 'always' or 'never'"),
    ],
)
def test_a_server_does_not_start_with_a_faulty_experiment(tmp_path, capsys, change, flags, fault):
    rankers = {"a": {"model": "first-stage"}, "b": {"model": "bm25"}}
    path = experiment(tmp_path, **{"rankers": rankers, **change})
    assert main(["--reranker", "bm25", "--port", "0", "--experiment", str(path), *flags]) == 2
    assert fault in capsys.readouterr().err


def test_a_model_is_not_taken_for_the_first_stage(tmp_path, capsys):
    path = experiment(tmp_path, rankers={"a": {"model": "first-stage"}, "b": {"model": "bm25"}})
    models = tmp_path / "models.toml"
    models.write_text('[first-stage]\nreranker = "bm25"\n[bm25]\nreranker = "bm25"\n')
    assert main(["--models", str(models), "--port", "0", "--experiment", str(path)]) == 2
    assert "'first-stage' is the first stage's order there; name that model otherwise" in capsys.readouterr().err
