"""Late interaction against sentence-transformers' own similarity, and against the formula in plain transformers."""

import json
import shutil

import pytest
import torch
from hub_folders import (  # type: ignore[import-not-found]  # pytest finds it beside this file's folder
    CHATML,
    LENGTHS,
    MARKS,
    STANFORD_MARKS,
    pylate_folder,
    qwen_tokenizer,
    stanford_folder,
)
from safetensors.torch import load_file
from sentence_transformers import MultiVectorEncoder
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer

from rrarank import Candidate, Query, Ranking, RrarankError, load_reranker
from rrarank.rerankers.late_interaction import max_sim

TEXTS = ["the cat sat.", "tea", "a document about dogs " * 30, "", "mat mat", "how long is the bread", "why cats"]
QUERIES = ["why cats", "how long is the tea, the bread and the mat of the cat?", ""]


def scores(folder, query, **config):
    reranker = load_reranker("late-interaction", model=str(folder), device="cpu", **config)
    candidates = tuple(Candidate(f"d{i}", text, 0.0) for i, text in enumerate(TEXTS))
    [ranked] = reranker.rerank_block([Ranking(Query("1", query), candidates)])
    found = {candidate.docid: candidate.score for candidate in ranked.candidates}
    return [found[f"d{i}"] for i in range(len(TEXTS))]


@pytest.fixture(scope="module")
def pylate(tmp_path_factory, tokenizer, tiny_bert):
    return pylate_folder(tmp_path_factory.mktemp("pylate"), tokenizer, tiny_bert)


@pytest.fixture(scope="module")
def old_pylate(tmp_path_factory, tokenizer, tiny_bert):
    return pylate_folder(tmp_path_factory.mktemp("old-pylate"), tokenizer, tiny_bert, old=True)


@pytest.fixture(scope="module")
def stanford(tmp_path_factory, tokenizer, tiny_bert):
    return stanford_folder(tmp_path_factory.mktemp("stanford"), tokenizer, tiny_bert)


@torch.inference_mode()
def by_formula(folder, query):
    """ColBERT: a mark behind [CLS], queries filled up with [MASK], words of the skip list left out."""
    is_pylate = (folder / "1_Dense").exists()
    marks, skipped_words = (MARKS, ["mat"]) if is_pylate else (STANFORD_MARKS, [])
    tokenizer, body = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    head = load_file((folder / "1_Dense" if is_pylate else folder) / "model.safetensors")["linear.weight"]
    skipped = tokenizer.convert_tokens_to_ids(skipped_words)

    def vectors(ids, seen):
        inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.tensor([seen])}
        return normalize(body(**inputs).last_hidden_state[0] @ head.T, dim=-1)

    def marked(text, side):
        ids = tokenizer(text, truncation=True, max_length=LENGTHS[side] - 1)["input_ids"]
        return [ids[0], tokenizer.convert_tokens_to_ids(marks[side]), *ids[1:]]

    ids = marked(query, "query")
    fill = LENGTHS["query"] - len(ids)
    asked = vectors(ids + [tokenizer.mask_token_id] * fill, [1] * len(ids) + [0] * fill)
    for text in TEXTS:
        ids = marked(text, "document")
        kept = [place for place, number in enumerate(ids) if number not in skipped]
        yield float((asked @ vectors(ids, [1] * len(ids))[kept].T).amax(1).sum())


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_scores_are_the_models_own_similarity(batch_size, late_interaction_folder, pylate, old_pylate, stanford):
    for folder in (late_interaction_folder, pylate, old_pylate, stanford):
        model = MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)
        documents = model.encode_document(TEXTS)
        for query in QUERIES:
            expected = model.similarity([model.encode_query(query)], documents)[0].tolist()
            assert scores(folder, query, batch_size=batch_size) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("query", QUERIES)
def test_other_libraries_formats_are_scored_by_colberts_formula(query, pylate, old_pylate, stanford):
    for folder in (pylate, old_pylate, stanford):
        expected = list(by_formula(folder, query))
        assert scores(folder, query) == pytest.approx(expected, abs=1e-4)
        assert max(expected) - min(expected) > 1e-2


def test_a_cache_changes_no_score_and_is_read_by_the_next_job(pylate, tmp_path, monkeypatch):
    plain = scores(pylate, QUERIES[0])
    assert scores(pylate, QUERIES[0], cache=str(tmp_path)) == pytest.approx(plain, abs=1e-5)
    monkeypatch.setattr(MultiVectorEncoder, "encode_document", lambda *given, **named: pytest.fail("encoded again"))
    assert scores(pylate, QUERIES[0], cache=str(tmp_path)) == pytest.approx(plain, abs=1e-5)


def test_prompts_take_the_place_of_the_models_own(pylate):
    model = MultiVectorEncoder(str(pylate), device="cpu", local_files_only=True)
    asked, documents = (
        model.encode_query(["why cats"], prompt="the "),
        model.encode_document(TEXTS, prompt="a dog "),
    )
    expected = model.similarity(asked, documents)[0].tolist()
    assert scores(pylate, "why cats", query_prompt="the ", document_prompt="a dog ") == pytest.approx(
        expected, abs=1e-4
    )


def test_documents_are_never_longer_than_the_models_positions(pylate, tmp_path, caplog):
    cut = scores(pylate, "why cats", max_length=64)
    with caplog.at_level("INFO", "rrarank"):
        assert scores(pylate, "why cats", max_length=100_000) == pytest.approx(cut)
    assert "max_length 100000 is more than the model's 64 positions" in caplog.text
    folder = shutil.copytree(pylate, tmp_path / "long")
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings | {"document_length": 300}))
    assert scores(folder, "why cats") == pytest.approx(cut)
    with pytest.raises(RrarankError, match="max_length is 1: a text has 3 special tokens; give 4 or more"):
        load_reranker("late-interaction", model=str(pylate), max_length=1)


def test_one_product_serves_documents_of_any_length():
    torch.manual_seed(0)
    query, documents = torch.randn(5, 8), [torch.randn(length, 8) for length in (3, 0, 1, 9)]
    found = max_sim(query, torch.cat(documents), [len(one) for one in documents])
    expected = [float((query @ one.T).amax(1).sum()) if len(one) else 0.0 for one in documents]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_a_tokenizer_whose_texts_begin_with_no_special_token_is_refused(tmp_path, pylate):
    """PyLate puts its mark behind the first token; there, that would be the first word."""
    folder = tmp_path / "no-first-token"
    shutil.copytree(pylate, folder)
    qwen_tokenizer(CHATML).save_pretrained(folder)
    with pytest.raises(RrarankError, match="begins a text with no special token, so PyLate puts its mark"):
        load_reranker("late-interaction", model=str(folder))


def test_other_models_are_refused(bi_encoder_folder, cross_encoder_folder):
    with pytest.raises(RrarankError, match="use an embedding model with --reranker bi-encoder"):
        load_reranker("late-interaction", model=str(bi_encoder_folder))
    with pytest.raises(RrarankError, match="its files name .*BertForSequenceClassification"):
        load_reranker("late-interaction", model=str(cross_encoder_folder))
    with pytest.raises(RrarankError, match="no model; give model"):
        load_reranker("late-interaction")
