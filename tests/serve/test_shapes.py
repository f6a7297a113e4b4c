"""Each client's shape of request and reply, against the scores of `rerank_run`; Cohere's real client among them."""

import json
import math
import re
from pathlib import Path

import pytest
from server_process import serving  # type: ignore[import-not-found]  # pytest finds it beside this file

import rrarank
from benchmarks.serving.calls import CALLS, ELASTICSEARCH, KEY, OPENSEARCH
from rrarank.data.types import Hit, Run

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
QUERY = "what is a cat"
TEXTS = ["the dog sat", "a cat is a cat", "tea and bread", "the cat sat", "the dog sat"]
HEADERS = {"authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory, steady_folder):
    flags = ("--reranker", "cross-encoder", "--model", steady_folder, "--threads", "1", "--device", "cpu")
    with serving(tmp_path_factory.mktemp("shapes"), *flags, RRARANK_API_KEYS=KEY) as running:
        yield running


@pytest.fixture(scope="module")
def scores(steady_folder):
    """Of a query and texts, as `rerank_run` gives them."""
    reranker = rrarank.load_reranker("cross-encoder", model=str(steady_folder), device="cpu")

    def scores(query, texts):
        named = {str(place): text for place, text in enumerate(texts)}
        run = rrarank.rerank_run(
            Run({"1": [Hit(docid, 0.0) for docid in named]}), reranker, topics={"1": query}, texts=named
        )
        found = {int(hit.docid): hit.score for hit in run["1"]}
        return [found[place] for place in range(len(texts))]

    return scores


def sigmoid(score):
    return 1 / (1 + math.exp(-score))


def best_first(scores):
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))


# -- text-embeddings-inference ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [False, True])
def test_tei_ranks_texts_with_their_scores_or_the_sigmoid_of_them(server, scores, raw):
    body = {"query": QUERY, "texts": TEXTS, "raw_scores": raw, "truncate": True, "truncation_direction": "Right"}
    ranks = server.post(body, "/rerank", headers=HEADERS).json()
    expected = scores(QUERY, TEXTS)
    assert [one["index"] for one in ranks] == best_first(expected)
    wanted = [expected[place] if raw else sigmoid(expected[place]) for place in best_first(expected)]
    assert [one["score"] for one in ranks] == pytest.approx(wanted, abs=1e-6)
    assert all(set(one) == {"index", "score"} for one in ranks)


def test_tei_returns_texts_if_asked(server):
    ranks = server.post({"query": QUERY, "texts": TEXTS, "return_text": True}, "/rerank", headers=HEADERS).json()
    assert [one["text"] for one in ranks] == [TEXTS[one["index"]] for one in ranks]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"query": QUERY}, "texts: field required"),
        ({"query": QUERY, "texts": [1] * 500}, "texts.0: input should be a valid string"),
        ({"query": QUERY, "texts": TEXTS, "truncation_direction": "Left"}, "truncation_direction: input should be"),
    ],
)
def test_tei_refuses_what_it_would_ignore(server, body, said):
    reply = server.post(body, "/rerank", headers=HEADERS)
    assert reply.status_code == 422
    assert reply.json()["message"].startswith(said)


def test_tei_returns_as_many_as_its_connectors_ask_for(server, scores):
    ranks = server.post({"query": QUERY, "texts": TEXTS, "top_n": 2}, "/rerank", headers=HEADERS).json()
    assert [one["index"] for one in ranks] == best_first(scores(QUERY, TEXTS))[:2]
    assert len(server.post({"query": QUERY, "texts": TEXTS, "top_n": 9}, "/rerank", headers=HEADERS).json()) == 5


def test_documents_sent_to_the_path_of_tei_are_answered_as_by_v1(server):
    body = {"query": QUERY, "documents": [*TEXTS[:4], {"text": TEXTS[4]}], "top_n": 3, "return_documents": True}
    there, here = (server.post(body, path, headers=HEADERS).json() for path in ("/v1/rerank", "/rerank"))
    assert len(here["results"]) == 3
    assert here | {"id": ""} == there | {"id": ""}
    refused = server.post({"query": QUERY, "documents": [1]}, "/rerank", headers=HEADERS)
    assert refused.json()["message"].startswith("documents.0.str: input should be a valid string")


# -- requests as other clients' documentation has them ----------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, (package, _) in CALLS.items() if not package])
def test_a_request_as_documented_gets_the_same_order_and_scores(server, scores, name):
    expected = scores(QUERY, TEXTS)
    _, ask = CALLS[name]
    found = ask(server.url, QUERY, TEXTS)
    assert [place for place, _ in found] == best_first(expected)
    assert [score for _, score in found] == pytest.approx([sigmoid(expected[place]) for place, _ in found], abs=1e-6)


def blocks(page):
    return [json.loads(one) for one in re.findall(r"```json\n(.*?)```", (GUIDES / page).read_text(), re.DOTALL)]


def test_the_guides_show_the_requests_that_are_tested():
    assert blocks("opensearch.md")[0]["actions"][0]["request_body"] == OPENSEARCH
    assert blocks("elasticsearch.md")[0]["service_settings"]["request"] == ELASTICSEARCH
    [sql] = re.findall(r'SEARCH = """.*?"""', (GUIDES / "postgresql.md").read_text(), re.DOTALL)
    assert sql in (GUIDES.parents[1] / "examples" / "postgresql_rerank.py").read_text()


# -- vLLM -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
def test_vllm_scores_one_text_with_many_in_their_order(server, scores, path):
    reply = server.post({"model": "any", "text_1": QUERY, "text_2": TEXTS}, path, headers=HEADERS).json()
    assert [one["index"] for one in reply["data"]] == [0, 1, 2, 3, 4]
    assert [one["score"] for one in reply["data"]] == pytest.approx(list(map(sigmoid, scores(QUERY, TEXTS))), abs=1e-6)
    assert [reply["object"], reply["data"][0]["object"], reply["usage"]["completion_tokens"]] == ["list", "score", 0]
    assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] > len(TEXTS)


@pytest.mark.parametrize("name", ["use_activation", "activation"])
def test_vllm_gives_raw_scores_without_its_activation(server, scores, name):
    body, expected = {"text_1": QUERY, "text_2": TEXTS}, scores(QUERY, TEXTS)
    for wanted, found in ((False, expected), (True, list(map(sigmoid, expected)))):
        reply = server.post(body | {name: wanted}, "/score", headers=HEADERS).json()
        assert [one["score"] for one in reply["data"]] == pytest.approx(found, abs=1e-6)


def test_vllm_scores_pairs(server, scores):
    queries = [QUERY, "why tea", QUERY, "how long"]
    texts = ["a cat", "tea", "a cat", "the mat"]
    reply = server.post({"text_1": queries, "text_2": texts}, "/score", headers=HEADERS).json()
    expected = [sigmoid(scores(query, [text])[0]) for query, text in zip(queries, texts, strict=True)]
    assert [one["score"] for one in reply["data"]] == pytest.approx(expected, abs=1e-6)
    one = server.post({"queries": QUERY, "documents": "a cat"}, "/score", headers=HEADERS).json()
    assert [found["score"] for found in one["data"]] == pytest.approx(expected[:1], abs=1e-6)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"text_1": ["a", "b"], "text_2": ["c"]}, "text_1 has 2 texts and text_2 1; expected one, or as many"),
        ({"text_1": "a"}, "text_2: field required"),
    ],
)
def test_vllm_pairs_that_do_not_match_are_refused(server, body, said):
    reply = server.post(body, "/score", headers=HEADERS)
    assert (reply.status_code, reply.json()["message"]) == (422, said)


# -- OpenAI, load balancers, people -----------------------------------------------------------------------------------


def test_models_ready_and_keys(server):
    models = server.get("/v1/models", headers=HEADERS).json()
    assert models["object"] == "list"
    assert [(one["id"], one["object"]) for one in models["data"]] == [(server.get("/health").json()["model"], "model")]
    assert server.get("/ready").json() == {"status": "ready"}
    for path in ("/rerank", "/score", "/v1/score"):
        assert server.post({"query": QUERY, "texts": TEXTS}, path).status_code == 401
    assert server.get("/v1/models").status_code == 401


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_docs_load_nothing_from_another_host(server, path):
    page = server.get(path)
    assert page.status_code == 200
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert any(one.endswith(".js") for one in loaded)
    assert all(one.startswith("/") and server.get(one).status_code == 200 for one in loaded)
    assert not re.search(
        r"https?://(?!127|localhost)", re.sub(r"<!--.*?-->|<noscript>.*?</noscript>", "", page.text, flags=re.S)
    )
    assert "/rerank" in server.get("/openapi.json").json()["paths"]


# -- Cohere's client --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["Client", "ClientV2"])
def cohere(request, server):
    """Cohere's real client for v1 and for v2."""
    library = pytest.importorskip("cohere")
    return getattr(library, request.param)(api_key=KEY, base_url=server.url)


def test_cohere_gets_the_same_order_and_scores(cohere, scores):
    expected = scores(QUERY, TEXTS)
    reply = cohere.rerank(model="rerank-v3.5", query=QUERY, documents=TEXTS)
    assert [one.index for one in reply.results] == best_first(expected)
    wanted = [sigmoid(expected[place]) for place in best_first(expected)]
    assert [one.relevance_score for one in reply.results] == pytest.approx(wanted, abs=1e-6)
    assert reply.meta.api_version.version == ("2" if type(cohere).__name__ == "ClientV2" else "1")
    assert len(cohere.rerank(model="any", query=QUERY, documents=TEXTS, top_n=99).results) == len(TEXTS)
    assert len(cohere.rerank(model="any", query=QUERY, documents=TEXTS, top_n=2).results) == 2


def test_cohere_v1_sends_objects_and_gets_them_back(server, scores):
    library = pytest.importorskip("cohere")
    client = library.Client(api_key=KEY, base_url=server.url)
    documents = [{"text": text, "title": f"number {place}", "url": "x"} for place, text in enumerate(TEXTS)]
    reply = client.rerank(
        query=QUERY, documents=documents, rank_fields=["text"], return_documents=True, max_chunks_per_doc=1
    )
    assert [one.index for one in reply.results] == best_first(scores(QUERY, TEXTS))
    assert [one.document.text for one in reply.results] == [TEXTS[one.index] for one in reply.results]
    assert reply.results[0].document.title == f"number {reply.results[0].index}"
    titled = client.rerank(query=QUERY, documents=documents, rank_fields=["title", "text"])
    expected = scores(QUERY, [f"number {place} {text}" for place, text in enumerate(TEXTS)])
    assert [one.relevance_score for one in titled.results] == pytest.approx(
        sorted(map(sigmoid, expected), reverse=True), abs=1e-6
    )


def test_cohere_v2_sends_a_limit_of_tokens_and_is_told_that_it_is_ignored(server):
    library = pytest.importorskip("cohere")
    client = library.ClientV2(api_key=KEY, base_url=server.url)
    reply = client.rerank(model="any", query=QUERY, documents=TEXTS, max_tokens_per_doc=512)
    assert reply.meta.warnings == ["ignored: 'max_tokens_per_doc'"]
