"""Options of a request: interpolate, norm, min_score, min_relevance, budget_ms, through the application itself."""

import math

import pytest
from fastapi.testclient import TestClient

from rrarank.data.calibration import Platt, sigmoid
from rrarank.engine.batches import Batch
from rrarank.engine.reranker import Pointwise
from rrarank.serve.app import create_app
from rrarank.serve.config import ServeConfig
from rrarank.serve.intake import LargeBodies, Service
from rrarank.serve.keys import Keys
from rrarank.serve.models import Models, Served
from rrarank.serve.options import Options, within_budget
from rrarank.serve.queue import Worker
from rrarank.serve.scoring import Asked
from rrarank.serve.watch import Metrics

import numpy as np  # isort: skip

TEXTS = ["a", "bbb", "cc", "dddd"]  # the reranker's scores are their lengths
FIRST = [9.0, 1.0, 8.0, 2.0]


class ByLength(Pointwise):
    def encode(self, query, texts):
        return [{"input_ids": np.arange(len(text))} for text in texts]

    def score(self, batch: Batch):
        return np.array([len(pair["input_ids"]) for pair in batch], dtype=np.float32)


def client_of(relevance, *, scores_all=True):
    metrics, config = Metrics(), ServeConfig()
    service = Service(
        Models([Served("length", "length", relevance, scores_all)]),
        Worker({"length": ByLength()}, config.queue, report=metrics.scored),
        metrics,
        config,
        LargeBodies(10**9),
        Keys(),
        False,
        None,
        lambda line: None,
    )
    return TestClient(create_app(service))


@pytest.fixture(scope="module")
def plain():
    with client_of(None) as client:
        yield client


@pytest.fixture(scope="module")
def calibrated():
    with client_of(Platt(2.0, -5.0)) as client:
        yield client


def documents(**options):
    objects = [{"text": text, "score": score} for text, score in zip(TEXTS, FIRST, strict=True)]
    return {"query": "q", "documents": objects, **options}


def candidates(**options):
    found = [
        {"docid": text, "score": score, "doc": {"contents": text}} for text, score in zip(TEXTS, FIRST, strict=True)
    ]
    return {"query": {"text": "q"}, "candidates": found, **options}


def post(client, body):
    reply = client.post("/v2/rerank", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def places(reply):
    return [one["index"] for one in reply["results"]]


# -- relevance --------------------------------------------------------------------------------------------------------


def test_relevance_is_the_maps_where_there_is_one_and_a_sigmoid_that_says_so_where_there_is_none(plain, calibrated):
    for client, kind, by in (
        (plain, "sigmoid", lambda s: 1 / (1 + math.exp(-s))),
        (calibrated, "calibrated", Platt(2, -5)),
    ):
        for reply, key in ((post(client, documents()), "results"), (post(client, candidates()), "candidates")):
            assert reply["meta"]["relevance_score"] == kind
            assert [one["relevance_score"] for one in reply[key]] == pytest.approx([by(s) for s in (4, 3, 2, 1)])
    assert [client.get("/health").json()["calibrated"] for client in (plain, calibrated)] == [False, True]


def test_documents_below_the_least_relevance_or_score_are_left_out(plain, calibrated):
    assert places(post(calibrated, documents(min_relevance=0.5))) == [3, 1]  # 2 x 3 - 5 > 0 > 2 x 2 - 5
    assert places(post(calibrated, documents(min_relevance=0.5, top_n=1))) == [3]
    assert places(post(plain, documents(min_score=2))) == [3, 1, 2]
    assert places(post(plain, documents(min_score=9))) == []
    kept = post(calibrated, candidates(min_relevance=0.5))["candidates"]
    assert [(one["docid"], one["rank"]) for one in kept] == [("dddd", 1), ("bbb", 2)]


def test_a_floor_is_refused_where_only_the_best_have_a_score_of_their_own():
    with client_of(None, scores_all=False) as client:
        for option in ({"min_score": 2}, {"min_relevance": 0.5}):
            reply = client.post("/v1/rerank", json=documents(**option))
            assert reply.status_code == 422
            assert "scores only the best documents" in reply.text


def test_a_blank_document_is_not_relevant(plain):
    body = {"query": "q", "documents": ["", "a"], "min_score": -100}
    assert places(post(plain, body)) == [1]


# -- interpolation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [None, "z-score", "min-max", "rank"])
def test_at_weight_0_the_first_stages_order_comes_back_and_at_1_the_rerankers(plain, norm):
    more = {"norm": norm} if norm else {}
    assert places(post(plain, documents(interpolate=0, **more))) == [0, 2, 3, 1]
    assert places(post(plain, documents(interpolate=1, **more))) == [3, 1, 2, 0]
    ids = [one["docid"] for one in post(plain, candidates(interpolate=0, **more))["candidates"]]
    assert ids == ["a", "cc", "dddd", "bbb"]


def test_joined_scores_are_those_of_the_command_and_relevance_is_of_the_rerankers_own(calibrated):
    results = post(calibrated, documents(interpolate=0.5, norm="min-max"))["results"]
    wanted = {i: 0.5 * (len(text) - 1) / 3 + 0.5 * (FIRST[i] - 1) / 8 for i, text in enumerate(TEXTS)}
    assert {one["index"]: one["score"] for one in results} == pytest.approx(wanted)
    assert [one["index"] for one in results] == sorted(wanted, key=lambda place: -wanted[place])
    own = {one["index"]: one["relevance_score"] for one in results}
    assert own == pytest.approx({i: Platt(2, -5)(len(text)) for i, text in enumerate(TEXTS)})


def test_ranks_need_no_scores(plain):
    assert places(post(plain, {"query": "q", "documents": TEXTS, "interpolate": 0, "norm": "rank"})) == [0, 1, 2, 3]


def test_blank_documents_stay_last(plain):
    body = {"query": "q", "documents": [{"text": "", "score": 99}, {"text": "a", "score": 1}], "interpolate": 0}
    assert places(post(plain, body)) == [1, 0]


@pytest.mark.parametrize("count", [0, 1])
def test_none_or_one_document(plain, count):
    body = documents(interpolate=0.5)
    assert places(post(plain, body | {"documents": body["documents"][:count]})) == list(range(count))


# -- budget -----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_the_budget_is_left_out_and_counted(plain):
    body = documents(budget_ms=1e-6)
    reply = post(plain, body)
    assert places(reply) == [0]  # the first one sent
    said = "budget_ms: the last 3 of 4 documents did not fit, and are left out"
    assert reply["meta"]["warnings"] == [said]
    whole = post(plain, documents(budget_ms=1e8))
    assert places(whole) == [3, 1, 2, 0]
    assert whole["meta"]["warnings"] == []
    assert [one["docid"] for one in post(plain, candidates(budget_ms=1e-6))["candidates"]] == ["a"]


def test_the_first_stages_best_are_scored_first_whatever_the_order_sent():
    asked = Asked("q", ["aa", "bb", "cc"], [1.0, 3.0, 2.0])
    cut = within_budget(asked, Options(budget_ms=1000), characters_s=7)  # two pairs of three characters
    assert (cut.texts, cut.scores, cut.places) == (["bb", "cc"], [3.0, 2.0], [1, 2])


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"interpolate": 1.5}, "interpolate: input should be less than or equal to 1"),
        ({"interpolate": "half"}, "interpolate: input should be a valid number"),
        ({"interpolate": 0.5, "norm": "zscore"}, "norm: input should be 'z-score', 'min-max' or 'rank'"),
        ({"norm": "rank"}, "norm: means nothing without interpolate"),
        ({"min_relevance": 0.5}, "min_relevance: the model has no calibration"),
        ({"min_relevance": -1}, "min_relevance: input should be greater than or equal to 0"),
        ({"min_score": "2"}, "min_score: input should be a valid number"),
        ({"budget_ms": 0}, "budget_ms: input should be greater than 0"),
        ({"interpolate": 0.5, "documents": TEXTS}, "interpolate: documents.0 has no number in the field score"),
        (
            {"interpolate": 0.5, "documents": [{"text": "a", "score": 1}, {"text": "b", "score": True}]},
            "interpolate: documents.1 has no number in the field score",
        ),
        (
            {"interpolate": 0.5, "documents": [{"text": "a", "score": 1}, {"text": "b", "score": 1}]},
            "interpolate: the first stage's scores are all equal",
        ),
    ],
)
def test_an_option_that_cannot_be_followed_is_refused_in_one_line(plain, options, said):
    reply = plain.post("/v1/rerank", json=documents() | options)
    assert reply.status_code == 422
    assert reply.json()["message"].startswith(said)
    assert "\n" not in reply.json()["message"]


def test_relevance_score_may_be_the_sigmoid_of_a_calibrated_models_scores(calibrated, plain):
    body = {"query": "q", "documents": TEXTS}
    usual, asked = (
        calibrated.post("/v1/rerank", json=body | more).json() for more in ({}, {"relevance_score": "sigmoid"})
    )
    assert [usual["meta"]["relevance_score"], asked["meta"]["relevance_score"]] == ["calibrated", "sigmoid"]
    lengths = [4, 3, 2, 1]
    assert [one["relevance_score"] for one in asked["results"]] == pytest.approx([sigmoid(one) for one in lengths])
    assert [one["relevance_score"] for one in usual["results"]] == pytest.approx([Platt(2, -5)(one) for one in lengths])
    floor = body | {"relevance_score": "sigmoid", "min_relevance": 0.5}
    assert len(calibrated.post("/v1/rerank", json=floor).json()["results"]) == 2  # by probability all the same
    refused = plain.post("/v1/rerank", json=body | {"relevance_score": "calibrated"})
    assert (refused.status_code, refused.json()["message"][:16]) == (422, "relevance_score:")
