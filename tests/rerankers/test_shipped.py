"""The student that ships: the default reranker, whole in the package."""

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
import torch
from safetensors import safe_open
from sentence_transformers import CrossEncoder as PeerCrossEncoder
from transformers import AutoModelForSequenceClassification

from rrarank import load_reranker
from rrarank.rerankers.cross_encoder import RRABERT, RRABERTConfig
from rrarank.sources.sample import sample_rankings
from rrarank.sources.texts import load_qrels

FOLDER = Path(str(resources.files("rrarank.prebuilt"))) / "rra-bert-mini"


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
    assert "TREC Deep Learning" in (FOLDER / "README.md").read_text()
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
