"""What every registered reranker owes the engine; a new name must be added to `build` to be registered."""

import json
import random
import re

import pytest
from openai_server import (  # type: ignore[import-not-found]  # pytest finds it beside this file's folder
    Reply,
    completion,
    serving,
)

from rrarank import Candidate, Query, Ranking
from rrarank.engine.registry import find_reranker, load_reranker, names
from rrarank.errors import RrarankError

NAMES = [name for name in names() if find_reranker(name).__module__.startswith("rrarank.")]  # not other tests' own
LLMS = {"listwise-llm", "pairwise-llm", "pointwise-llm", "setwise-llm"}
TEXTS = ["the cat sat", "why dogs", "tea", "bread is long", "a long long document about cats and dogs " * 4, "mat", ""]


def by_content(request, nth):
    """A judge that sorts passages by their letters, in whatever order they are shown."""
    text = request["messages"][-1]["content"]
    if "yes or no" in text:
        return likely(request, text.split("Passage:")[1].partition("\n")[0])
    if two := re.findall(r"^Passage [AB]:(.*)$", text, re.MULTILINE):
        return Reply(completion(request, content=f"Passage {'AB'[two.index(min(two))]}"))
    passages = re.findall(r"^\[(\d+)\](.*)$", text, re.MULTILINE)
    best_first = sorted(passages, key=lambda passage: passage[1])
    best_first = best_first[:1] if "Which one" in text else best_first
    return Reply(completion(request, content=" > ".join(f"[{number}]" for number, _ in best_first)))


def likely(request, passage):
    """Yes, with a probability of the passage's own."""
    reply = json.loads(completion(request, content="Yes"))
    odds = sum(map(ord, passage)) % 50 / 10 + 0.1
    top = [{"token": "Yes", "logprob": -0.1}, {"token": "No", "logprob": -odds}]
    reply["choices"][0]["logprobs"] = {"content": [{"token": "Yes", "logprob": -0.1, "top_logprobs": top}]}
    return Reply(json.dumps(reply).encode())


@pytest.fixture(scope="module")
def server():
    with serving(by_content) as running:
        yield running


@pytest.fixture(scope="module")
def build(
    cross_encoder_folder,
    bi_encoder_folder,
    sparse_encoder_folder,
    late_interaction_folder,
    t5_folder,
    decoder_folder,
    rra_gpt_folder,
    server,
):
    """Load a reranker by name on a tiny model of its kind."""
    models = {
        "bm25": None,
        "bi-encoder": bi_encoder_folder,
        "cascade": cross_encoder_folder,
        "cross-encoder": cross_encoder_folder,
        "gpt": decoder_folder,
        "late-interaction": late_interaction_folder,
        "listwise-llm": "judge",
        "pairwise-llm": "judge",
        "pointwise-llm": "judge",
        "setwise-llm": "judge",
        "monobert": cross_encoder_folder,
        "monot5": t5_folder,
        "rra-bert": cross_encoder_folder,
        "rra-gpt": rra_gpt_folder,
        "sparse-encoder": sparse_encoder_folder,
    }

    def load(name, **config):
        if models[name] == "judge":
            config["base_url"] = server.url
        if name == "cascade":
            config |= {"first": "bi-encoder", "first_model": str(bi_encoder_folder), "keep": 3}
        return load_reranker(name, model=str(models[name]) if models[name] else None, device="cpu", **config)

    return load


def ranking(qid, texts):
    pairs = enumerate(texts)
    return Ranking(Query(qid, "why is the cat long"), tuple(Candidate(f"d{i}", text, 9.0 - i) for i, text in pairs))


def scores(rankings):
    return {(r.query.qid, c.docid): c.score for r in rankings for c in r.candidates}


@pytest.mark.parametrize("name", NAMES)
def test_same_documents_come_back_best_first(name, build):
    block = [ranking("1", TEXTS), ranking("2", TEXTS[::-1])]
    ranked = build(name).rerank_block(block)
    assert [r.query for r in ranked] == [r.query for r in block]
    for before, after in zip(block, ranked, strict=True):
        assert {(c.docid, c.text) for c in after.candidates} == {(c.docid, c.text) for c in before.candidates}
        values = [c.score for c in after.candidates]
        assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("name", NAMES)
def test_no_candidate_and_one_candidate(name, build):
    ranked = build(name).rerank_block([ranking("1", []), ranking("2", ["tea"])])
    assert [[c.docid for c in r.candidates] for r in ranked] == [[], ["d0"]]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_do(name, build):
    assert build(name).rerank_block([]) == []


@pytest.mark.parametrize("name", NAMES)
def test_duplicate_texts_keep_their_docids(name, build):
    [ranked] = build(name).rerank_block([ranking("1", ["tea", "mat", "tea"])])
    assert sorted(c.docid for c in ranked.candidates) == ["d0", "d1", "d2"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_scores_do_not_depend_on_batches_or_order(name, batch_size, build):
    expected = scores(build(name).rerank_block([ranking("1", TEXTS)]))
    shuffled = list(ranking("1", TEXTS).candidates)
    random.Random(batch_size).shuffle(shuffled)
    block = [ranking("0", ["why " * 60]), Ranking(Query("1", "why is the cat long"), tuple(shuffled))]
    got = scores(build(name, batch_size=batch_size).rerank_block(block))
    assert all(got[pair] == pytest.approx(score, abs=1e-5) for pair, score in expected.items())


@pytest.mark.parametrize("name", NAMES)
def test_fingerprint_is_stable_and_names_the_settings(name, build):
    assert build(name).fingerprint() == build(name).fingerprint()
    assert build(name).fingerprint() != build(name, max_length=63).fingerprint()


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"bm25", *LLMS}))
def test_a_model_that_is_not_there_is_one_line(name):
    with pytest.raises(RrarankError, match="no-such-model"):
        load_reranker(name, model="no-such-owner/no-such-model")
