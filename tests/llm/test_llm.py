"""LLMs: every fault of an endpoint ends in an answer or a failure in time, no key leaks, and Ctrl-C is obeyed."""

import asyncio
import copy
import json
import logging
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count, islice
from pathlib import Path
from typing import Any

import httpx2  # noqa: F401  # takes a while, which no test should count
import pytest
from openai_server import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    BEHAVIOURS,
    Reply,
    after,
    always,
    answer,
    completion,
    error,
    first,
    ranking_of,
    serving,
)

from rrarank.errors import MissingPrerequisite, MissingResource, RrarankError
from rrarank.llm.base import Answer, Failure, LLMConfig
from rrarank.llm.endpoint import Endpoint
from rrarank.llm.load import load_llm

KEY = "sk-test-0123456789abcdef"


pytestmark = pytest.mark.usefixtures("no_endpoint")


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "rrarank-llm"] == []


def asking(text):
    return [{"role": "user", "content": text}]


def questions(number):
    return [(f"q{n}", asking(f"question {n}")) for n in range(number)]


def llm_at(server, **settings):
    return load_llm(LLMConfig("any", **{"base_url": server.url, **settings}))


def outcome_of(behave, **settings):
    """What becomes of one question, and how often it was asked."""
    with serving(behave) as server:
        [(key, outcome)] = llm_at(server, **settings).answers(questions(1))
        assert key == "q0"
        return outcome, len(server.requests)


# -- answers -----------------------------------------------------------------------------------------------------------


def test_each_question_gets_the_answer_to_it():
    with serving() as server:
        answers = dict(llm_at(server).answers(questions(20)))
    assert answers.keys() == {key for key, _ in questions(20)}
    for request in server.requests:
        key = request["messages"][0]["content"].replace("question ", "q")
        assert answers[key].text == ranking_of(request)
    assert len({found.id for found in answers.values()}) == 20
    assert len(server.requests) == 20


def test_an_answer_says_how_it_ended_and_what_it_took():
    found, asked = outcome_of(lambda request, nth: Reply(completion(request, content="[1]", finish_reason="length")))
    assert isinstance(found, Answer)
    assert (found.text, found.finish_reason, found.model) == ("[1]", "length", "any")
    assert (found.prompt_tokens, found.completion_tokens) == (100, 20)
    assert found.id.startswith("chatcmpl-")
    assert asked == 1


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": ""}, ""),
        ({"content": None}, ""),
        ({"content": None, "refusal": "No."}, "No."),
        ({"content": " [2] > [1]\n"}, " [2] > [1]\n"),
        ({"content": "東京 \ud83d"}, "東京 ?"),  # half a surrogate pair, which no file can hold
    ],
)
def test_whatever_the_model_says_is_its_answer_and_is_asked_for_once(message, text):
    found, asked = outcome_of(lambda request, nth: Reply(completion(request, **message)))
    assert isinstance(found, Answer)
    assert found.text == text
    assert asked == 1


def test_a_reply_may_lack_all_but_the_message():
    found, _ = outcome_of(lambda request, nth: Reply(b'{"choices": [{"message": {"content": "[1]"}}]}'))
    assert found == Answer("[1]")


def test_the_model_that_answered_is_recorded_though_another_was_asked():
    found, _ = outcome_of(lambda request, nth: Reply(completion(request, model="other-2026")))
    assert isinstance(found, Answer)
    assert found.model == "other-2026"


def test_outcomes_come_as_they_are_ready():
    def slow_first(request, nth):
        return after(0.4 if request["messages"][0]["content"] == "question 0" else 0.0)(request, nth)

    with serving(slow_first) as server:
        keys = [key for key, _ in llm_at(server).answers(questions(4))]
    assert keys[-1] == "q0"
    assert sorted(keys) == ["q0", "q1", "q2", "q3"]


def test_the_request_holds_what_was_configured_and_nothing_more():
    with serving() as server:
        bare = {"temperature": None, "max_tokens": 0}
        told = {"seed": 7, "stop": ("\n\n",), "extra": {"top_k": 1, "reasoning_effort": "low"}}
        for settings in ({}, bare, told):
            list(llm_at(server, **settings).answers([("q", asking("why"))]))
    messages = {"model": "any", "messages": asking("why")}
    assert server.requests == [
        messages | {"temperature": 0.0, "max_tokens": 1024},
        messages,
        messages
        | {"temperature": 0.0, "max_tokens": 1024, "seed": 7, "stop": ["\n\n"], "top_k": 1, "reasoning_effort": "low"},
    ]


def test_a_callers_own_event_loop_is_left_alone():
    async def notebook_cell():
        with serving() as server:
            return len(list(llm_at(server).answers(questions(3))))

    assert asyncio.run(notebook_cell()) == 3


# -- many at once ------------------------------------------------------------------------------------------------------


def test_as_many_as_configured_are_in_flight_and_never_more():
    with serving(after(0.1)) as server:
        started = time.monotonic()
        found = list(llm_at(server, in_flight=5).answers(questions(30)))
        seconds = time.monotonic() - started
    assert len(found) == 30
    assert server.most_at_once == 5
    assert 0.6 <= seconds < 2.5  # 30 / 5 rounds; one by one it were 3 s


def test_questions_are_pulled_only_as_there_is_room_and_closing_asks_no_more():
    pulled = []

    def endless():
        for n in count():
            pulled.append(n)
            yield f"q{n}", asking(f"question {n}")

    with serving(after(0.02)) as server:
        outcomes = llm_at(server, in_flight=3).answers(endless())
        assert len(list(islice(outcomes, 10))) == 10
        assert len(pulled) <= 12
        outcomes.close()
        asked = len(server.requests)
        time.sleep(0.1)
        assert len(server.requests) == asked <= 12


def test_an_error_of_the_questions_own_comes_through():
    def broken():
        yield "q0", asking("one")
        raise RrarankError("the topics end here")

    with serving(BEHAVIOURS["hang"]) as server, pytest.raises(RrarankError, match="the topics end here"):
        list(llm_at(server).answers(broken()))


def test_no_questions_no_answers():
    with serving() as server:
        assert list(llm_at(server).answers([])) == []


# -- faults that pass --------------------------------------------------------------------------------------------------

PASSING = ["server-error", "reset", "hang", "empty-body", "empty-choices", "truncated-json", "html", "error-with-200"]


def by_name(behaviours):
    """Each question is the name of the behaviour it meets."""
    return lambda request, nth: behaviours[request["messages"][0]["content"]](request, nth)


def outcomes_by_name(behaviours, **settings):
    """name -> (outcome, times asked, seconds), all asked at once."""
    with serving(by_name(behaviours)) as server:
        llm = llm_at(server, **{"in_flight": 32, **settings})
        found, started = {}, time.monotonic()
        for name, outcome in llm.answers((name, asking(name)) for name in behaviours):
            found[name] = outcome, time.monotonic() - started
        asked = Counter(request["messages"][0]["content"] for request in server.requests)
    assert found.keys() == behaviours.keys()
    return {name: (outcome, asked[name], seconds) for name, (outcome, seconds) in found.items()}


def test_a_fault_that_passes_is_tried_again():
    found = outcomes_by_name({name: first(1, BEHAVIOURS[name]) for name in PASSING}, timeout_s=0.5)
    assert {name: (type(outcome), asked) for name, (outcome, asked, _) in found.items()} == dict.fromkeys(
        PASSING, (Answer, 2)
    )


def test_a_fault_that_stays_ends_in_a_failure_of_one_line():
    found = outcomes_by_name({name: BEHAVIOURS[name] for name in PASSING}, retries=1, timeout_s=0.5)
    for outcome, asked, seconds in found.values():
        assert isinstance(outcome, Failure)
        assert outcome.retryable
        assert outcome.reason.endswith(" (tried 2 times)")
        assert "\n" not in outcome.reason
        assert asked == 2
        assert seconds < 5
    reasons = {name: outcome.reason.removesuffix(" (tried 2 times)") for name, (outcome, _, _) in found.items()}
    assert reasons.pop("reset").startswith("ReadError")
    assert reasons.pop("hang") in {"no answer within 0.5 s", "ReadTimeout"}
    assert reasons.pop("truncated-json").startswith("the reply is not JSON (")
    assert reasons == {
        "server-error": "HTTP 500: as you wished",
        "empty-body": "the reply is not JSON (0 characters)",
        "empty-choices": "the reply has no choices",
        "html": "the reply is an HTML page",
        "error-with-200": "the reply is an error: overloaded",
    }


def test_replies_of_any_other_shape_are_faults_too():
    shapes = [
        "null",
        "[]",
        '"x"',
        "7",
        "{}",
        '{"choices": {}}',
        '{"choices": [null]}',
        '{"choices": [{"message": []}]}',
    ]
    found = outcomes_by_name({shape: always(Reply(shape.encode())) for shape in [*shapes, "[" * 100_000]}, retries=0)
    reasons = [outcome.reason for outcome, _, _ in found.values() if outcome.retryable]
    assert sorted(reasons) == ["the reply has no choices"] * len(shapes) + [
        "the reply is not JSON (100,000 characters)"
    ]


def test_statuses_that_pass_and_statuses_that_stay():
    passing, staying = [408, 409, 425, 429, 500, 502, 503, 504, 529], [400, 403, 405, 413, 422]
    found = outcomes_by_name({str(status): error(status) for status in passing + staying}, retries=1)
    retried = {int(name): (asked, outcome.retryable) for name, (outcome, asked, _) in found.items()}
    assert retried == dict.fromkeys(passing, (2, True)) | dict.fromkeys(staying, (1, False))


def test_retry_after_is_kept_to_in_all_its_forms():
    now = datetime.now(UTC)
    date, past = (format_datetime(now + timedelta(seconds=seconds), usegmt=True) for seconds in (2, -99))
    least = {
        '{"Retry-After": "1"}': 1.0,
        '{"Retry-After": "0.7"}': 0.7,
        '{"Retry-After-Ms": "700", "Retry-After": "60"}': 0.7,
        f'{{"Retry-After": "{date}"}}': 1.0,  # a date has whole seconds: at least 1 from now
        f'{{"Retry-After": "{past}"}}': 0.0,
        '{"Retry-After": "soon"}': 0.0,
        '{"Retry-After": "-5"}': 0.0,
        '{"Retry-After": "nan"}': 0.0,
    }
    found = outcomes_by_name({headers: first(1, error(429, headers=json.loads(headers))) for headers in least})
    for headers, (outcome, asked, seconds) in found.items():
        assert isinstance(outcome, Answer)
        assert asked == 2
        assert least[headers] * 0.9 <= seconds < least[headers] + 3, headers  # the date's clock began a little earlier


def test_a_wait_beyond_the_total_is_not_begun():
    started = time.monotonic()
    found, asked = outcome_of(error(429, "slow down", {"Retry-After": "20"}), total_s=10, retries=1)
    assert found == Failure("HTTP 429: slow down; asked to wait 20 s", retryable=True)
    assert asked == 1
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("fault", ["hang", "server-error"])
def test_the_total_bounds_all_tries_and_waits(fault):
    started = time.monotonic()
    found, asked = outcome_of(BEHAVIOURS[fault], timeout_s=0.3, total_s=1, retries=1000)
    assert isinstance(found, Failure)
    assert found.retryable
    assert asked >= 2
    assert time.monotonic() - started < 4


def test_a_reply_that_drips_is_bounded_too():
    """Each byte comes in time, the whole does not: the SDK's own timeout would wait for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip():
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                try:
                    for _ in range(200):
                        connection.sendall(b" ")
                        time.sleep(0.05)
                except OSError:
                    return  # the client has hung up

        thread = threading.Thread(target=drip)
        thread.start()
        config = LLMConfig(
            "any", base_url=f"http://127.0.0.1:{listening.getsockname()[1]}/v1", timeout_s=0.4, retries=0
        )
        started = time.monotonic()
        [(_, found)] = load_llm(config).answers(questions(1))
        assert time.monotonic() - started < 4
        thread.join(timeout=5)
    assert found == Failure("no answer within 0.4 s", retryable=True)


# -- faults that stay --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "wrong-model",
            "no model 'any', or no such URL; a base_url usually ends in /v1 (HTTP 404: The model does",
        ),
        ("wrong-key", "the key is refused; set OPENAI_API_KEY to a valid one (HTTP 401: Incorrect API key"),
        ("no-quota", "the account has no credit left (HTTP 429: You exceeded"),
    ],
)
def test_what_no_question_survives_ends_the_job_in_one_line(fault, message):
    with serving(BEHAVIOURS[fault]) as server:
        with pytest.raises(MissingResource) as raised:
            list(llm_at(server, in_flight=2).answers(questions(1000)))
        assert str(raised.value).startswith(f"{server.url}: {message}")
        assert "\n" not in str(raised.value)
        assert len(server.requests) <= 4


def test_a_base_url_without_its_path_is_told():
    with serving() as server, pytest.raises(MissingResource, match="a base_url usually ends in /v1"):
        list(llm_at(server, base_url=server.url.removesuffix("/v1")).answers(questions(1)))


def test_a_server_that_is_not_there_ends_the_job():
    with serving() as server:
        url = server.url
    started = time.monotonic()
    with pytest.raises(MissingResource, match=f"^{url}: cannot be reached .*; does the server run at this base_url"):
        list(load_llm(LLMConfig("any", base_url=url)).answers(questions(1000)))
    assert time.monotonic() - started < 5


def test_a_server_that_goes_away_ends_the_job_after_a_round_of_failures():
    def goes(request, nth):
        number = int(request["messages"][0]["content"].split()[1])
        return (answer if number < 5 else BEHAVIOURS["server-error"])(request, nth)

    outcomes = []
    with serving(goes) as server, pytest.raises(MissingResource, match="8 failures in a row .HTTP 500: as you wished"):
        for outcome in llm_at(server, retries=0, in_flight=1).answers(questions(1000)):
            outcomes.append(outcome)
    assert [isinstance(found, Answer) for _, found in outcomes] == [True] * 5 + [False] * 8


def test_a_server_that_fails_now_and_then_does_not_end_the_job():
    def limps(request, nth):
        number = int(request["messages"][0]["content"].split()[1])
        return (answer if number % 2 else BEHAVIOURS["server-error"])(request, nth)

    with serving(limps) as server:
        found = dict(llm_at(server, retries=0, in_flight=1).answers(questions(30)))
    assert [isinstance(found[key], Answer) for key, _ in questions(30)] == [False, True] * 15


def test_an_endpoint_that_refuses_whatever_is_asked_ends_the_job():
    outcomes = []
    with (
        serving(error(400, "Unsupported parameter: 'max_tokens'")) as server,
        pytest.raises(RrarankError, match="the first 8 questions are all refused .HTTP 400: Unsupported parameter"),
    ):
        for outcome in llm_at(server).answers(questions(1000)):
            outcomes.append(outcome)
    assert len(outcomes) == 8


def test_refusals_of_single_questions_do_not_end_the_job():
    def refuses_most(request, nth):
        number = int(request["messages"][0]["content"].split()[1])
        return (answer if number == 0 else BEHAVIOURS["bad-request"])(request, nth)

    with serving(refuses_most) as server:
        found = list(llm_at(server, in_flight=1).answers(questions(30)))
    assert [isinstance(outcome, Answer) for _, outcome in found] == [True] + [False] * 29


def test_complaints_become_one_short_line():
    complaints = {
        '{"error": {"message": "too\\n  long"}}': "too long",
        '{"message": "vLLM"}': "vLLM",
        '{"detail": [{"loc": ["body"]}]}': '[{"loc": ["body"]}]',
        '{"error": "plain"}': "plain",
        '{"message": "\\u001b[31mred \\ud83d"}': "?[31mred ?",  # no colours of the server's, nor what no file can hold
        "[1]": "[1]",
        "text\nand more": "text and more",
        "<html><body>": "an HTML page",
        "": "no reason given",
    }
    found = outcomes_by_name({body: always(Reply(body.encode(), 400)) for body in complaints})
    assert {body: outcome.reason for body, (outcome, _, _) in found.items()} == {
        body: f"HTTP 400: {complaint}" for body, complaint in complaints.items()
    }
    long, _ = outcome_of(error(400, "word " * 1000))
    assert len(long.reason) == 300


# -- keys and URLs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_the_key_is_sent_and_never_said(status, monkeypatch, caplog, capfd):
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    caplog.set_level(logging.DEBUG)
    with serving(error(status, f"{'x' * 270} bad key {KEY}")) as server:
        llm = llm_at(server, api_key_env="MY_KEY", retries=0)
        try:
            [(_, found)] = llm.answers(questions(1))
        except MissingResource as fatal:
            found = fatal
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    said = [repr(found), str(found), repr(llm), repr(llm.config), json.dumps(llm.fingerprint()), caplog.text]
    assert not any(KEY[:8] in text for text in [*said, *capfd.readouterr()])


def test_a_server_without_keys_needs_none(monkeypatch):
    with serving() as server:
        list(llm_at(server).answers(questions(1)))
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        list(llm_at(server, api_key_env="MY_KEY").answers(questions(1)))
    assert [headers["authorization"] for headers in server.headers] == ["Bearer none"] * 2


def test_openai_itself_needs_a_key():
    with pytest.raises(MissingPrerequisite, match="OPENAI_API_KEY is not set; export a key, or give the base_url"):
        load_llm(LLMConfig("gpt-4.1"))


def test_a_key_that_no_header_can_hold_is_refused_unseen(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n{KEY}é")
    with pytest.raises(RrarankError) as raised:
        load_llm(LLMConfig("gpt-4.1"))
    assert str(raised.value) == "OPENAI_API_KEY contains a character that no key has; export it again"


def test_openais_own_variable_names_the_endpoint(monkeypatch):
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        [(_, found)] = load_llm(LLMConfig("any")).answers(questions(1))
    assert isinstance(found, Answer)


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host/v1", "http://", "http://[::1", "http://a:b/v1", "http://a b/"]
)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(RrarankError, match="base_url is not a URL; expected for example http://localhost:8000/v1"):
        load_llm(LLMConfig("any", base_url=url))


def test_a_password_in_the_url_is_refused_and_not_repeated():
    with pytest.raises(RrarankError, match="contains a user or password") as raised:
        load_llm(LLMConfig("any", base_url="https://me:hunter22@host/v1"))
    assert "hunter22" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": ""}, "no model; give the name of a model at the endpoint, or a model folder"),
        ({"in_flight": 0}, "in_flight 0, expected 1 or more"),
        ({"retries": -1}, "retries -1, expected 0 or more"),
        ({"max_tokens": -1}, "max_tokens -1, expected 0 or more"),
        ({"temperature": math.nan}, "temperature nan, expected 0 or more"),
        ({"timeout_s": 0}, "timeout_s 0, expected seconds, more than 0"),
        ({"total_s": math.inf}, "total_s inf, expected seconds, more than 0"),
    ],
)
def test_settings_without_sense_are_refused(settings, message):
    with pytest.raises(RrarankError) as raised:
        LLMConfig(**{"model": "any", **settings})
    assert str(raised.value) == message


# -- what determines an answer -----------------------------------------------------------------------------------------


def test_the_fingerprint_holds_what_determines_an_answer_and_no_place():
    def fingerprint(model="any", base_url="http://secret-host:8000/v1", **settings):
        return json.dumps(Endpoint(LLMConfig(model, base_url, **settings)).fingerprint())

    base = fingerprint()
    assert "secret-host" not in base
    assert base == fingerprint(base_url="http://elsewhere/v1", in_flight=99, timeout_s=1, retries=0, total_s=9)
    changes: list[dict[str, Any]] = [
        {"model": "b"},
        {"temperature": 1.0},
        {"max_tokens": 9},
        {"seed": 1},
        {"stop": ("x",)},
        {"extra": {"a": 1}},
    ]
    assert len({base, *(fingerprint(**change) for change in changes)}) == 1 + len(changes)


def test_a_model_named_by_its_path_is_shared_by_its_last_part():
    """vLLM and `transformers serve` name a model by its folder."""
    with serving() as server:
        llm = load_llm(LLMConfig("/home/me/models/tiny", base_url=server.url))
        [(_, found)] = llm.answers(questions(1))
    assert server.requests[0]["model"] == "/home/me/models/tiny"
    assert isinstance(found, Answer)
    assert found.model == llm.fingerprint()["model"] == "tiny@" + found.model[-8:]


# -- processes ---------------------------------------------------------------------------------------------------------


def test_importing_is_light():
    heavy = "{'openai', 'httpx', 'torch', 'transformers', 'httpx2', 'pydantic'}"
    program = (
        f"import sys, rrarank.llm.base, rrarank.llm.endpoint, rrarank.llm.local; print({heavy} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


JOB = """
    import argparse, sys, time
    from rrarank.cli.verbs import run_verb
    from rrarank.llm.base import LLMConfig
    from rrarank.llm.load import load_llm

    def ask(flags):
        llm = load_llm(LLMConfig("any", base_url=sys.argv[1]))
        for key, outcome in llm.answers((str(n), [{"role": "user", "content": str(n)}]) for n in range(10**9)):
            print(key, flush=True)
            BUSY

    sys.exit(run_verb(ask, argparse.ArgumentParser(), []))
"""


@pytest.mark.parametrize("busy", ["pass", "time.sleep(60)"], ids=["waiting for an answer", "with an answer in hand"])
def test_ctrl_c_ends_a_job_at_once_and_quietly(busy):
    def one_then_none(request, nth):
        return (answer if request["messages"][0]["content"] == "0" else BEHAVIOURS["hang"])(request, nth)

    with serving(one_then_none) as server:
        program = textwrap.dedent(JOB).replace("BUSY", busy)
        command = [sys.executable, "-c", program, server.url]
        job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert job.stdout
        assert job.stdout.readline() == "0\n"
        job.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, complaints = job.communicate(timeout=30)
    assert time.monotonic() - started < 2
    assert job.returncode == 130
    assert complaints == "interrupted; nothing is half-written\n"


def test_the_server_is_a_program_too():
    program = [sys.executable, str(Path(__file__).parents[1] / "openai_server.py"), "--port", "0", "--delay", "0.1"]
    server = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        url = server.stdout.readline().strip()
        [(_, found)] = load_llm(LLMConfig("any", base_url=url)).answers([("q", asking("[1] a\n[2] b\n[3] c"))])
    finally:
        server.kill()
        server.communicate()
    assert isinstance(found, Answer)
    assert sorted(found.text.split(" > ")) == ["[1]", "[2]", "[3]"]


# -- models on disk ----------------------------------------------------------------------------------------------------

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
    "{{ m.content }} {% endfor %}{% if add_generation_prompt and not terse %}rank {% endif %}"
)


@pytest.fixture(scope="module")
def chat_folder(tmp_path_factory, tokenizer):
    """A folder with a tiny Llama that was never trained, so its words are random but always alike."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
        bos_token_id=2,
        eos_token_id=3,
    )
    folder = tmp_path_factory.mktemp("chat") / "tiny-llama"
    LlamaForCausalLM(config).save_pretrained(folder)
    chatting = copy.deepcopy(tokenizer)
    chatting.chat_template = TEMPLATE
    chatting.save_pretrained(folder)
    return folder


def local(folder, **settings):
    return load_llm(LLMConfig(str(folder), **{"max_tokens": 8, **settings}))


def words_of(llm, text="what is a cat", role="user"):
    [(_, found)] = llm.answers([("q", [{"role": role, "content": text}])])
    return found


def test_a_folder_answers_greedily_and_alike(chat_folder, capfd):
    llm = local(chat_folder)
    one, other, again = words_of(llm), words_of(llm, "tea"), words_of(local(chat_folder))
    assert isinstance(one, Answer)
    assert one == again
    assert one.text != other.text
    assert (one.finish_reason, one.completion_tokens, one.model) == ("length", 8, "tiny-llama")
    assert one.prompt_tokens == llm.count_tokens("what is a cat rank") == 5
    assert capfd.readouterr().err == ""  # no advice from the library


def test_special_tokens_in_a_passage_are_words(chat_folder):
    llm = local(chat_folder)
    assert words_of(llm, "tea [SEP] tea").prompt_tokens == words_of(llm, "tea (SEP) tea").prompt_tokens > 4


def test_the_templates_options_reach_it(chat_folder):
    found = words_of(local(chat_folder, extra={"chat_template_kwargs": {"terse": True}}))
    assert found.prompt_tokens == 4
    for extra in ({"top_k": 5}, {"chat_template_kwargs": "terse"}):
        with pytest.raises(RrarankError, match="accepts only chat_template_kwargs, an object"):
            local(chat_folder, extra=extra)


def test_a_stop_ends_the_answer_and_is_not_part_of_it(chat_folder):
    whole = words_of(local(chat_folder)).text
    stop = whole.split()[3]
    found = words_of(local(chat_folder, stop=(stop,)))
    assert found.text == whole[: whole.index(stop)]
    assert found.finish_reason == "stop"


def test_sampling_obeys_the_seed_whatever_was_asked_before(chat_folder):
    seeded, other = (local(chat_folder, temperature=2.0, seed=seed) for seed in (1, 2))
    text = words_of(seeded).text
    assert words_of(seeded, "tea").text != text
    assert words_of(seeded).text == text
    assert words_of(other).text != text


def test_what_the_model_cannot_take_is_a_failure(chat_folder):
    llm = local(chat_folder)
    assert words_of(llm, "cat " * 70) == Failure("the prompt has 71 tokens, the model takes 64", retryable=False)
    assert words_of(llm, "cat " * 60).completion_tokens == 3  # all the room that is left
    refused = words_of(llm, role="tool")
    assert refused == Failure("the chat template refuses the messages: no tools", retryable=False)


def test_a_model_without_a_chat_template_is_refused(cross_encoder_folder):
    with pytest.raises(RrarankError, match="the tokenizer has no chat template; give an instruction-tuned model"):
        local(cross_encoder_folder)


def test_the_fingerprint_of_a_folder_is_its_content(chat_folder, tmp_path):
    llm = local(chat_folder)
    assert str(chat_folder.parent) not in json.dumps(llm.fingerprint())
    twin = shutil.copytree(chat_folder, tmp_path / "tiny-llama")
    assert local(twin).fingerprint() == llm.fingerprint()
    template = next(path for path in (twin / "chat_template.jinja", twin / "tokenizer_config.json") if path.exists())
    template.write_text(template.read_text().replace("rank", "order"))
    assert local(twin).fingerprint() != llm.fingerprint()


def test_a_folder_with_a_base_url_is_asked_for_there(chat_folder):
    with serving() as server:
        [(_, found)] = load_llm(LLMConfig(str(chat_folder), base_url=server.url)).answers(questions(1))
    assert server.requests[0]["model"] == str(chat_folder)
    assert isinstance(found, Answer)
    assert os.sep not in found.model
