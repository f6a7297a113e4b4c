"""MonoT5 against transformers called plainly, one whole text at a time."""

import pytest
import torch
from transformers import AutoTokenizer, T5ForConditionalGeneration

from rrarank.errors import RrarankError
from rrarank.rerankers.monot5 import MonoT5, MonoT5Config

QUERY = "why is the cat long"
TEXTS = ["the cat sat", "tea and bread", "a long document about cats dogs tea " * 4, "mat"]


def monot5(folder, **config):
    return MonoT5(MonoT5Config(model=str(folder), device="cpu", **config))


def plain(folder, text):
    tokenizer, model = AutoTokenizer.from_pretrained(folder), T5ForConditionalGeneration.from_pretrained(folder).eval()
    ids = tokenizer(f"Query: {QUERY} Document: {text} Relevant:", return_tensors="pt")
    with torch.inference_mode():
        logits = model(**ids, decoder_input_ids=torch.tensor([[model.config.decoder_start_token_id]])).logits[0, 0]
    no, yes = (logits[tokenizer.convert_tokens_to_ids(token)] for token in ("▁false", "▁true"))
    return float(torch.log_softmax(torch.stack([no, yes]), 0)[1])


def test_log_p_of_true_where_only_true_and_false_can_be_said(t5_folder):
    reranker = monot5(t5_folder)
    scores = reranker.score(reranker.encode(QUERY, TEXTS))
    assert scores == pytest.approx([plain(t5_folder, text) for text in TEXTS], abs=2e-5)
    assert len({round(float(score), 4) for score in scores}) == len(TEXTS)


def test_the_document_is_cut_and_never_the_prompt(t5_folder):
    reranker = monot5(t5_folder, max_length=24)
    tokenizer = AutoTokenizer.from_pretrained(t5_folder)
    [row] = reranker.encode(QUERY, [TEXTS[2]])
    assert len(row["input_ids"]) == 24
    assert tokenizer.convert_ids_to_tokens(row["input_ids"])[-3:] == ["▁Relevant", ":", "</s>"]


def test_a_prompt_that_leaves_no_room_is_one_line(t5_folder):
    with pytest.raises(RrarankError, match="max_length is 6: the prompt alone has 7 tokens; give 9 or"):
        monot5(t5_folder, max_length=6)
    assert monot5(t5_folder, max_length=9).encode(QUERY, TEXTS)


def test_other_answers_must_be_known(t5_folder):
    with pytest.raises(RrarankError, match="no token 'ja'; give others by --option yes"):
        monot5(t5_folder, yes="ja")


def test_a_special_token_that_a_text_spells_is_none(t5_folder, check_spelt_tokens):
    check_spelt_tokens(monot5(t5_folder))
