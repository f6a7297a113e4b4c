"""What an endpoint refuses of a request is left out once, and from then on."""

import json
import logging

import pytest
from openai_server import Reply, completion, error, serving  # type: ignore[import-not-found]  # beside this folder

from rrarank.errors import RrarankError
from rrarank.llm.base import Answer, Failure, LLMConfig
from rrarank.llm.endpoint import Endpoint

ASKED = [(str(n), [{"role": "user", "content": f"[1] question {n}"}]) for n in range(12)]


def refusing(field, **fault):
    """A model that takes no such field, and names it in its error."""

    def behave(request, nth):
        if field in request:
            return error(400, **{"message": f"Unsupported parameter: '{field}'.", **fault})(request, nth)
        return Reply(completion(request, content="[1]"))

    return behave


def answers(server, **config):
    llm = Endpoint(LLMConfig("judge", server.url, total_s=10.0, retries=0, **config))
    return dict(llm.answers(ASKED))


@pytest.mark.parametrize(
    ("field", "config"),
    [
        ("temperature", {}),
        ("reasoning_effort", {"reasoning_effort": "low"}),
        ("response_format", {"schema": {"type": "object"}}),
        ("seed", {"seed": 3}),
        ("top_logprobs", {"top_logprobs": 5}),
    ],
)
def test_a_refused_field_is_left_out_of_all_later_requests(field, config, caplog):
    caplog.set_level(logging.INFO, "rrarank")
    with serving(refusing(field)) as server:
        found = answers(server, **config, in_flight=4)
    assert all(isinstance(one, Answer) for one in found.values())
    assert len(found) == 12
    assert sum(field in request for request in server.requests) <= 4  # those in flight before the first answer
    assert [record.getMessage() for record in caplog.records if "going on without" in record.getMessage()] != []


def test_the_newer_name_of_the_limit_serves_questions_that_were_in_flight_together():
    says = {"message": "Use 'max_completion_tokens' instead.", "param": "max_tokens"}
    with serving(refusing("max_tokens", **says)) as server:
        found = answers(server, max_tokens=50, thought_tokens=200, in_flight=8)
    assert all(isinstance(one, Answer) for one in found.values())
    assert {one["max_completion_tokens"] for one in server.requests if "max_tokens" not in one} == {250}


def test_two_fields_may_be_refused_one_after_the_other():
    def behave(request, nth):
        return refusing("seed")(request, nth) if "temperature" not in request else refusing("temperature")(request, nth)

    with serving(behave) as server:
        assert all(isinstance(one, Answer) for one in answers(server, seed=1, in_flight=1).values())
    assert len(server.requests) == 12 + 2


def test_the_param_of_an_error_counts_as_its_text_does():
    with serving(refusing("temperature", message="No.", param="temperature")) as server:
        assert all(isinstance(one, Answer) for one in answers(server).values())


def test_what_the_user_wrote_into_extra_is_not_taken_out():
    with serving(refusing("temperature")) as server, pytest.raises(RrarankError, match="are all refused"):
        answers(server, temperature=None, extra={"temperature": 0.3}, in_flight=2)


def test_another_error_drops_nothing():
    def behave(request, nth):
        bad = "question 3" in request["messages"][0]["content"]
        return (error(400, "the temperature of this question is too high") if bad else good)(request, nth)

    def good(request, nth):
        return Reply(completion(request, content="[1]"))

    with serving(behave) as server:
        found = answers(server, in_flight=1)
    assert isinstance(found["3"], Failure)
    assert "temperature" in server.requests[-1]


def test_alternatives_of_the_first_token_are_read():
    def behave(request, nth):
        assert (request["logprobs"], request["top_logprobs"]) == (True, 3)
        reply = json.loads(completion(request, content="Yes"))
        top = [{"token": "Yes", "logprob": -0.1}, {"token": " yes", "logprob": -3.0}, {"token": "No", "logprob": None}]
        reply["choices"][0]["logprobs"] = {"content": [{"token": "Yes", "logprob": -0.1, "top_logprobs": top}]}
        return Reply(json.dumps(reply).encode())

    with serving(behave) as server:
        found = answers(server, top_logprobs=3)
    assert found["0"].first == {"Yes": -0.1, " yes": -3.0}
