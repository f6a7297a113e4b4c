"""GPT (vanilla) against transformers called plainly, one whole prompt at a time."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rrarank.errors import RrarankError
from rrarank.rerankers.gpt import GPT, GPTConfig

QUERY = "why is the cat long"
TEXTS = ["the cat sat", "tea and bread", "a long document about cats dogs tea " * 4, "mat"]


def gpt(folder, **config):
    return GPT(GPTConfig(model=str(folder), device="cpu", **config))


def plain(folder, text):
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = tokenizer(GPTConfig.prompt.format(query=QUERY, document=text), return_tensors="pt")
    with torch.inference_mode():
        chances = model(input_ids=ids["input_ids"]).logits[0, -1].log_softmax(0)
    [yes], [no] = (tokenizer(answer)["input_ids"] for answer in (" Yes", " No"))
    return float(chances[yes] - chances[no])


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_log_odds_of_yes_whatever_the_batch(decoder_folder, batch_size):
    reranker = gpt(decoder_folder, batch_size=batch_size)
    scores = reranker.score_all(reranker.encode(QUERY, TEXTS))
    assert scores == pytest.approx([plain(decoder_folder, text) for text in TEXTS], abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"yes": " certainly"}, r"splits ' certainly' into \d+ tokens, expected one"),
        ({"prompt": "Passage: {document}"}, "expected {query} and then {document}"),
        ({"prompt": "{query}\nPassage: {document}"}, "with a space before both or neither"),
    ],
)
def test_odd_settings_are_one_line(decoder_folder, settings, said):
    with pytest.raises(RrarankError, match=said):
        gpt(decoder_folder, **settings)


def test_it_has_no_model_of_its_own():
    with pytest.raises(RrarankError, match="gpt: no model; give model"):
        GPT()


def test_a_special_token_that_a_text_spells_is_none(decoder_folder, check_spelt_tokens):
    check_spelt_tokens(gpt(decoder_folder))


def test_an_encoder_is_refused_with_the_reranker_that_it_is_for(cross_encoder_folder):
    with pytest.raises(RrarankError, match="not a causal language model, .* --reranker cross-encoder"):
        gpt(cross_encoder_folder)


def test_a_decoder_without_its_language_head_is_refused(decoder_folder, tmp_path):
    """transformers would draw one at random."""
    folder = shutil.copytree(decoder_folder, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    save_file({key: value for key, value in weights.items() if key != "lm_head.weight"}, folder / "model.safetensors")
    with pytest.raises(RrarankError, match="its checkpoint lacks 'lm_head.weight'; copy it again"):
        gpt(folder)
