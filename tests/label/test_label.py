"""The labelling job as a user types it, against a real loopback server and all that can go wrong there."""

import gzip
import hashlib
import json
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from openai_server import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    BEHAVIOURS,
    Reply,
    answer,
    completion,
    first,
    serving,
)

from rrarank import (
    LabelJob,
    LLMConfig,
    LLMTeacherConfig,
    Origins,
    RrarankError,
    ScorerConfig,
    Selection,
    label_run,
    read_run,
)
from rrarank.data.distillation_set import read_set
from rrarank.label.__main__ import main
from rrarank.retrieve.__main__ import main as retrieve
from rrarank.sets.__main__ import main as sets

QIDS = ["q2", "q10", "q1", "q7", "q3", "q5"]  # as the run has them: neither sorted nor by number
WORTHS = range(6)
WORDS = ["tea", "bread", "a cat", "dogs", "long", "how short"]
MISSED = "bm25.llm.jsonl.journal keeps the other answers: the same command asks only for these"


pytestmark = pytest.mark.usefixtures("no_endpoint")


def write_inputs(folder, qids):
    """A run of six candidates a query, in random order of their worth, which their docids and texts tell."""
    rows = []
    for qid in qids:
        worths = random.Random(qid).sample(WORTHS, len(WORTHS))
        rows += [
            (qid, f"{qid}-{worth}", place, f"{worth} {WORDS[worth]} about {qid}") for place, worth in enumerate(worths)
        ]
    folder.joinpath("bm25.trec").write_text("".join(f"{q} Q0 {d} {n} {9 - n} bm25\n" for q, d, n, _ in rows))
    folder.joinpath("topics.tsv").write_text("".join(f"{qid}\tquery {qid}\n" for qid in sorted(qids)))
    texts = (json.dumps({"id": docid, "contents": text}) + "\n" for _, docid, _, text in rows)
    folder.joinpath("texts.jsonl").write_text("".join(texts))


INPUTS = ["--run", "bm25.trec", "--topics", "topics.tsv", "--collection", "texts.jsonl"]
BOUNDS = ["--retries", "1", "--timeout", "10", "--total-timeout", "20"]
SHORT = ["--timeout", "1", "--total-timeout", "5"]  # for what hangs; long enough for a busy machine
FLAGS = [*INPUTS, "--preranker", "bm25", "--k-top", "2", "--k-bottom", "2", "--model", "judge", *BOUNDS]


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Flags of a small job in an empty folder; the server's URL is still to come."""
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path, QIDS)
    return FLAGS


def at(server, job, *more):
    return [*job, "--base-url", server.url, *more]


def query_of(request):
    return re.findall(r"Query: query (\w+)", request["messages"][-1]["content"])[0]


def judge(request, nth):
    """Names the passages worth 3 or more, the best first."""
    found = re.findall(r"^\[(\d+)\] (\d+) ", request["messages"][-1]["content"], re.MULTILINE)
    best_first = sorted((pair for pair in found if int(pair[1]) >= 3), key=lambda pair: -int(pair[1]))
    return Reply(completion(request, content=" > ".join(f"[{number}]" for number, _ in best_first) or "none"))


def only(qids, fault, then=judge):
    """A fault for some queries, for ever."""
    return lambda request, nth: (fault if query_of(request) in qids else then)(request, nth)


def whole(job):
    """The bytes of the set that the job makes where nothing goes wrong."""
    with serving(judge) as server:
        assert main(at(server, job, "--output", "whole.jsonl")) == 0
    made = Path("whole.jsonl").read_bytes()
    for path in Path().glob("whole.jsonl*"):
        path.unlink()
    return made


def files(folder):
    return sorted(path.name for path in folder.iterdir())


UNTOUCHED = ["bm25.trec", "texts.jsonl", "topics.tsv"]
DONE = ["bm25.llm.jsonl", "bm25.llm.jsonl.json", *UNTOUCHED]


# -- from a run to a set -----------------------------------------------------------------------------------------------


def test_a_run_becomes_a_set_that_validates(job, tmp_path, capsys):
    with serving(judge) as server:
        assert main(at(server, job)) == 0
        assert len(server.requests) == 6
    out, err = capsys.readouterr()
    assert out == "bm25.llm.jsonl\n"
    assert "600 tokens asked, 120 answered\n" in err
    assert "6 of 6 queries labelled (" in err
    assert files(tmp_path) == DONE
    assert sets(["validate", "bm25.llm.jsonl"]) == 0
    run = [line.split() for line in open("bm25.trec")]
    for label in read_set("bm25.llm.jsonl"):
        candidates = [docid for qid, _, docid, *_ in run if qid == label.query.qid]
        assert [c.docid for c in label.shown] == [*candidates[:2], *candidates[-2:]]
        assert list(label.not_shown) == candidates[2:4]
        worth = {c.docid: int(c.docid[-1]) for c in label.shown}
        good = sorted((docid for docid in worth if worth[docid] >= 3), key=lambda docid: -worth[docid])
        assert list(label.listed) == good
        assert set(label.missing) == (worth.keys() - set(good) if good else set())
        assert label.query.text == f"query {label.query.qid}"


def test_the_module_is_a_command(job):
    command = [sys.executable, "-m", "rrarank.label", *job]
    with serving(judge) as server:
        done = subprocess.run([*command, "--base-url", server.url], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "bm25.llm.jsonl\n")
    assert len(read_set("bm25.llm.jsonl")) == 6


def test_the_set_has_the_order_of_the_run_whatever_that_of_the_answers(job):
    answered = [threading.Event() for _ in range(len(QIDS) + 1)]
    answered[-1].set()

    def last_first(request, nth):
        place = QIDS.index(query_of(request))
        assert answered[place + 1].wait(10)
        answered[place].set()
        return judge(request, nth)

    with serving(last_first) as server:
        assert main(at(server, job)) == 0
    assert [label.query.qid for label in read_set("bm25.llm.jsonl")] == QIDS


def test_equal_jobs_give_equal_bytes(job):
    with serving(judge) as server:
        main(at(server, job, "--output", "one.jsonl"))
        main(at(server, job, "--output", "two.jsonl", "--in-flight", "1"))
    assert Path("one.jsonl").read_bytes() == Path("two.jsonl").read_bytes()


def test_set_and_sidecar_say_how_it_was_made_and_neither_where_nor_when(job, tmp_path):
    with serving(judge) as server:
        main(at(server, job))
    [provenance, *_] = [label.provenance for label in read_set("bm25.llm.jsonl")]
    assert provenance["teacher"] == "llm"
    assert str(provenance["rule"]).startswith("missing: shown, not named, and the answer ended by itself")
    assert (provenance["model"], provenance["prompt"], provenance["seed"]) == ("judge", "relevant-only", None)
    chosen = {"depth": 50, "k_top": 2, "k_bottom": 2}
    assert provenance["selection"] == chosen
    sidecar = json.loads(Path("bm25.llm.jsonl.json").read_text())
    assert sidecar["inputs"].keys() == {"run", "topics", "collection"}
    assert (sidecar["config"]["selection"], sidecar["config"]["model"]) == (chosen, "judge")
    assert sidecar["teacher"] == "llm: judge"
    assert {"teacher": "llm", "model": "judge", "selection": chosen}.items() <= sidecar["provenance"].items()
    assert "answer_id" not in sidecar["provenance"]  # of one query alone
    written = Path("bm25.llm.jsonl").read_text() + json.dumps(sidecar)
    assert not [word for word in ("127.0.0.1", str(tmp_path), time.strftime("%Y-%m-%d")) if word in written]


def test_a_pre_ranker_without_a_model_is_known_by_its_name(job, tmp_path):
    with serving(judge) as server:
        main(at(server, job))
    assert {label.provenance["preranker"] for label in read_set("bm25.llm.jsonl")} == {"bm25"}


def test_limit_takes_the_first_queries_of_the_run(job, capsys):
    with serving(judge) as server:
        assert main(at(server, job, "--limit", "2")) == 0
        assert len(server.requests) == 2
    assert [label.query.qid for label in read_set("bm25.llm.jsonl")] == QIDS[:2]


def test_a_set_may_be_gzipped_or_go_to_stdout(job, tmp_path, capsys):
    with serving(judge) as server:
        assert main(at(server, job, "--output", "set.jsonl.gz")) == 0
        assert capsys.readouterr().out == "set.jsonl.gz\n"
        assert main(at(server, job, "--output", "-")) == 0
    assert capsys.readouterr().out == gzip.open("set.jsonl.gz", "rt").read()
    assert files(tmp_path) == sorted([*UNTOUCHED, "set.jsonl.gz", "set.jsonl.gz.json"])
    assert sets(["validate", "set.jsonl.gz"]) == 0


def test_reasons_are_asked_for_in_a_second_question(job, capsys):
    def explaining(request, nth):
        if "A judge sorted these passages" not in request["messages"][-1]["content"]:
            return answer(request, nth)
        return Reply(completion(request, content="[1] Relevant: it says so\n[2] Irrelevant: it does not"))

    with serving(explaining) as server:
        assert main(at(server, job, "--reasons", "--reason-model", "small")) == 0
        assert [request["model"] for request in server.requests].count("small") == 6
        assert len(server.requests) == 12
    for label in read_set("bm25.llm.jsonl"):
        one, two, *_ = (c.docid for c in label.shown)
        assert label.reasons == {one: "Relevant: it says so", two: "Irrelevant: it does not"}
    assert "1,200 tokens asked, 240 answered" in capsys.readouterr().err


def test_a_dry_run_asks_nothing_writes_nothing_and_says_what_it_would_cost(job, tmp_path, capsys):
    with serving(judge) as server:
        assert main(at(server, job, "--dry-run", "--price", "1000", "2000")) == 0
        assert server.requests == []
        assert files(tmp_path) == UNTOUCHED
        out, err = capsys.readouterr()
        main(at(server, job, "--in-flight", "1"))
        assert json.loads(out) == server.requests[0]["messages"]
    assert "would label 6 queries with the teacher llm" in err
    [(asked, answered, cost)] = re.findall(r"about ([\d,]+) tokens asked and (\d+) answered, cost ([\d.]+) \(est", err)
    asked = int(asked.replace(",", ""))
    words = sum(len(m["content"].split()) for request in server.requests for m in request["messages"])
    assert 1 <= asked / words < 1.5
    assert answered == "120"  # 6 queries of 4 passages, 5 tokens each
    assert float(cost) == pytest.approx((asked * 1000 + 120 * 2000) / 1e6)


def test_a_dry_run_prints_no_escape_sequences_and_valid_json(job, capsys):
    evil = "\x1b]0;owned\x07tea\u202e\x9b1m \u3000東"
    texts = [json.loads(line) for line in open("texts.jsonl")]
    with open("texts.jsonl", "w") as file:
        file.writelines(json.dumps(row | {"contents": f"{evil} {row['contents']}"}) + "\n" for row in texts)
    with serving(judge) as server:
        assert main(at(server, job, "--dry-run")) == 0
    out = capsys.readouterr().out
    assert all(letter.isprintable() or letter in "\n\u3000" for letter in out)
    assert evil.split()[0] in json.loads(out)[-1]["content"]


def test_a_dry_run_counts_the_reasons(job, capsys):
    with serving(judge) as server:
        main(at(server, job, "--dry-run", "--reasons"))
        assert server.requests == []
    [answered] = re.findall(r"tokens asked and (\d+) answered", capsys.readouterr().err)
    assert answered == str(120 + 6 * 4 * 30)


def test_what_it_cost_is_said_in_the_end(job, capsys):
    with serving(judge) as server:
        main(at(server, job, "--price", "1000", "2000"))
    assert "600 tokens asked, 120 answered, cost 0.8400\n" in capsys.readouterr().err


def test_an_existing_output_needs_overwrite(job, capsys):
    with serving(judge) as server:
        main(at(server, job))
        made = Path("bm25.llm.jsonl").read_bytes()
        assert main(at(server, job, "--limit", "1")) == 2
        assert "bm25.llm.jsonl: exists already; give --overwrite to replace it" in capsys.readouterr().err
        assert Path("bm25.llm.jsonl").read_bytes() == made
        assert main(at(server, job, "--limit", "1", "--overwrite")) == 0
    assert len(read_set("bm25.llm.jsonl")) == 1


def test_an_input_is_never_replaced(job, capsys):
    before = Path("texts.jsonl").read_bytes()
    with serving(judge) as server:
        assert main(at(server, job, "--output", "texts.jsonl", "--overwrite")) == 2
    assert "texts.jsonl: would replace the input" in capsys.readouterr().err
    assert Path("texts.jsonl").read_bytes() == before


def test_queries_without_text_are_left_out_when_told(job, capsys):
    lines = [line for line in Path("texts.jsonl").read_text().splitlines(True) if '"q1-' not in line]
    Path("texts.jsonl").write_text("".join(lines))
    with serving(judge) as server:
        assert main(at(server, job)) == 2
        assert main(at(server, job, "--skip-missing")) == 0
    assert "5 of 6 queries labelled" in capsys.readouterr().err
    assert [label.query.qid for label in read_set("bm25.llm.jsonl")] == [qid for qid in QIDS if qid != "q1"]


# -- other teachers ----------------------------------------------------------------------------------------------------


def test_fused_runs_label_without_a_model(job, tmp_path, capsys):
    held = {"best": "345", "top": "345", "better": "2345", "good": "12345", "all": "012345"}
    run = Path("bm25.trec").read_text().splitlines(True)
    for name, kept in held.items():
        docids = [line.split()[2] for line in run if line.split()[2][-1] in kept]
        by_worth = (f"{docid.split('-')[0]} Q0 {docid} 1 {docid[-1]} {name}\n" for docid in docids)
        Path(f"{name}.trec").write_text("".join(by_worth))
    flags = [*INPUTS, "--preranker", "bm25", "--teacher", "runs", "--teacher-runs", *(f"{name}.trec" for name in held)]
    assert main(flags) == 0
    out, err = capsys.readouterr()
    assert out == "bm25.runs.jsonl\n"
    assert "6 of 6 queries labelled (ok 6): 24 listed, 6 missing, 6 unknown\n" in err
    assert "tokens" not in err
    for label in read_set("bm25.runs.jsonl"):
        found = ["".join(docid[-1] for docid in docids) for docids in (label.listed, label.missing, label.unknown)]
        assert found == ["5432", "0", "1"]  # held by 3 of 5 or more, by 1, by 2
        assert label.provenance["runs"] == list(held)


def test_a_reranker_labels_every_candidate(job, cross_encoder_folder, capsys):
    flags = [*INPUTS, "--preranker", "bm25", "--teacher", "cross-encoder", "--model", str(cross_encoder_folder)]
    assert main([*flags, "--device", "cpu", "--k-top", "2", "--k-bottom", "1"]) == 0
    out, err = capsys.readouterr()
    assert out == "bm25.cross-encoder.jsonl\n"
    assert "6 of 6 queries labelled (ok 6): 18 listed, 0 missing, 0 unknown\n" in err
    assert "tokens" not in err
    for label in read_set("bm25.cross-encoder.jsonl"):
        scores = label.provenance["scores"]
        assert isinstance(scores, dict)
        assert list(label.listed) == sorted(scores, key=lambda docid: -scores[docid])
        assert label.provenance["model"] == cross_encoder_folder.name


def test_an_ensemble_labels_by_all_its_members(job, cross_encoder_folder, sparse_encoder_folder, capsys):
    members = [f"cross-encoder={cross_encoder_folder}", f"sparse-encoder={sparse_encoder_folder}", "first-stage"]
    flags = [*INPUTS, "--preranker", "bm25", "--teacher", "ensemble", "--teachers", *members, "--device", "cpu"]
    assert main([*flags, "--teacher-weights", "1", "2", "0.5"]) == 0
    out, err = capsys.readouterr()
    assert out == "bm25.ensemble.jsonl\n"
    assert "6 of 6 queries labelled (ok 6): 36 listed, 0 missing, 0 unknown\n" in err
    run = read_run("bm25.trec")
    for label in read_set("bm25.ensemble.jsonl"):
        scores, teachers = label.provenance["scores"], label.provenance["teachers"]
        assert isinstance(scores, dict)
        assert isinstance(teachers, list)
        assert list(label.listed) == sorted(scores, key=lambda docid: -scores[docid])
        assert [teacher["weight"] for teacher in teachers] == [1.0, 2.0, 0.5]
        assert teachers[2]["scores"] == {hit.docid: hit.score for hit in run[label.query.qid]}


@pytest.mark.parametrize(
    ("flags", "seen"),
    [
        (["ensemble", "--teachers", "first-stage", "--model", "m"], "--model with --teacher ensemble: .*NAME=MODEL"),
        (["ensemble", "--teachers", "first-stage", "--teacher-index", "i"], "--teacher-index with --teacher ensemble"),
        (["bi-encoder", "--teachers", "first-stage"], "--teachers with --teacher bi-encoder: .*or give ensemble"),
        (["llm", "--model", "m", "--teacher-weights", "2"], "--teacher-weights with --teacher llm"),
    ],
)
def test_flags_of_another_teacher_are_refused(flags, seen, job, capsys):
    assert main([*INPUTS, "--preranker", "bm25", "--teacher", *flags]) == 2
    assert re.search(seen, capsys.readouterr().err)


@pytest.fixture
def dense(job, bi_encoder_folder, capsys):
    """Flags of a pre-ranker that is a bi-encoder, and of its index of the collection."""
    index = ["--index", "index", "--collection", "texts.jsonl", "--topics", "topics.tsv", "--dense"]
    retrieve([*index, "--model", str(bi_encoder_folder), "--output", "dense.trec"])
    capsys.readouterr()
    return ["--preranker", "bi-encoder", "--preranker-model", str(bi_encoder_folder), "--device", "cpu"], "index"


def test_a_pre_ranker_with_stored_embeddings_chooses_the_same_lists(job, dense, bi_encoder_folder):
    preranker, index = dense
    with serving(judge) as server:
        assert main(at(server, job, *preranker, "--output", "live.jsonl")) == 0
        assert main(at(server, job, *preranker, "--preranker-index", index, "--output", "stored.jsonl")) == 0
    live, stored = read_set("live.jsonl"), read_set("stored.jsonl")
    assert [[c.docid for c in one.shown] for one in live] == [[c.docid for c in one.shown] for one in stored]
    assert live[0].provenance["preranker"] == stored[0].provenance["preranker"] == bi_encoder_folder.name
    first_stage = [line.split()[2] for line in open("bm25.trec") if line.startswith(QIDS[0] + " ")]
    assert [c.docid for c in live[0].shown] != [*first_stage[:2], *first_stage[-2:]]


def test_a_pre_ranker_must_not_be_the_teacher(job, dense, bi_encoder_folder, capsys):
    preranker, index = dense
    teacher = ["--teacher", "bi-encoder", "--model", str(bi_encoder_folder)]
    for one in (
        [*INPUTS, "--preranker", "bm25", "--teacher", "bm25"],
        [*INPUTS, *preranker, *teacher],
        [*INPUTS, *preranker, "--preranker-index", index, *teacher],  # the same judge, its embeddings stored
        [*INPUTS, *preranker, *teacher, "--teacher-index", index],
        [*INPUTS, *preranker, "--preranker-index", index, *teacher, "--teacher-index", index],
    ):
        assert main(one) == 2
        out, err = capsys.readouterr()
        assert re.fullmatch("error: .* is pre-ranker and teacher; give two different rerankers\n", err)
        assert out == ""
    assert not list(Path().glob("*.jsonl.*")) + list(Path().glob("bm25.b*"))


def test_embeddings_are_refused_of_another_model_and_for_another_reranker(
    job, dense, another_bi_encoder_folder, capsys
):
    other = str(another_bi_encoder_folder)
    with serving(judge) as server:
        assert main(at(server, job, "--preranker-index", "index")) == 2
        assert "index: only a bi-encoder can use embeddings, not bm25" in capsys.readouterr().err
        assert main(at(server, job, *dense[0], "--preranker-model", other, "--preranker-index", "index")) == 2
        assert "index: embedded by" in capsys.readouterr().err
        assert server.requests == []


# -- answers that do not come ------------------------------------------------------------------------------------------


def test_failed_queries_are_named_and_the_same_command_asks_only_for_them(job, tmp_path, capsys):
    expected = whole(job)
    capsys.readouterr()
    with serving(only({"q10", "q3"}, BEHAVIOURS["bad-request"])) as server:
        assert main(at(server, job)) == 7
        assert len(server.requests) == 6
    out, err = capsys.readouterr()
    assert out == "bm25.llm.jsonl\n"
    assert err.splitlines()[-1] == (
        "error: 2 queries have no answer ('q10', 'q3', mostly: HTTP 400: This model's context length is 4096 tokens.); "
        f"{MISSED}"
    )
    assert sets(["validate", "bm25.llm.jsonl"]) == 0
    assert [label.query.qid for label in read_set("bm25.llm.jsonl")] == ["q2", "q1", "q7", "q5"]
    assert json.loads(Path("bm25.llm.jsonl.json").read_text())["failed"] == ["q10", "q3"]

    with serving(judge) as server:
        assert main(at(server, job)) == 0  # without --overwrite
        assert sorted(map(query_of, server.requests)) == ["q10", "q3"]
    assert "going on from bm25.llm.jsonl.journal" in capsys.readouterr().err
    assert Path("bm25.llm.jsonl").read_bytes() == expected
    sidecar = json.loads(Path("bm25.llm.jsonl.json").read_text())
    assert (sidecar["output"]["sha256"], sidecar["failed"]) == (hashlib.sha256(expected).hexdigest(), [])
    assert files(tmp_path) == DONE
    assert main(at(server, job)) == 2  # it is done: now it needs --overwrite


def test_without_a_single_answer_there_is_no_set(job, tmp_path, capsys):
    with serving(BEHAVIOURS["bad-request"]) as server:
        assert main(at(server, job)) == 7
    out, err = capsys.readouterr()
    assert out == ""
    assert "error: 6 queries have no answer ('q2', 'q10', 'q1', 'q7', 'q3' and 1 more, mostly: HTTP 400" in err
    assert [name for name in files(tmp_path) if not name.endswith(".journal")] == UNTOUCHED


def test_answers_on_the_way_to_stdout_are_not_said_to_be_kept(job, capsys):
    with serving(only({"q1"}, BEHAVIOURS["bad-request"])) as server:
        assert main(at(server, job, "--output", "-")) == 7
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 5
    assert err.splitlines()[-1].endswith("; give --output FILE to ask again only for these")


def test_a_job_stopped_between_set_and_sidecar_goes_on(job, tmp_path, monkeypatch):
    def stopped(*inputs, **facts):
        raise KeyboardInterrupt

    def stop_and_go_on(asked):
        behave = only({"q10"}, BEHAVIOURS["bad-request"]) if "--output" in asked else judge
        with serving(behave) as server, monkeypatch.context() as patch:
            patch.setattr("rrarank.label.job.write_sidecar", stopped)
            assert main(at(server, asked)) == 130
        with serving(judge) as server:
            assert main(at(server, asked)) == 0
            return len(server.requests)

    assert stop_and_go_on(job) == 0
    assert files(tmp_path) == DONE
    with serving(only({"q10", "q3"}, BEHAVIOURS["bad-request"])) as server:
        assert main(at(server, job, "--output", "other.jsonl")) == 7  # a set and its sidecar, both of which will change
    assert stop_and_go_on([*job, "--output", "other.jsonl"]) == 1
    assert Path("other.jsonl").read_bytes() == Path("bm25.llm.jsonl").read_bytes()


# a fault -> (requests that one query costs, what is said of it); what cannot be otherwise for any query ends the job
FAULTS = {
    "rate-limited": (2, "HTTP 429: slow down"),
    "server-error": (2, "HTTP 500: as you wished"),
    "reset": (2, "ReadError"),
    "hang": (2, "no answer within 1 s"),
    "empty-body": (2, "the reply is not JSON (0 characters)"),
    "empty-choices": (2, "the reply has no choices"),
    "truncated-json": (2, "the reply is not JSON ("),
    "html": (2, "the reply is an HTML page"),
    "error-with-200": (2, "the reply is an error: overloaded"),
    "bad-request": (1, "HTTP 400: This model's context length is 4096 tokens."),
    "forbidden": (1, "HTTP 403: Not in your country."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_query_that_gets_no_answer_is_named_and_the_others_are_labelled(job, fault, capsys):
    requests, reason = FAULTS[fault]
    started = time.monotonic()
    with serving(only({"q7"}, BEHAVIOURS[fault])) as server:
        assert main(at(server, job, *(SHORT if fault == "hang" else []))) == 7
        assert len(server.requests) == 5 + requests
    assert time.monotonic() - started < 10
    assert f"error: 1 queries have no answer ('q7', mostly: {reason}" in capsys.readouterr().err
    assert [label.query.qid for label in read_set("bm25.llm.jsonl")] == [qid for qid in QIDS if qid != "q7"]
    assert json.loads(Path("bm25.llm.jsonl.json").read_text())["failed"] == ["q7"]


def test_faults_that_pass_leave_no_trace(job, tmp_path, capsys):
    passing = {f"q{number}": fault for number, fault in enumerate(FAULTS) if FAULTS[fault][0] == 2}
    write_inputs(tmp_path, passing)
    expected = whole(job)

    def faulty_at_first(request, nth):
        return first(1, BEHAVIOURS[passing[query_of(request)]], judge)(request, nth)

    with serving(faulty_at_first) as server:
        assert main(at(server, job, *SHORT)) == 0
        assert len(server.requests) == 2 * len(passing)
    assert Path("bm25.llm.jsonl").read_bytes() == expected


def test_a_refusal_is_an_answer_and_labels_nothing(job, capsys):
    with serving(only({"q7"}, BEHAVIOURS["refusal"])) as server:
        assert main(at(server, job)) == 0
        assert len(server.requests) == 6
    refused = {label.query.qid: label for label in read_set("bm25.llm.jsonl")}["q7"]
    assert (refused.listed, refused.missing, len(refused.unknown)) == ((), (), 4)
    assert (refused.faults, refused.answer) == (("refused",), "I cannot rank these.")
    assert "refused 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("wrong-model", "no model 'judge', or no such URL; a base_url usually ends in /v1"),
        ("wrong-key", "the key is refused; set OPENAI_API_KEY to a valid one"),
        ("no-quota", "the account has no credit left"),
    ],
)
def test_what_no_question_could_survive_ends_the_job_in_one_line(job, fault, said, tmp_path, capsys):
    with serving(BEHAVIOURS[fault]) as server:
        assert main(at(server, job, "--in-flight", "1")) == 4
        assert len(server.requests) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert [name for name in files(tmp_path) if not name.endswith(".journal")] == UNTOUCHED


def test_a_server_that_is_not_there_is_one_line(job, capsys):
    with serving() as server:
        gone = at(server, job)
    server.server_close()
    assert main(gone) == 4
    out, err = capsys.readouterr()
    assert "cannot be reached" in err
    assert (out, err.count("\n")) == ("", 1)


# -- a teacher that does not read, and what missing means --------------------------------------------------------------


def echo(request, nth):
    """Counts up from [1], whatever it is shown."""
    numbers = sorted(map(int, re.findall(r"^\[(\d+)\]", request["messages"][-1]["content"], re.MULTILINE)))
    return Reply(completion(request, content=" > ".join(f"[{number}]" for number in numbers)))


def test_a_teacher_that_echoes_its_prompt_is_called_out(job, capsys):
    with serving(echo) as server:
        assert main(at(server, job)) == 0
    assert "warning: most lists came back in the order in which they were shown" in capsys.readouterr().err
    Path("qrels.txt").write_text("q1 0 q1-5 2\n")
    assert main(["--audit", "qrels.txt", "--set", "bm25.llm.jsonl"]) == 0
    assert "6 of 6 lists are the order that was shown: this teacher does not read\n" in capsys.readouterr().out
    with serving(judge) as server:
        main(at(server, job, "--overwrite"))
    assert "warning" not in capsys.readouterr().err


def test_a_teacher_that_does_not_rank_is_called_out(job, capsys):
    with serving(lambda request, nth: Reply(completion(request, content="Tea is a drink."))) as server:
        assert main(at(server, job)) == 0
    assert "warning: most answers contain no ranking; this teacher" in capsys.readouterr().err
    assert not any(label.listed or label.missing for label in read_set("bm25.llm.jsonl"))


def forgetful(request, nth):
    """Leaves out passages at random, good or bad."""
    reply = json.loads(answer(request, nth).body)
    numbers = re.findall(r"\d+", reply["choices"][0]["message"]["content"])
    return Reply(completion(request, content=" > ".join(f"[{number}]" for number in numbers[: len(numbers) // 2])))


@pytest.mark.parametrize(("teacher", "verdict"), [(judge, "a judgment: 0% of"), (forgetful, "a slip: ")])
def test_an_audit_tells_a_judgment_from_a_slip(job, tmp_path, teacher, verdict, capsys):
    qids = [f"q{number}" for number in range(40)]
    write_inputs(tmp_path, qids)
    Path("qrels.txt").write_text(
        "".join(f"{qid} 0 {qid}-{worth} {2 * (worth >= 3)}\n" for qid in qids for worth in WORTHS)
    )
    with serving(teacher) as server:
        assert main(at(server, job)) == 0
    capsys.readouterr()
    assert main(["--audit", "qrels.txt", "--set", "bm25.llm.jsonl"]) == 0
    out, err = capsys.readouterr()
    header, _, *rows, said = out.splitlines()[:7]
    assert header.split() == ["documents", "P(relevant)", "95%", "interval", "judged"]
    assert [row.split("  ")[0] for row in rows] == ["missing", "listed, at the same places", "last 5 listed", "unknown"]
    assert said.startswith(f"missing is {verdict}")
    assert err == ""
    missing = sum(len(label.missing) for label in read_set("bm25.llm.jsonl"))
    assert rows[0].split()[-1] == str(missing)


def test_an_audit_needs_a_set(job, capsys):
    assert main(["--audit", "qrels.txt"]) == 2
    assert "error: --audit needs --set SET.jsonl" in capsys.readouterr().err


# -- what a user can cause ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--run", ""], "--run is needed: the first stage whose candidates the teacher ranks"),
        (["--run", "absent.trec"], "absent.trec: no such file"),
        (["--model", ""], "--teacher llm needs --model: a model folder, or the name of a model at the endpoint"),
        (["--teacher", "lmm"], "no teacher named 'lmm'; did you mean 'llm'? (known: llm, runs, bi-encoder, bm25, "),
        (["--teacher", "runs"], "no runs as teacher; give at least one (--teacher-runs)"),
        (["--teacher", "runs", "--teacher-runs", "no.trec"], "no.trec: no such file"),
        (
            ["--teacher", "runs", "--teacher-runs", "bm25.trec", "./bm25.trec"],
            "teacher (--teacher-runs): several are named 'bm25'",
        ),
        (["--teacher", "ensemble"], "an ensemble needs members (--teachers)"),
        (["--preranker", "bm52"], "no reranker named 'bm52'; did you mean 'bm25'?"),
        (["--prompt", "rank-al"], "rank-al: no such file or shipped name; did you mean 'rank-all'?"),
        (["--reasons", "--reason-prompt", "reason"], "reason: no such file or shipped name; did you mean 'reasons'?"),
        (["--k-top", "0", "--k-bottom", "1"], "k_top 0 and k_bottom 1: expected two candidates or more"),
        (["--temperature", "-1"], "temperature -1.0, expected 0 or more"),
        (["--timeout", "0"], "timeout_s 0.0, expected seconds, more than 0"),
        (["--base-url", "localhost:8000"], "base_url is not a URL"),
        (["--output", "."], ".: is a folder, expected a file to write"),
        (["--collection", "absent.jsonl"], "absent.jsonl: no such file"),
        (
            ["--preranker", "bi-encoder", "--preranker-index", "none", "--preranker-model", "x/y"],
            "model 'x/y' is not on",
        ),
    ],
)
def test_what_a_user_can_cause_is_one_line_and_leaves_nothing_behind(job, flags, message, tmp_path, capsys):
    assert main([*job, "--base-url", "http://127.0.0.1:9/v1", *flags]) in (2, 4)
    out, err = capsys.readouterr()
    assert err.startswith(f"error: {message}")
    assert (out, err.count("\n")) == ("", 1)
    assert files(tmp_path) == UNTOUCHED


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--extra", "[1]"], "argument --extra: '[1]' is not a JSON object"),
        (["--extra", "{"], "argument --extra: '{' is not a JSON object"),
        (["--limit", "0"], "argument --limit: '0', expected a whole number from 1"),
        (["--in-flight", "0"], "argument --in-flight: '0', expected a whole number from 1"),
    ],
)
def test_flags_that_cannot_be_are_one_line(flags, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(flags)
    assert exit_.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_a_context_too_short_is_one_line(job, capsys):
    with serving(judge) as server:
        assert main(at(server, job, "--context", "1100")) == 7
    out, err = capsys.readouterr()
    assert "6 queries have no answer" in err
    assert "mostly: a prompt of 4 passages does not fit in 76 tokens" in err
    assert (out, err.count("\n")) == ("", 1)
    assert not Path("bm25.llm.jsonl").exists()


def test_a_query_longer_than_the_context_is_named_and_the_others_are_labelled(job, capsys):
    topics = Path("topics.tsv").read_text().replace("query q7", "query q7 " + "and why " * 5000)
    Path("topics.tsv").write_text(topics)
    with serving(judge) as server:
        assert main(at(server, job)) == 7
    assert re.search(
        r"1 queries have no answer \('q7', mostly: a prompt of 4 passages does not fit", capsys.readouterr().err
    )
    assert [label.query.qid for label in read_set("bm25.llm.jsonl")] == [qid for qid in QIDS if qid != "q7"]


def test_no_query_with_a_text_is_no_set(job, tmp_path, capsys):
    Path("texts.jsonl").write_text('{"id": "other", "contents": "tea"}\n')
    with serving(judge) as server:
        assert main(at(server, job, "--skip-missing")) == 2
        assert server.requests == []
    assert "bm25.trec: no query has a candidate with a text; nothing to label" in capsys.readouterr().err
    assert files(tmp_path) == UNTOUCHED


# -- answers that were paid for ----------------------------------------------------------------------------------------


def test_another_job_neither_replaces_a_partial_set_nor_removes_its_answers(job, capsys):
    def choosy(request, nth):
        return (BEHAVIOURS["bad-request"] if query_of(request) in ("q1", "q7") else answer)(request, nth)

    with serving(choosy) as server:
        assert main(at(server, job)) == 7
    partial, kept = Path("bm25.llm.jsonl").read_bytes(), len(Path("bm25.llm.jsonl.journal").read_text().splitlines())
    with serving() as server:
        assert main(at(server, [*job, "--model", "another"])) == 2
        assert "exists already" in capsys.readouterr().err
        assert Path("bm25.llm.jsonl").read_bytes() == partial
        assert main(at(server, [*job, "--model", "another", "--overwrite"])) == 0
        assert re.search(r"journal stays: \d+ of its records are of another job", capsys.readouterr().err)
        assert len(Path("bm25.llm.jsonl.journal").read_text().splitlines()) >= kept
        asked = len(server.requests)
        assert main(at(server, job, "--overwrite")) == 0
        assert len(server.requests) - asked == 2  # those that had failed


def test_what_ends_the_asking_early_does_not_lose_what_was_answered(job, capsys):
    def then_gone(request, nth):
        asked.append(request)
        return answer(request, nth) if len(asked) <= 3 else BEHAVIOURS["wrong-key"](request, nth)

    asked: list[object] = []
    with serving(then_gone) as server:
        assert main(at(server, job, "--in-flight", "1")) == 7
    err = capsys.readouterr().err
    assert "stopped asking: " in err
    assert "3 queries have no answer" in err
    assert len(read_set("bm25.llm.jsonl")) == 3


@pytest.mark.parametrize("role", ["--teacher", "--preranker"])
def test_a_reranker_that_reappends_is_no_teacher(job, role, capsys):
    assert main([*job, role, "listwise-llm"]) == 2
    assert (
        "listwise-llm cannot be teacher or pre-ranker: it re-appends omitted documents; use an LLM (--teacher llm)"
        in capsys.readouterr().err
    )


def test_a_python_caller_makes_the_set_that_the_command_makes(job, capsys):
    with serving(judge) as server:
        llm = LLMConfig("judge", server.url, retries=1, timeout_s=10, total_s=20)
        asked = LabelJob(
            "bm25.trec",
            LLMTeacherConfig(llm),
            Origins("topics.tsv", "texts.jsonl"),
            ScorerConfig("bm25"),
            Selection(k_top=2, k_bottom=2),
        )
        assert label_run(asked) == ["bm25.llm.jsonl"]
        assert capsys.readouterr().out == ""
        with pytest.raises(RrarankError, match="exists already"):
            label_run(asked)
    with serving(judge) as server:
        assert main(at(server, job, "--output", "command.jsonl")) == 0
    assert Path("command.jsonl").read_bytes() == Path("bm25.llm.jsonl").read_bytes()
