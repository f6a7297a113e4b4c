"""The generating job as a user types it: a real loopback server writes the queries, a real Lucene index finds them."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from openai_server import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    BEHAVIOURS,
    Reply,
    after,
    answer,
    completion,
    serving,
)

from rrarank.data.distillation_set import read_set
from rrarank.data.topics import read_topics
from rrarank.data.trec import read_qrels
from rrarank.generate.__main__ import main
from rrarank.generate.queries import FAULTS
from rrarank.generate.writer import load_query_prompt
from rrarank.label.__main__ import main as label
from rrarank.retrieve.__main__ import main as retrieve
from rrarank.sources.lucene import build_index

NUMBERS = range(30)
FILLER = "grows where rain falls often and people of the coast gather it with baskets before winter comes".split()


pytestmark = pytest.mark.usefixtures("no_endpoint")


def passage(number):
    """About one thing, which the other passages do not name."""
    return f"Thing{number} {' '.join(random.Random(number).sample(FILLER, 12))}."


@pytest.fixture(scope="session")
def indexed(tmp_path_factory):
    """A collection and its index, with the sidecar that retrieve gives it."""
    folder = tmp_path_factory.mktemp("things")
    rows = (json.dumps({"id": f"d{number}", "contents": passage(number)}) + "\n" for number in NUMBERS)
    (folder / "texts.jsonl").write_text("".join(rows) + '{"id": "short", "contents": "Thing99 grows."}\n')
    (folder / "topics.tsv").write_text("1\tbaskets\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert retrieve(["--index", "index", "--collection", "texts.jsonl", "--topics", "topics.tsv"]) == 0
    return folder


INPUTS = ["index", "index.json", "texts.jsonl"]
MADE = ["synthetic.qrels.txt", "synthetic.qrels.txt.json", "synthetic.topics.tsv", "synthetic.topics.tsv.json"]
DONE = sorted([*INPUTS, *MADE])
BOUNDS = ["--retries", "1", "--timeout", "3", "--total-timeout", "8"]


@pytest.fixture
def job(indexed, tmp_path, monkeypatch):
    """Flags of a job about all the passages in a folder of its own; the server's URL is still to come."""
    monkeypatch.chdir(tmp_path)
    for name in INPUTS:
        (shutil.copytree if name == "index" else shutil.copy)(indexed / name, tmp_path / name)
    return ["--collection", "texts.jsonl", "--index", "index", "--model", "writer", "--passages", "30", *BOUNDS]


def at(server, job, *more):
    return [*job, "--base-url", server.url, *more]


def number_of(request):
    """Of the thing that the passage is about."""
    return int(re.findall(r"Passage: Thing(\d+)", request["messages"][-1]["content"])[0])


def write(request, nth):
    return Reply(completion(request, content=f'Query: "where is thing{number_of(request)} found"'))


def only(numbers, then, others=write):
    return lambda request, nth: (then if number_of(request) in numbers else others)(request, nth)


def says(text, **choice):
    return lambda request, nth: Reply(completion(request, content=text, **choice))


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def written():
    return Path("synthetic.topics.tsv").read_bytes(), Path("synthetic.qrels.txt").read_bytes()


# -- from passages to queries ------------------------------------------------------------------------------------------


def test_passages_become_topics_and_judgments(job, tmp_path, capsys):
    with serving(write) as server:
        assert main(at(server, job, "--passages", "8")) == 0
        assert len(server.requests) == 8
    out, err = capsys.readouterr()
    assert out == "synthetic.topics.tsv\nsynthetic.qrels.txt\n"
    assert "800 tokens asked, 160 answered\n" in err
    assert err.endswith("8 of 8 passages have a query\n")
    assert files(tmp_path) == DONE
    topics, qrels = read_topics("synthetic.topics.tsv"), read_qrels("synthetic.qrels.txt")
    assert list(topics) == list(qrels)
    assert len(topics) == 8
    for qid, query in topics.items():
        assert re.fullmatch("syn-[0-9a-f]{12}", qid)
        assert query == f"where is thing{next(iter(qrels[qid]))[1:]} found"
        assert list(qrels[qid].values()) == [1]


def test_the_queries_go_on_to_a_run_and_a_distillation_set(job, capsys):
    with serving(write) as server:
        main(at(server, job, "--passages", "4"))
    assert retrieve(["--index", "index", "--topics", "synthetic.topics.tsv", "--hits", "10"]) == 0
    with serving(answer) as server:
        run = ["--run", "synthetic.topics.bm25.trec", "--preranker", "bm25", "--model", "judge"]
        assert label([*run, "--base-url", server.url]) == 0
    labels = read_set("synthetic.topics.bm25.llm.jsonl")
    assert {one.query.qid: one.query.text for one in labels} == read_topics("synthetic.topics.tsv")


def test_equal_jobs_give_equal_bytes_and_another_seed_others(job):
    def slow_at_first(request, nth):
        return after(0.01 * (30 - number_of(request)), write)(request, nth)

    made = []
    for behave, flags in (
        (slow_at_first, ["--in-flight", "30"]),
        (write, ["--in-flight", "1"]),
        (write, ["--seed", "7"]),
    ):
        with serving(behave) as server:
            assert main(at(server, job, "--passages", "10", "--overwrite", *flags)) == 0
        made.append((*written(), Path("synthetic.topics.tsv.json").read_bytes()))
    assert made[0] == made[1]
    assert set(made[0][0].splitlines()) != set(made[2][0].splitlines())


def test_more_passages_only_add_queries(job):
    made = []
    for passages in ("5", "12"):
        with serving(write) as server:
            main(at(server, job, "--passages", passages, "--overwrite"))
        made.append(Path("synthetic.topics.tsv").read_text().splitlines())
    assert made[1][:5] == made[0]
    assert len(made[1]) == 12


def test_short_passages_are_not_asked_about(job, capsys):
    with serving(write) as server:
        assert main(at(server, job, "--passages", "99")) == 0
        assert sorted(map(number_of, server.requests)) == list(NUMBERS)
        assert "texts.jsonl has only 30 passages to ask about" in capsys.readouterr().err
        assert main(at(server, job, "--passages", "99", "--shortest-passage", "2", "--overwrite")) == 0
        assert sorted(map(number_of, server.requests[30:])) == [*NUMBERS, 99]


def test_what_is_no_query_or_does_not_find_its_passage_is_dropped_and_counted(job, capsys):
    odd = {
        0: says("I'm sorry, I cannot write that."),
        1: says("where is thi", finish_reason="length"),
        2: says("\n---\n"),
        3: says("thing3 " * 33),
        4: says(passage(4)),
        5: says("where are thing5 and thing6 found"),
        6: says("Where are THING5 and thing6 found?"),
        7: says("how do volcanoes erupt"),
        8: says("where is thing9 found"),  # it finds d9, which has a query of its own
        9: says("who gathers thing9"),
        10: says("What does the passage say of thing10?"),
    }

    def behave(request, nth):
        return odd.get(number_of(request), write)(request, nth)

    with serving(behave) as server:
        assert main(at(server, job)) == 0
    dropped = "refused 1, cut short 1, empty 1, too long 1, mentions the passage 1, copied 1, duplicate 1, not found 2"
    assert capsys.readouterr().err.endswith(f"21 of 30 passages have a query (dropped: {dropped})\n")
    qrels, topics = read_qrels("synthetic.qrels.txt"), read_topics("synthetic.topics.tsv")
    queries = {docid: topics[qid] for qid, judged in qrels.items() for docid in judged}
    assert {5, 6} - {int(docid[1:]) for docid in queries} in ({5}, {6})
    assert queries.keys() - {"d5", "d6"} == {f"d{number}" for number in NUMBERS if number == 9 or number > 10}
    assert queries["d9"] == "who gathers thing9"
    counts = {fault: 2 if fault == "not found" else 1 for fault in FAULTS}
    for name in ("synthetic.topics.tsv", "synthetic.qrels.txt"):
        assert json.loads(Path(f"{name}.json").read_text())["counts"] == {"answered": 30, "kept": 21, **counts}


def test_how_high_a_passage_must_be_found_is_a_setting(job, capsys):
    crowded = only({3}, says("thing3 thing4 thing4 thing4"))  # d4 comes first
    for keep_top, kept in (("1", 29), ("2", 30)):
        with serving(crowded) as server:
            main(at(server, job, "--keep-top", keep_top, "--overwrite"))
        assert len(read_topics("synthetic.topics.tsv")) == kept


def test_the_sidecars_say_how_it_was_made_and_neither_where_nor_when(job, tmp_path):
    with serving(lambda request, nth: Reply(completion(request, model="writer-2026", content="baskets"))) as server:
        main(at(server, job, "--passages", "4", "--extra", '{"top_k": 1}', "--keep-top", "30"))
    topics, qrels = (json.loads(Path(f"synthetic.{name}.json").read_text()) for name in ("topics.tsv", "qrels.txt"))
    assert topics["inputs"].keys() == {"index", "collection"}
    assert {name: topics[name] for name in ("config", "llm", "teacher", "failed")} == {
        "config": {
            "passages": 4,
            "seed": 42,
            "shortest_passage": 10,
            "longest_query": 32,
            "keep_top": 30,
            "language": "en",
            "bm25": topics["config"]["bm25"],
        },
        "llm": {
            "prompt": "query",
            "model": "writer",
            "temperature": 0.0,
            "max_tokens": 128,
            "seed": None,
            "stop": [],
            "extra": {"top_k": 1},
            "prompt_sha256": load_query_prompt().sha256,
            "passage_tokens": 300,
            "examples": 0,
            "answered_by": ["writer-2026"],
        },
        "teacher": "llm: writer",
        "failed": [],
    }
    assert {**topics, "output": 0} == {**qrels, "output": 0}
    assert not [word for word in ("127.0.0.1", str(tmp_path), time.strftime("%Y-%m-%d")) if word in json.dumps(topics)]


def test_examples_and_a_prompt_of_ones_own(job, capsys):
    Path("examples.tsv").write_text("coast baskets\td3\nrain of thing5\td5\n")
    Path("mine.yaml").write_text('body: "질문할 글. Passage: {passage}"\n')
    with serving(only({7}, says("Coast BASKETS"))) as server:
        assert main(at(server, job, "--examples", "examples.tsv", "--prompt", "mine.yaml")) == 0
        assert {3, 5}.isdisjoint(map(number_of, server.requests))
        for request in server.requests:
            *shown, (role, asked) = [(message["role"], message["content"]) for message in request["messages"]]
            assert shown == [
                ("user", f"질문할 글. Passage: {passage(3)}"),
                ("assistant", "coast baskets"),
                ("user", f"질문할 글. Passage: {passage(5)}"),
                ("assistant", "rain of thing5"),
            ]
            assert (role, asked) == ("user", f"질문할 글. Passage: {passage(number_of(request))}")
    assert "27 of 28 passages have a query (dropped: duplicate 1)" in capsys.readouterr().err  # an example said again
    sidecar = json.loads(Path("synthetic.topics.tsv.json").read_text())
    assert sidecar["inputs"].keys() == {"index", "collection", "examples", "prompt"}
    assert (sidecar["llm"]["prompt"], sidecar["llm"]["examples"]) == ("mine.yaml", 2)


def test_a_korean_index_is_searched_as_korean(job, tmp_path, capsys):
    texts = {"a": "고양이가 매트 위에 앉았다.", "b": "빵을 굽는다.", "c": "차를 마신다.", "d": "개가 짖는다."}
    Path("ko.tsv").write_text("".join(f"{docid}\t{text}\n" for docid, text in texts.items()))
    build_index(texts.items(), tmp_path / "ko", language="ko")  # no sidecar says so
    korean = ["--collection", "ko.tsv", "--index", "ko", "--shortest-passage", "3"]  # of a alone
    with serving(says("고양이 앉은 곳")) as server:
        flags = [*at(server, job), *korean]
        assert main([*flags, "--language", "ko"]) == 0
        assert list(read_qrels("synthetic.qrels.txt").values()) == [{"a": 1}]
        assert main([*flags, "--overwrite"]) == 2
    assert "0 of 1 passages have a query (dropped: not found 1)" in capsys.readouterr().err


def test_a_dry_run_asks_nothing_writes_nothing_and_says_what_it_would_cost(job, tmp_path, capsys):
    with serving(write) as server:
        assert main(at(server, job, "--dry-run", "--price", "1000", "2000")) == 0
        assert server.requests == []
        assert files(tmp_path) == INPUTS
        out, err = capsys.readouterr()
        main(at(server, job, "--in-flight", "1"))
        assert json.loads(out) == server.requests[0]["messages"]
    [(asked, cost)] = re.findall(
        r"would ask about 30 passages, about ([\d,]+) tokens and 450 answered, cost ([\d.]+)", err
    )
    asked = int(asked.replace(",", ""))
    words = sum(len(m["content"].split()) for request in server.requests for m in request["messages"])
    assert 1 <= asked / words < 1.5
    assert float(cost) == pytest.approx((asked * 1000 + 450 * 2000) / 1e6)


# -- answers that do not come ------------------------------------------------------------------------------------------


def test_failed_passages_are_named_and_the_same_command_asks_only_for_them(job, tmp_path, capsys):
    with serving(write) as server:
        main(at(server, job))
    whole = written()
    for name in MADE:
        os.remove(name)
    capsys.readouterr()
    with serving(only({4, 11}, BEHAVIOURS["bad-request"])) as server:
        assert main(at(server, job)) == 7
        assert len(server.requests) == 30
    out, err = capsys.readouterr()
    assert out == "synthetic.topics.tsv\nsynthetic.qrels.txt\n"
    assert re.fullmatch(
        r"error: 2 passages have no answer \('d\d+', 'd\d+', mostly: HTTP 400: This model's context length is 4096 "
        r"tokens.\); synthetic.topics.tsv.journal keeps the other answers: "
        "the same command asks only for these",
        err.splitlines()[-1],
    )
    assert len(read_topics("synthetic.topics.tsv")) == 28
    assert sorted(json.loads(Path("synthetic.qrels.txt.json").read_text())["failed"]) == ["d11", "d4"]

    with serving(write) as server:
        assert main(at(server, job, "--seed", "7")) == 2  # another job does not replace what this one has
        assert "synthetic.topics.tsv: exists already" in capsys.readouterr().err
        assert main(at(server, job)) == 0  # without --overwrite
        assert sorted(map(number_of, server.requests)) == [4, 11]
    assert "going on from synthetic.topics.tsv.journal, which holds 28 answers" in capsys.readouterr().err
    assert written() == whole
    assert files(tmp_path) == DONE
    assert main(at(server, job)) == 2  # it is done: now it needs --overwrite
    assert "synthetic.topics.tsv: exists already" in capsys.readouterr().err


def test_a_job_that_is_killed_goes_on(job, tmp_path):
    with serving(only({4, 11}, BEHAVIOURS["hang"])) as server:
        command = [
            sys.executable,
            "-m",
            "rrarank.generate",
            *at(server, job, "--timeout", "60", "--total-timeout", "60"),
        ]
        killed = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        journal = tmp_path / "synthetic.topics.tsv.journal"
        while not (journal.exists() and journal.read_bytes().count(b"\n") == 28):
            assert killed.poll() is None
            time.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert files(tmp_path) == sorted([*INPUTS, journal.name, f".{journal.name}.lock"])
    with serving(write) as server:
        assert main(at(server, job)) == 0
        assert sorted(map(number_of, server.requests)) == [4, 11]
    assert files(tmp_path) == DONE


@pytest.mark.parametrize("left", [MADE[:1], MADE[::2]], ids=["judgments", "judgments and topics"])
def test_a_job_killed_while_it_wrote_goes_on(job, left, tmp_path):
    with serving(only({4}, BEHAVIOURS["bad-request"])) as server:
        main(at(server, job))  # leaves a journal
    for name in set(MADE) - set(left):
        os.remove(name)
    with serving(write) as server:
        assert main(at(server, job)) == 0
        assert len(server.requests) == 1
    assert files(tmp_path) == DONE


def test_without_a_single_answer_there_is_nothing(job, tmp_path, capsys):
    with serving(BEHAVIOURS["bad-request"]) as server:
        assert main(at(server, job, "--passages", "6")) == 7
    out, err = capsys.readouterr()
    assert out == ""
    assert "error: 6 passages have no answer (" in err
    assert files(tmp_path) == INPUTS


def test_without_a_single_query_there_are_no_files_but_the_answers_stay(job, tmp_path, capsys):
    with serving(says("how do volcanoes erupt")) as server:
        assert main(at(server, job, "--passages", "6")) == 2
        assert capsys.readouterr().err.splitlines()[-2:] == [
            "0 of 6 passages have a query (dropped: duplicate 5, not found 1)",
            "error: synthetic.topics.tsv: not written, as no query is kept; is index made from texts.jsonl, and what "
            "do the answers in synthetic.topics.tsv.journal say?",
        ]
        assert files(tmp_path) == sorted([*INPUTS, "synthetic.topics.tsv.journal"])
        main(at(server, job, "--passages", "6", "--longest-query", "3"))
        assert len(server.requests) == 6


def test_what_no_question_could_survive_ends_the_job_in_one_line(job, tmp_path, capsys):
    with serving(BEHAVIOURS["wrong-model"]) as server:
        assert main(at(server, job, "--in-flight", "1")) == 4
        assert len(server.requests) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "no model 'writer'" in err
    assert files(tmp_path) == INPUTS


# -- what a user can cause ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--collection", "absent.jsonl"], "absent.jsonl: no such file"),
        (
            ["--index", "absent"],
            "absent: no such index; make it by python -m rrarank.retrieve --index absent --collection texts.jsonl "
            "--topics TOPICS.tsv",
        ),
        (["--index", "."], ".: not a Lucene index (no segments file)"),
        (["--collection", "other.jsonl"], "index: index.json names another collection than other.jsonl"),
        (["--language", "ko"], "index: indexed with --language en, asked with ko; give another --index"),
        (["--shortest-passage", "99"], "texts.jsonl: no passage of 99 words or more to ask about"),
        (["--prompt", "absent.yaml"], "absent.yaml: no such file"),
        (["--examples", "absent.tsv"], "absent.tsv: no such file"),
        (["--examples", "texts.jsonl"], "texts.jsonl:1: no tab; expected query<TAB>docid"),
        (["--output", "-"], "--output -: judgments are written beside it; give a file"),
        (["--output", "/dev/null"], "--output /dev/null: judgments are written beside it"),
        (["--output", "out.tsv.gz"], "out.tsv.gz: outputs are not packed; leave .gz out"),
        (["--output", "texts.jsonl", "--overwrite"], "texts.jsonl: would replace the input"),
        (["--output", "other.tsv"], "other.qrels.txt: exists already; give --overwrite to replace it"),
        (["--temperature", "-1"], "temperature -1.0, expected 0 or more"),
        (["--model", ""], "no model; give the name of a model at the endpoint, or a model folder"),
        (["--base-url", "localhost:8000"], "base_url is not a URL"),
    ],
)
def test_what_a_user_can_cause_is_one_line_and_leaves_nothing_behind(job, flags, message, tmp_path, capsys):
    Path("other.jsonl").write_text(Path("texts.jsonl").read_text().replace("Thing", "Item"))
    Path("other.qrels.txt").write_text("1 0 a 1\n")
    before = files(tmp_path)
    assert main([*job, "--base-url", "http://127.0.0.1:9/v1", *flags]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"error: {message}")
    assert (out, err.count("\n")) == ("", 1)
    assert files(tmp_path) == before


def test_a_flag_that_is_needed_is_asked_for(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--collection", "c.jsonl"])
    assert exit_.value.code == 2
    message = "error: the following arguments are required: --index, --model; see python -m rrarank.generate --help\n"
    assert capsys.readouterr().err == message
