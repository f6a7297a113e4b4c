"""A decoder that a prompt asks: before it has learned anything, it scores as the reranker `gpt` does."""

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder as PeerCrossEncoder

from rrarank.errors import RrarankError
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.cross_encoder import CrossEncoder
from rrarank.rerankers.gpt import GPT, GPTConfig
from rrarank.train.prompted import PromptConfig, prompted
from rrarank.train.saved_model import save_model

QUERY = "why is the cat long"
TEXTS = ["the cat sat", "tea and bread 12", "a long document about cats dogs tea " * 4, "mat"]


@pytest.fixture(scope="module")
def student(decoder_folder, tmp_path_factory):
    tokenizer, base, _ = prompted(decoder_folder, "decoder", PromptConfig())
    base.config.pad_token_id = tokenizer.pad_token_id
    folder = tmp_path_factory.mktemp("student") / "model"
    save_model(base, tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def vanilla(decoder_folder):
    reranker = GPT(GPTConfig(model=str(decoder_folder), device="cpu"))
    return reranker.score_all(reranker.encode(QUERY, TEXTS))


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_a_plain_cross_encoder_scores_as_gpt_does(student, vanilla, batch_size):
    reranker = CrossEncoder(CrossEncoderConfig(model=str(student), device="cpu", batch_size=batch_size))
    assert reranker.score_all(reranker.encode(QUERY, TEXTS)) == pytest.approx(vanilla, abs=0.02)  # weights in half


def test_sentence_transformers_scores_the_same(student):
    ours = CrossEncoder(CrossEncoderConfig(model=str(student), device="cpu"))
    theirs = PeerCrossEncoder(str(student), device="cpu").predict([(QUERY, text) for text in TEXTS])
    assert ours.score_all(ours.encode(QUERY, TEXTS)) == pytest.approx(np.asarray(theirs).tolist(), abs=1e-4)


def test_the_document_is_cut_and_never_the_prompt(student, decoder_folder):
    plain = GPT(GPTConfig(model=str(decoder_folder), device="cpu", max_length=70))
    ours = CrossEncoder(CrossEncoderConfig(model=str(student), device="cpu", max_length=70))
    [wanted], [found] = (reranker.encode(QUERY, [TEXTS[2]]) for reranker in (plain, ours))
    assert len(found["input_ids"]) == 70
    assert list(found["input_ids"]) == list(wanted["input_ids"])


def test_without_spaces_after_the_labels(decoder_folder, tmp_path):
    config = PromptConfig(text="{query}\n{document}\nYes or No?")
    tokenizer, _, _ = prompted(decoder_folder, "decoder", config)
    plain = GPT(GPTConfig(model=str(decoder_folder), device="cpu", prompt=config.text))
    [wanted] = plain.encode(QUERY, TEXTS[:1])
    assert tokenizer(QUERY, TEXTS[0])["input_ids"] == list(wanted["input_ids"])


def test_another_kind_of_model_is_refused(cross_encoder_folder):
    with pytest.raises((RrarankError, ValueError)), torch.no_grad():
        prompted(cross_encoder_folder, "bert", PromptConfig())
