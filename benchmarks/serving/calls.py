"""Calls of other makers' clients, each as its reader would write it.

    python benchmarks/serving/calls.py NAME URL < asked.json

asked.json holds `query` and `texts`. It prints the client's version and [place, score] for each result, in the client's
order. Only the client and the standard library are needed. A call whose name starts with `shape of` sends what the
client's documentation or source says that it sends, and reads of the reply what the client reads; the client itself is
not run.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

Found = list[tuple[int, float]]  # place in the texts, score
Call = Callable[[str, str, Sequence[str]], Found]  # of a URL, a query and texts

KEY = "any-key-will-do-here"
CALLS: dict[str, tuple[str | None, Call]] = {}  # name -> (package, call)


def call(name: str, package: str | None = None) -> Callable[[Call], Call]:
    def keep(function: Call) -> Call:
        CALLS[name] = (package, function)
        return function

    return keep


def main() -> None:
    asked, (package, ask) = json.load(sys.stdin), CALLS[sys.argv[1]]
    found = ask(sys.argv[2], asked["query"], asked["texts"])
    print(json.dumps({"version": version(package) if package else "", "found": found}))


# -- Cohere's SDK -----------------------------------------------------------------------------------------------------


@call("Client.rerank", "cohere")
def cohere_v1(url: str, query: str, texts: Sequence[str]) -> Found:
    import cohere

    reply = cohere.Client(api_key=KEY, base_url=url).rerank(model="any", query=query, documents=texts)
    return [(one.index, one.relevance_score) for one in reply.results]


@call("Client.rerank, objects", "cohere")
def cohere_v1_objects(url: str, query: str, texts: Sequence[str]) -> Found:
    import cohere

    reply = cohere.Client(api_key=KEY, base_url=url).rerank(
        model="any",
        query=query,
        documents=[{"text": text, "place": str(place)} for place, text in enumerate(texts)],
        rank_fields=["text"],
        max_chunks_per_doc=10,
        return_documents=True,
        top_n=len(texts) + 5,
    )
    assert all(one.document and one.document.text == texts[one.index] for one in reply.results)
    return [(one.index, one.relevance_score) for one in reply.results]


@call("ClientV2.rerank", "cohere")
def cohere_v2(url: str, query: str, texts: Sequence[str]) -> Found:
    import cohere

    reply = cohere.ClientV2(api_key=KEY, base_url=url).rerank(
        model="any", query=query, documents=texts, top_n=len(texts) + 5, max_tokens_per_doc=4096
    )
    return [(one.index, one.relevance_score) for one in reply.results]


# -- frameworks -------------------------------------------------------------------------------------------------------


@call("CohereRerank.compress_documents", "langchain-cohere")
def langchain_cohere(url: str, query: str, texts: Sequence[str]) -> Found:
    from langchain_cohere import CohereRerank
    from langchain_core.documents import Document

    ranker = CohereRerank(cohere_api_key=KEY, base_url=url, model="any", top_n=len(texts))
    documents = [Document(text, metadata={"place": place}) for place, text in enumerate(texts)]
    found = ranker.compress_documents(documents, query)
    return [(one.metadata["place"], one.metadata["relevance_score"]) for one in found]


def llamaindex(ranker: Any, query: str, texts: Sequence[str]) -> Found:
    from llama_index.core.schema import NodeWithScore, TextNode

    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(place))) for place, text in enumerate(texts)]
    return [(int(one.node.id_), one.score) for one in ranker.postprocess_nodes(nodes, query_str=query)]


@call("CohereRerank", "llama-index-postprocessor-cohere-rerank")
def llamaindex_cohere(url: str, query: str, texts: Sequence[str]) -> Found:
    from llama_index.postprocessor.cohere_rerank import CohereRerank

    return llamaindex(CohereRerank(api_key=KEY, base_url=url, model="any", top_n=len(texts)), query, texts)


@call("TextEmbeddingInference", "llama-index-postprocessor-tei-rerank")
def llamaindex_tei(url: str, query: str, texts: Sequence[str]) -> Found:
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    return llamaindex(TextEmbeddingInference(base_url=url, top_n=len(texts)), query, texts)


@call("JinaRerank", "llama-index-postprocessor-jinaai-rerank")
def llamaindex_jina(url: str, query: str, texts: Sequence[str]) -> Found:
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    return llamaindex(JinaRerank(api_key=KEY, base_url=f"{url}/v1", model="any", top_n=len(texts)), query, texts)


def haystack(ranker: Any, query: str, texts: Sequence[str]) -> Found:
    from haystack import Document

    documents = [Document(content=text, id=str(place)) for place, text in enumerate(texts)]
    return [(int(one.id), one.score) for one in ranker.run(query=query, documents=documents)["documents"]]


@call("CohereRanker", "cohere-haystack")
def haystack_cohere(url: str, query: str, texts: Sequence[str]) -> Found:
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.cohere import CohereRanker

    key = Secret.from_token(KEY)
    return haystack(CohereRanker(model="any", api_key=key, api_base_url=url, top_k=len(texts)), query, texts)


@call("HuggingFaceTEIRanker", "huggingface-api-haystack")
def haystack_tei(url: str, query: str, texts: Sequence[str]) -> Found:
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker

    ranker = HuggingFaceTEIRanker(url=url, top_k=len(texts), token=Secret.from_token(KEY))
    return haystack(ranker, query, texts)


@call("client.post('/score')", "openai")
def openai_score(url: str, query: str, texts: Sequence[str]) -> Found:
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY)
    model = client.models.list().data[0].id
    reply = client.post("/score", body={"model": model, "text_1": query, "text_2": texts}, cast_to=object)
    assert isinstance(reply, dict)
    return best_first([(one["index"], one["score"]) for one in reply["data"]])


def best_first(found: Found) -> Found:
    return sorted(found, key=lambda one: (-one[1], one[0]))


# -- requests as documented -------------------------------------------------------------------------------------------


def post(url: str, body: object) -> Any:
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


@call("POST /v1/rerank")
def jina(url: str, query: str, texts: Sequence[str]) -> Found:
    """https://api.jina.ai/redoc"""
    documents = [{"text": text} for text in texts]
    body = {"model": "any", "query": query, "documents": documents, "top_n": len(texts), "return_documents": True}
    reply = post(f"{url}/v1/rerank", body)
    assert reply["usage"]["total_tokens"] > 0
    assert all(one["document"]["text"] == texts[one["index"]] for one in reply["results"])
    return [(one["index"], one["relevance_score"]) for one in reply["results"]]


@call("shape of rerank, hosted_vllm/")
def litellm_vllm(url: str, query: str, texts: Sequence[str]) -> Found:
    """litellm/llms/hosted_vllm/rerank/transformation.py: it drops /v1 from the address."""
    body = {"model": "any", "query": query, "documents": texts, "top_n": len(texts), "return_documents": True}
    reply = post(f"{url}/rerank", body)
    assert reply["id"]
    assert all(one["document"]["text"] == texts[one["index"]] for one in reply["results"])
    return [(one["index"], one["relevance_score"]) for one in reply["results"]]


@call("shape of rerank, huggingface/")
def litellm_tei(url: str, query: str, texts: Sequence[str]) -> Found:
    """litellm/llms/huggingface/rerank/transformation.py"""
    body = {"raw_scores": False, "truncate": False, "truncation_direction": "Right"}
    body |= {"query": query, "texts": texts, "top_n": len(texts), "return_text": True}
    reply = post(f"{url}/rerank", body)
    assert all(one["text"] == texts[one["index"]] for one in reply)
    return [(one["index"], one["score"]) for one in reply]


@call("shape of rerank, cohere/")
def litellm_cohere(url: str, query: str, texts: Sequence[str]) -> Found:
    """litellm/llms/cohere/rerank_v2/transformation.py"""
    body = {"model": "any", "query": query, "documents": texts, "top_n": len(texts), "max_tokens_per_doc": 4096}
    reply = post(f"{url}/v2/rerank", body)
    return [(one["index"], one["relevance_score"]) for one in reply["results"]]


@call("shape of the rerank processor's connector")
def opensearch(url: str, query: str, texts: Sequence[str]) -> Found:
    """ml-commons, docs/remote_inference_blueprints/cohere_connector_rerank_blueprint.md, as docs/guides/opensearch.md
    has it. `connector.post_process.cohere.rerank` gives each document its score, and the processor sorts by them."""
    filled = OPENSEARCH.replace("${parameters.query}", json.dumps(query)[1:-1])
    filled = filled.replace("${parameters.documents}", json.dumps(texts))
    reply = post(f"{url}/v1/rerank", json.loads(filled))
    return best_first([(one["index"], one["relevance_score"]) for one in reply["results"]])


OPENSEARCH = '{"query": "${parameters.query}", "documents": ${parameters.documents}, "relevance_score": "sigmoid"}'


@call("shape of the inference service cohere")
def elasticsearch_cohere(url: str, query: str, texts: Sequence[str]) -> Found:
    """CohereRerankRequestEntity.java"""
    body = {"model": "any", "query": query, "documents": texts, "return_documents": False, "top_n": len(texts)}
    reply = post(f"{url}/v1/rerank", body | {"max_chunks_per_doc": 10})
    return [(one["index"], one["relevance_score"]) for one in reply["results"]]


@call("shape of the inference service hugging_face")
def elasticsearch_tei(url: str, query: str, texts: Sequence[str]) -> Found:
    """HuggingFaceRerankRequestEntity.java"""
    reply = post(f"{url}/rerank", {"texts": texts, "query": query, "return_text": True, "top_n": len(texts)})
    assert all(one["text"] == texts[one["index"]] for one in reply)
    return [(one["index"], one["score"]) for one in reply]


@call("shape of the inference service custom")
def elasticsearch_custom(url: str, query: str, texts: Sequence[str]) -> Found:
    """The request and the JSON paths of docs/guides/elasticsearch.md; the retriever sorts by the scores."""
    filled = ELASTICSEARCH.replace("${query}", json.dumps(query)).replace("${input}", json.dumps(texts))
    reply = post(f"{url}/v1/rerank", json.loads(filled))
    return best_first([(one["index"], one["relevance_score"]) for one in reply["results"]])


ELASTICSEARCH = '{"query": ${query}, "documents": ${input}, "relevance_score": "sigmoid"}'


@call("shape of a search reply's hits")
def vespa(url: str, query: str, texts: Sequence[str]) -> Found:
    """The reply of `/search/` by https://docs.vespa.ai/en/reference/default-result-format.html, as docs/guides/vespa.md
    re-ranks it."""
    hits = [{"id": f"id:docs:doc::{place}", "relevance": 1 / (1 + place)} for place in range(len(texts))]
    hits = [hit | {"source": "docs", "fields": {"body": text}} for hit, text in zip(hits, texts, strict=True)]
    found: dict[str, Any] = {
        "root": {"id": "toplevel", "relevance": 1.0, "fields": {"totalCount": len(texts)}, "children": hits}
    }
    documents = [hit["fields"] for hit in found["root"]["children"]]
    reply = post(f"{url}/v1/rerank", {"query": query, "documents": documents, "rank_fields": ["body"]})
    return [(one["index"], one["relevance_score"]) for one in reply["results"]]


if __name__ == "__main__":
    main()
