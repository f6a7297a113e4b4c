"""Zero-shot list-wise re-ranking: windows over a real loopback server that ranks by a number in the passages."""

import json
import random
import re
import threading
from typing import Any

import pytest
from job_files import write_inputs  # type: ignore[import-not-found]  # pytest finds it beside this file's folder
from openai_server import (  # type: ignore[import-not-found]  # pytest finds it beside this file's folder
    BEHAVIOURS,
    Reply,
    completion,
    serving,
)

from rrarank.data.trec import read_run
from rrarank.data.types import Candidate, Query, Ranking
from rrarank.engine.registry import load_reranker
from rrarank.errors import MissingResource, RrarankError
from rrarank.llm.listwise import windows
from rrarank.merge import main as merge
from rrarank.rerank.__main__ import main

pytestmark = pytest.mark.usefixtures("no_endpoint")


def worths(request):
    """id -> worth, of the passages `[id] worth …` in a request."""
    lines = re.findall(r"^\[(\d+)\] (\d+) ", request["messages"][-1]["content"], re.MULTILINE)
    return {int(number): int(worth) for number, worth in lines}


def by_worth(request, nth):
    """A judge: the passage of the greatest worth first."""
    found = worths(request)
    best_first = sorted(found, key=lambda number: -found[number])
    return Reply(completion(request, content=" > ".join(f"[{number}]" for number in best_first)))


def says(text, **choice):
    return lambda request, nth: Reply(completion(request, content=text, **choice))


def listwise(server, **config: Any):
    return load_reranker("listwise-llm", model="judge", **{"base_url": server.url, "total_s": 5.0, **config})


def ranking(count, qid="1", seed=0):
    """So many candidates whose worths, a permutation of 0 to count - 1, are in their docids and texts."""
    order = list(range(count))
    random.Random(f"{seed} {qid} {count}").shuffle(order)
    candidates = (Candidate(f"d{worth}", f"{worth} words about {qid}", 0.0) for worth in order)
    return Ranking(Query(qid, f"query {qid}"), tuple(candidates))


def order_of(ranked):
    return [int(candidate.docid[1:]) for candidate in ranked.candidates]


# -- windows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [95, 25, 20, 12, 2, 1, 0])
def test_every_candidate_is_seen_and_the_best_end_on_top(count):
    before = ranking(count)
    with serving(by_worth) as server:
        [ranked] = listwise(server).rerank_block([before])
    seen = [set(worths(request).values()) for request in server.requests]
    assert len(seen) == (len(list(windows(count, 20, 10))) if count > 1 else 0)
    assert set().union(*seen) == set(range(count if count > 1 else 0))
    assert [len(window) for window in seen[:1]] == [min(count, 20)] * (count > 1)
    assert max(map(len, seen), default=0) <= 20
    assert order_of(ranked)[:10] == sorted(range(count), reverse=True)[:10]
    assert sorted(order_of(ranked)) == list(range(count))
    assert set(ranked.candidates) == {
        Candidate(c.docid, c.text, float(count - place)) for place, c in enumerate(ranked.candidates)
    }


def test_the_worst_placed_document_climbs_from_the_bottom_to_the_top():
    before = Ranking(Query("1", "q"), tuple(Candidate(f"d{n}", f"{n} words", 0.0) for n in range(95)))  # 94 stands last
    with serving(by_worth) as server:
        [ranked] = listwise(server).rerank_block([before])
    assert order_of(ranked)[:3] == [94, 93, 92]


def test_window_and_step_are_as_told():
    with serving(by_worth) as server:
        [ranked] = listwise(server, window=4, step=2).rerank_block([ranking(9)])
    assert [len(worths(request)) for request in server.requests] == [4, 4, 4, 3]
    assert order_of(ranked)[:2] == [8, 7]


def test_the_windows_of_a_block_go_side_by_side_and_an_order_does_not_depend_on_it():
    block = [ranking(count, qid=str(count)) for count in (30, 0, 12, 1, 45, 20)]
    first_turn = threading.Barrier(4)  # those with two candidates or more; it lets none pass alone

    def side_by_side(request, nth):
        if len(server.requests) <= 4:
            first_turn.wait(10)
        return by_worth(request, nth)

    with serving(side_by_side) as server:
        together = listwise(server, total_s=20.0).rerank_block(block)
    with serving(by_worth) as server:
        alone = [listwise(server, in_flight=1).rerank_block([one])[0] for one in block]
        assert server.most_at_once == 1
    assert together == alone
    assert [one.query for one in together] == [one.query for one in block]


# -- what an answer leaves out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "order"),
    [
        ("[3] > [1]", "cabd"),
        ("[3] > [1] > [3] > [9]", "cabd"),
        ("[4]", "dabc"),
        ("none", "abcd"),
        ("I cannot rank these.", "abcd"),
        ("", "abcd"),
    ],
)
def test_what_is_left_out_follows_in_the_order_it_came_in(said, order):
    before = Ranking(Query("1", "q"), tuple(Candidate(docid, f"about {docid}", 0.0) for docid in "abcd"))
    with serving(says(said)) as server:
        [ranked] = listwise(server).rerank_block([before])
    assert "".join(c.docid for c in ranked.candidates) == order
    assert [c.score for c in ranked.candidates] == [4.0, 3.0, 2.0, 1.0]


def test_an_answer_that_breaks_off_counts_as_far_as_it_goes():
    before = Ranking(Query("1", "q"), tuple(Candidate(docid, f"about {docid}", 0.0) for docid in "abcd"))
    for said in ("[4] > [2] > [1", "4 > 2 > 3"):  # 3 may be the 3 of 30
        with serving(says(said, finish_reason="length")) as server:
            [ranked] = listwise(server).rerank_block([before])
        assert "".join(c.docid for c in ranked.candidates) == "dbac"


# -- what is asked, and what goes wrong --------------------------------------------------------------------------------


def test_the_question_is_the_prompts_and_passages_are_cut():
    before = Ranking(Query("1", "what is tea"), tuple(Candidate(d, f"{d} " + "word " * 500, 0.0) for d in "ab"))
    with serving(says("[2] > [1]")) as server:
        listwise(server, max_length=12, temperature=0.5, max_tokens=50, extra={"top_k": 1}).rerank_block([before])
    [request] = server.requests
    assert {"model": "judge", "temperature": 0.5, "max_tokens": 50, "top_k": 1}.items() <= request.items()
    asked = request["messages"][-1]["content"]
    assert "Sort all 2 passages by how well they answer the query" in asked
    assert "Query: what is tea" in asked
    assert re.search(r"^\[2\] b (word ){7}word$", asked, re.MULTILINE)


@pytest.mark.parametrize("fault", ["bad-request", "hang"])
def test_a_failure_names_the_query(fault):
    def failing(request, nth):
        return (BEHAVIOURS[fault] if "query 7" in request["messages"][-1]["content"] else by_worth)(request, nth)

    with serving(failing) as server, pytest.raises(MissingResource, match="query '7': judge did not answer") as error:
        listwise(server, total_s=1.5).rerank_block([ranking(3, qid="6"), ranking(3, qid="7")])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model": ""}, "listwise-llm needs --model: a model folder, or the name of a model at the endpoint"),
        ({"window": 10, "step": 11}, "windows of 10 in steps of 11: expected a step from 1 to the size"),
        ({"step": 0}, "windows of 20 in steps of 0: expected"),
        ({"prompt": "rank-al"}, "rank-al: no such file or shipped name; did you mean 'rank-all'?"),
        ({"base_url": "localhost"}, "base_url is not a URL"),
        ({"in_flight": 0}, "in_flight 0, expected 1 or more"),
        ({"windows": 10}, "listwise-llm: no setting 'windows' (known: model, "),
    ],
)
def test_a_setting_that_cannot_be_is_refused(config, message):
    with pytest.raises(RrarankError) as error:
        load_reranker("listwise-llm", **{"model": "judge", "base_url": "http://localhost:1/v1", **config})
    assert str(error.value).startswith(message)


def test_the_fingerprint_names_what_determines_the_order_and_no_host():
    def fingerprint(**config: Any):
        fixed = {"model": "judge", "base_url": "http://secret.host/v1"}
        return load_reranker("listwise-llm", **{**fixed, **config}).fingerprint()

    one = fingerprint()
    assert "secret.host" not in one
    assert one == fingerprint(base_url="http://other.host/v1", in_flight=2, timeout_s=1.0, device="cpu", batch_size=3)
    changes: list[dict[str, Any]] = [{"model": "other"}, {"prompt": "relevant-only"}, {"window": 10, "step": 5}]
    changes += [{"step": 5}, {"context": 4096}, {"max_length": 100}, {"temperature": 1.0}, {"extra": {"top_k": 1}}]
    assert len({one, *(fingerprint(**change) for change in changes)}) == 1 + len(changes)


# -- the verb ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Three queries of 25 candidates."""
    monkeypatch.chdir(tmp_path)
    inputs = write_inputs([ranking(25, qid=qid) for qid in ("q2", "q10", "q1")])
    return [*inputs, "--reranker", "listwise-llm", "--model", "judge"]


def test_rerank_takes_it_by_name_with_options_of_its_own(job, capsys):
    with serving(by_worth) as server:
        assert main([*job, "--option", f"base_url={server.url}", "--option", "window=10", "--option", "step=5"]) == 0
        assert len(server.requests) == 3 * 4
    assert capsys.readouterr().out == "bm25.listwise-llm.trec\n"
    run = read_run("bm25.listwise-llm.trec")
    assert list(run) == ["q2", "q10", "q1"]
    for qid, hits in run.items():
        assert [hit.docid for hit in hits[:5]] == [f"{qid}-d{worth}" for worth in (24, 23, 22, 21, 20)]
        assert len(hits) == 25
    assert "127.0.0.1" not in open("bm25.listwise-llm.trec.json").read()


def test_rerank_names_the_query_that_failed_and_writes_nothing_half(job, tmp_path, capsys):
    with serving(BEHAVIOURS["bad-request"]) as server:
        assert main([*job, "--option", f"base_url={server.url}"]) == 4
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert re.match(r"error: query 'q\d+': judge did not answer \(HTTP 400: This model's context", err)
    assert not (tmp_path / "bm25.listwise-llm.trec").exists()
    with serving(by_worth) as server:
        assert main([*job, "--option", f"base_url={server.url}"]) == 0
    assert len(read_run("bm25.listwise-llm.trec")) == 3


@pytest.mark.parametrize("option", ["window", "windows=3", "window=ten", "extra=[1]", "model=other"])
def test_an_option_that_cannot_be_is_one_line(job, option, capsys, tmp_path):
    before = sorted(tmp_path.iterdir())
    assert main([*job, "--option", option]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"error: --option {option!r}: ")
    assert (out, err.count("\n")) == ("", 1)
    assert sorted(tmp_path.iterdir()) == before


def test_a_dry_run_asks_nothing_and_looks_for_no_files(job, capsys):
    with serving(by_worth) as server:
        assert main([*job, "--option", f"base_url={server.url}", "--dry-run"]) == 0
        assert server.requests == []
    assert "would re-rank" in capsys.readouterr().err


# -- answers without a ranking -----------------------------------------------------------------------------------------

PARTS = [
    {"type": "thinking", "thinking": "[1] > [2]"},
    {"type": "text", "text": "[2] > "},
    {"type": "text", "text": "[1]"},
]


def empty_for(*qids, **message):
    """An answer without a ranking for some queries; `by_worth` for the others."""

    def behave(request, nth):
        asked = re.findall(r"query (q\d+)", request["messages"][-1]["content"])[0]
        silent = {"content": None, "finish_reason": "length", **message}
        return Reply(completion(request, **silent)) if asked in qids else by_worth(request, nth)

    return behave


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "reasoning_content": "[1] > [2]"},
        {"content": ""},
        {"content": "<think>[1] > [2]"},
        {"content": None, "refusal": "I cannot rank these."},
        {"content": [{"type": "thinking", "thinking": "[1] > [2]"}]},
    ],
)
def test_queries_that_the_model_did_not_rank_are_counted_and_named(message, job, capsys):
    options = ["--option", "max_tokens=512"]
    with serving(empty_for("q10", **message)) as server:
        assert main([*job, *options, "--option", f"base_url={server.url}"]) == 7
    out, err = capsys.readouterr()
    assert out == "bm25.listwise-llm.trec\n"
    verdict = "refused" if message.get("refusal") else "no ids"
    assert f"6 answers (ok 4, {verdict} 2)" in err
    assert "error: 1 queries were not ranked ('q10'): they keep their first-stage order" in err
    sidecar = json.loads(open("bm25.listwise-llm.trec.json").read())
    assert (sidecar["answers"], sidecar["unranked"]) == ({"ok": 4, verdict: 2}, ["q10"])
    before, after = (read_run(name)["q10"] for name in ("bm25.trec", "bm25.listwise-llm.trec"))
    assert [hit.docid for hit in after] == [hit.docid for hit in before]


def test_a_model_that_ranks_nothing_gives_no_run(job, tmp_path, capsys):
    with serving(empty_for("q2", "q10", "q1")) as server:
        assert main([*job, "--option", f"base_url={server.url}"]) == 4
        asked = len(server.requests)
        assert main([*job, "--option", f"base_url={server.url}"]) == 4
        assert len(server.requests) == 2 * asked  # it may have been mended meanwhile
    out, err = capsys.readouterr()
    assert out == ""
    assert "error: judge ranked none of 3 queries (no ids 6); no run is written" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bm25.trec", "texts.jsonl", "topics.tsv"]


def test_a_model_that_ranks_nothing_prints_nothing(job, capsys):
    with serving(empty_for("q2", "q10", "q1")) as server:
        assert main([*job, "--option", f"base_url={server.url}", "--output", "-"]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert "ranked none of 3 queries (no ids 6); no run is written" in err


def add_queries(*numbers):
    """Copies of q1's candidates; the file's three queries and these fill blocks of eight."""
    run = open("bm25.trec").read()
    more = "".join(line.replace("q1 ", f"q{n} ") for n in numbers for line in run.splitlines(True) if "q1 " in line)
    open("bm25.trec", "w").write(run + more)
    open("topics.tsv", "a").write("".join(f"q{n}\tquery q{n}\n" for n in numbers))


def test_a_part_of_which_nothing_is_ranked_is_written_for_the_whole(job, capsys):
    add_queries(*range(3, 10))
    with serving(empty_for("q8", "q9")) as server:
        options = [*job, "--option", f"base_url={server.url}"]
        assert main([*options, "--shard", "1/2"]) == 0
        assert main([*options, "--shard", "2/2"]) == 7
    capsys.readouterr()
    assert merge([f"bm25.listwise-llm.{part}-of-2.trec" for part in (1, 2)]) == 7
    out, err = capsys.readouterr()
    assert out == "bm25.listwise-llm.trec\n"
    assert "20 answers (ok 16, no ids 4)" in err
    assert json.loads(open("bm25.listwise-llm.trec.json").read())["unranked"] == ["q8", "q9"]


def test_counts_outlive_a_stop(job, capsys):
    def failing(request, nth):
        asked = re.findall(r"query (q\d+)", request["messages"][-1]["content"])[0]
        return BEHAVIOURS["bad-request"](request, nth) if asked == "q9" else empty_for("q2")(request, nth)

    add_queries(*range(3, 10))  # q9 falls into the second block
    with serving(failing) as server:
        assert main([*job, "--option", f"base_url={server.url}"]) == 4
    with serving(by_worth) as server:
        assert main([*job, "--option", f"base_url={server.url}"]) == 7
        assert len(server.requests) == 2 * 2
    assert "20 answers (ok 18, no ids 2)" in capsys.readouterr().err
    assert json.loads(open("bm25.listwise-llm.trec.json").read())["unranked"] == ["q2"]


def test_the_text_parts_of_an_answer_are_joined():
    with serving(says(PARTS)) as server:
        [ranked] = listwise(server).rerank_block([ranking(2)])
    assert [c.docid for c in ranked.candidates] == ["d1", "d0"]


def test_a_query_that_was_not_ranked_is_logged_where_no_job_counts(caplog):
    with serving(says("")) as server:
        listwise(server).rerank_block([ranking(2, qid="7"), ranking(1, qid="8")])
    assert [record.getMessage() for record in caplog.records] == ["query '7' keeps its order: judge ranked nothing"]


# -- options -----------------------------------------------------------------------------------------------------------


def test_temperature_and_limit_can_be_left_out_or_renamed(job, capsys):
    options = ["temperature=none", "max_tokens=0", 'extra={"max_completion_tokens": 512}', "key_header=api-key"]
    with serving(by_worth) as server:
        flags = [flag for option in [*options, f"base_url={server.url}"] for flag in ("--option", option)]
        assert main([*job, *flags]) == 0
    assert server.requests[0].keys() == {"model", "messages", "max_completion_tokens"}
    assert "api-key" in server.headers[0]


@pytest.mark.parametrize(
    "name",
    ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "HOME", "openai_api_key", "MY_OPENAI_API_KEY_X", "RRARANK_API_KEYS"],
)
def test_a_variable_that_is_no_key_of_an_endpoint_is_not_sent(name, monkeypatch):
    monkeypatch.setenv(name, "secret")
    with pytest.raises(
        RrarankError, match=f"api_key_env '{name}' is no usual name of a key; type: export RRARANK_API_KEY"
    ):
        load_reranker("listwise-llm", model="judge", base_url="http://localhost:1/v1", api_key_env=name)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "RRARANK_API_KEY", "CLOVASTUDIO_API_KEY"])
def test_a_usual_key_is_sent(name, monkeypatch):
    monkeypatch.setenv(name, "secret")
    with serving(by_worth) as server:
        listwise(server, api_key_env=name).rerank_block([ranking(2)])
    assert server.headers[0]["authorization"] == "Bearer secret"
