import json
import shutil
from collections import Counter

import pytest
import torch
from sentence_transformers import SparseEncoder

from rrarank import Candidate, Query, Ranking, RrarankError, load_reranker
from rrarank.data.types import Hit, Run
from rrarank.engine.blocks import RerankConfig, rerank_queries

TEXTS = ["the cat sat", "tea", "a document about dogs " * 30, ""]


def ranking(query, texts=TEXTS):
    return Ranking(Query("1", query), tuple(Candidate(f"d{i}", text, 0.0) for i, text in enumerate(texts)))


def scores(folder, queries, **config):
    reranker = load_reranker("sparse-encoder", model=str(folder), device="cpu", **config)
    ranked = reranker.rerank_block([ranking(query) for query in queries])
    return [{c.docid: c.score for c in one.candidates} for one in ranked]


@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
def test_scores_are_the_models_own_similarity(activation, sparse_encoder_folder, tmp_path):
    folder = shutil.copytree(sparse_encoder_folder, tmp_path / "model")
    [pooling] = folder.glob("*/config.json")
    settings = json.loads(pooling.read_text())
    pooling.write_text(json.dumps(settings | {"activation_function": activation}))
    model = SparseEncoder(str(folder), device="cpu")
    queries = ["why cats", "how long is the tea"]
    for query, found in zip(queries, scores(folder, queries), strict=True):
        expected = model.similarity(model.encode_query(query), model.encode_document(TEXTS))[0]
        assert [found[f"d{i}"] for i in range(len(TEXTS))] == pytest.approx(expected.tolist(), abs=1e-4, rel=1e-5)


def test_a_plain_masked_language_model_is_taken_as_splade(sparse_encoder_folder, tmp_path):
    folder = shutil.copytree(sparse_encoder_folder, tmp_path / "model")
    (folder / "modules.json").unlink()
    assert scores(folder, ["why cats"]) == scores(sparse_encoder_folder, ["why cats"])


def test_models_that_are_not_bert_run_as_transformers_has_them(tokenizer, tmp_path):
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    torch.manual_seed(0)
    sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 64}
    config = DistilBertConfig(vocab_size=len(tokenizer), initializer_range=0.5, **sizes)
    model = DistilBertForMaskedLM(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)

    @torch.inference_mode()
    def weights(text):
        rows = tokenizer(text, truncation=True, return_tensors="pt")
        return torch.log1p(torch.relu(model(rows["input_ids"]).logits[0].amax(0)))

    [found] = scores(tmp_path, ["why cats"])
    expected = [float(weights("why cats") @ weights(text)) for text in TEXTS]
    assert [found[f"d{i}"] for i in range(len(TEXTS))] == pytest.approx(expected, rel=1e-4)


def test_half_precision_is_near(sparse_encoder_folder):
    [exact], [half] = (scores(sparse_encoder_folder, ["why cats"], precision=name) for name in ("fp32", "bf16"))
    assert half != exact
    assert half == pytest.approx(exact, rel=0.05)


def test_texts_that_are_too_long_are_counted(sparse_encoder_folder):
    reranker = load_reranker("sparse-encoder", model=str(sparse_encoder_folder), device="cpu")
    reranker.rerank_block([ranking("why cats")])
    assert reranker.cut == 1


def test_a_job_with_a_cache_counts_texts_that_are_too_long_and_refuses_a_budget(sparse_encoder_folder, tmp_path):
    settings = {"model": str(sparse_encoder_folder), "device": "cpu", "cache": str(tmp_path)}
    reranker, counts = load_reranker("sparse-encoder", **settings), Counter[str]()
    topics, texts = {"1": "why cats"}, {f"d{i}": text for i, text in enumerate(TEXTS)}
    run = Run({"1": [Hit(docid, 0.0) for docid in texts]})
    ranked = dict(rerank_queries(run, reranker, topics=topics, texts=texts, counts=counts))
    assert len(ranked["1"]) == len(TEXTS)
    assert counts["cut"] == 1
    config = RerankConfig(budget_ms=10)
    with pytest.raises(RrarankError, match=r"budget_ms .*the time of sparse-encoder with a cache depends on"):
        dict(rerank_queries(run, reranker, topics=topics, texts=texts, config=config))


def test_an_embedding_model_is_refused(bi_encoder_folder, cross_encoder_folder):
    with pytest.raises(RrarankError, match=r"a model of Transformer, Pooling.*; expected SPLADE"):
        load_reranker("sparse-encoder", model=str(bi_encoder_folder))
    with pytest.raises(RrarankError, match=r"not a sparse encoder, its checkpoint lacks 'cls\.predictions"):
        load_reranker("sparse-encoder", model=str(cross_encoder_folder))


def test_a_cache_changes_no_score_and_is_read_by_the_next_job(sparse_encoder_folder, tmp_path, monkeypatch):
    queries = ["why cats", "how long is the tea", ""]
    plain = scores(sparse_encoder_folder, queries)
    for batch_size in (1, 7, 32):
        cache = str(tmp_path / str(batch_size))
        for found in (scores(sparse_encoder_folder, queries, cache=cache, batch_size=batch_size) for _ in range(2)):
            for ours, theirs in zip(found, plain, strict=True):
                assert ours == pytest.approx(theirs, abs=1e-4, rel=1e-5)
    encoded = load_reranker("sparse-encoder", model=str(sparse_encoder_folder), device="cpu", cache=cache)
    monkeypatch.setattr(encoded, "_all_weights", lambda texts: pytest.fail("encoded again"))
    assert len(encoded.rerank_block([ranking("tea")])[0].candidates) == len(TEXTS)


def test_prompts_are_put_before_the_texts(sparse_encoder_folder):
    [found] = scores(sparse_encoder_folder, ["cats"], query_prompt="why ", document_prompt="a ")
    reranker = load_reranker("sparse-encoder", model=str(sparse_encoder_folder), device="cpu")
    [ranked] = reranker.rerank_block([ranking("why cats", [f"a {text}" for text in TEXTS])])
    assert found == pytest.approx({c.docid: c.score for c in ranked.candidates}, abs=1e-5)
