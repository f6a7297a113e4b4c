"""Properties over generated bodies: every request gets a complete answer or one clear message."""

import json

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sleeper import Sleeper  # type: ignore[import-not-found]  # pytest finds it beside this file

from rrarank.data.types import blank_last
from rrarank.serve.app import create_app
from rrarank.serve.config import ServeConfig
from rrarank.serve.intake import LargeBodies, Service
from rrarank.serve.keys import Keys
from rrarank.serve.models import Models, Served
from rrarank.serve.queue import Worker
from rrarank.serve.scoring import Asked, Ranked, score_together
from rrarank.serve.watch import Metrics
from rrarank.serve.wire import Heading, RerankRequest

MOST = 30
quick = settings(
    max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def client():
    """The application in this process, with a reranker that scores by length."""
    metrics, config = Metrics(), ServeConfig(max_documents=MOST)
    worker = Worker({"length": Sleeper()}, config.queue, report=metrics.scored)
    models = Models([Served("length", "length")])
    service = Service(models, worker, metrics, config, LargeBodies(10**9), Keys(), False, None, lambda line: None)
    with TestClient(create_app(service)) as client:
        yield client


# -- bodies -----------------------------------------------------------------------------------------------------------

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
plain = any_text.filter(lambda text: not text.startswith(("hold", "sleep", "fail", "crash", "nan", "{")))
ids = plain | st.integers()
scores = st.floats(allow_nan=False, allow_infinity=False, width=32)
top_n = st.none() | st.integers(0, MOST + 5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | scores | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
documents = st.lists(plain | st.builds(lambda text: {"text": text}, plain), max_size=MOST)
asks = st.fixed_dictionaries(
    {"query": any_text.filter(bool), "documents": documents},
    optional={"top_n": top_n, "model": st.none() | any_text, "return_documents": st.none() | st.booleans()},
)
docs = plain | st.builds(
    lambda name, text, more: {"id": more, name: text}, st.sampled_from(["text", "contents"]), plain, values
)
candidates = st.lists(
    st.fixed_dictionaries({"docid": ids, "score": scores, "doc": docs}, optional={"rank": ids}), max_size=MOST
)
requests = st.fixed_dictionaries(
    {"query": st.fixed_dictionaries({"text": any_text.filter(bool)}, optional={"qid": ids}), "candidates": candidates},
    optional={"top_n": top_n},
)
names = st.sampled_from(["query", "documents", "candidates", "top_n", "model", "text", "docid", "score", "doc", "qid"])
near = st.recursive(
    values | asks | requests,
    lambda inner: st.dictionaries(names, inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=6,
)


def by_length(texts):
    """The places as `Sleeper` ranks them."""
    scores = blank_last(texts, [float(len(text)) for text in texts])
    return sorted(range(len(texts)), key=lambda place: (-scores[place], place))


# -- promises ---------------------------------------------------------------------------------------------------------


@quick
@given(asks, st.sampled_from("12"))
def test_documents_come_back_once_each_best_first(client, body, version):
    reply = client.post(f"/v{version}/rerank", json=body)
    assert reply.status_code == 200, reply.text
    results = reply.json()["results"]
    texts = [one if isinstance(one, str) else one["text"] for one in body["documents"]]
    assert [one["index"] for one in results] == by_length(texts)[: body.get("top_n") or None]
    assert all(0 <= one["relevance_score"] <= 1 for one in results)
    if body.get("return_documents"):
        assert [one["document"]["text"] for one in results] == [texts[one["index"]] for one in results]


@quick
@given(requests)
def test_candidates_come_back_once_each_as_they_came(client, body):
    reply = client.post("/v1/rerank", json=body)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert found["query"] == body["query"]
    docs = [one["doc"] for one in body["candidates"]]
    texts = [doc if isinstance(doc, str) else doc.get("text", doc.get("contents")) for doc in docs]
    order = by_length(texts)[: body.get("top_n") or None]
    kept = [(one["docid"], one["doc"], one["rank"]) for one in found["candidates"]]
    asked = [body["candidates"][place] for place in order]
    assert kept == [(one["docid"], one["doc"], rank) for rank, one in enumerate(asked, start=1)]


@quick
@given(near)
def test_any_json_gets_an_answer_or_one_clear_message(client, body):
    for path in ("/v1/rerank", "/v1/search"):
        reply = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
        assert reply.status_code in (200, 404, 413, 422), reply.text
        if reply.status_code != 200:
            assert reply.json()["message"].strip()
            assert "\n" not in reply.json()["message"]


@quick
@given(st.binary(max_size=200))
def test_any_bytes_get_one_clear_message(client, body):
    reply = client.post("/v2/rerank", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 422
    assert reply.json()["message"]


@quick
@given(st.lists(st.lists(plain, max_size=5), min_size=1, max_size=5))
def test_requests_scored_together_get_the_answers_they_get_alone(batch):
    asked = [Asked("q", texts) for texts in batch]
    alone = [score_together(Sleeper(), [one])[0].order for one in asked]
    assert [ranked.order for ranked in score_together(Sleeper(), asked)] == alone


@pytest.mark.parametrize(("score", "relevance"), [(0, 0.5), (2, 0.880797), (-800, 0), (800, 1), (-1e300, 0)])
def test_a_score_of_any_size_has_a_relevance(score, relevance):
    request = RerankRequest.model_validate({"query": "q", "documents": ["x"]})
    reply = request.reply(Ranked([(0, score)], 0, 1), Heading("", "", "1"))
    assert reply.results[0].relevance_score == pytest.approx(relevance, abs=1e-6)
