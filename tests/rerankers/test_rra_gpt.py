"""RRA-GPT against transformers and sentence-transformers called plainly, on a student made here."""

import json

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder as PeerCrossEncoder
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from rrarank.data.types import Candidate, Query, Ranking
from rrarank.errors import RrarankError
from rrarank.rerankers.rra_gpt import RRAGPT, RRAGPTConfig

QUERY = "why is the cat long"
TEXTS = ["the cat sat", "tea and bread 12", "a long document about cats dogs tea " * 4, "mat", ""]


@pytest.fixture(scope="module")
def folder(rra_gpt_folder):
    return rra_gpt_folder


@pytest.fixture(scope="module")
def expected(folder):
    """The dense layer on the last hidden state of each prompt, written out and read whole."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = [
            model.model(**tokenizer([QUERY], [text], return_tensors="pt")).last_hidden_state[0, -1] for text in TEXTS
        ]
        return [float(model.score(state)) for state in states]


def rra_gpt(folder, **config):
    return RRAGPT(RRAGPTConfig(model=str(folder), device="cpu", **config))


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_a_dense_layer_on_the_prompts_last_token(folder, expected, batch_size, share):
    reranker = rra_gpt(folder, batch_size=batch_size, share=share)
    assert reranker.score_all(reranker.encode(QUERY, TEXTS)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_no_score(folder, expected, side):
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side=side)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    rows = tokenizer([QUERY] * len(TEXTS), TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        assert model(**rows).logits[:, 0].tolist() == pytest.approx(expected, abs=1e-4)


def test_sentence_transformers_scores_the_same(folder, expected):
    found = PeerCrossEncoder(str(folder), device="cpu").predict([(QUERY, text) for text in TEXTS])
    assert np.asarray(found).tolist() == pytest.approx(expected, abs=1e-4)


def test_one_batch_may_hold_several_queries(folder, expected):
    reranker = rra_gpt(folder)
    other = reranker.encode("what is tea", ["tea"])
    found = reranker.score([*reranker.encode(QUERY, TEXTS), *other])
    assert found[:-1].tolist() == pytest.approx(expected, abs=1e-4)
    assert found[-1:].tolist() == pytest.approx(rra_gpt(folder, share=False).score(other).tolist(), abs=1e-4)


def test_a_query_goes_through_the_model_once(folder):
    reranker = rra_gpt(folder, batch_size=2)
    seen = []
    reranker.model.base_model.register_forward_pre_hook(
        lambda _, __, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    rows = reranker.encode(QUERY, TEXTS)
    reranker.score_all(rows)
    assert seen[0] == (1, int(rows[0]["shared"][0]))
    assert len(seen) == 1 + 3  # the beginning, and three batches of at most two


def test_a_query_that_was_cut_has_a_beginning_of_its_own(folder):
    whole, shared = (rra_gpt(folder, max_length=60, share=share) for share in (False, True))
    texts = ["tea " * 90, "tea", "cat " * 30]
    query = "why is the cat long " * 9
    rows = shared.encode(query, texts)
    assert len({int(row["shared"][0]) for row in rows}) > 1
    assert shared.score_all(rows) == pytest.approx(whole.score_all(whole.encode(query, texts)), abs=1e-4)


def test_it_says_why_as_the_language_model_would_go_on(folder, decoder_folder):
    tokenizer, plain = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(decoder_folder)
    ids = tokenizer(QUERY, TEXTS[0], return_tensors="pt")
    wanted = plain.half().float().generate(**ids, max_new_tokens=5, do_sample=False)[0, ids["input_ids"].shape[1] :]
    [found] = rra_gpt(folder, reason_tokens=5).explain(QUERY, TEXTS[:1])
    assert found == tokenizer.decode(wanted, skip_special_tokens=True).strip()
    assert found


def test_one_without_reasons_does_not_explain(folder, tmp_path):
    silent = tmp_path / "silent"
    silent.mkdir()
    for path in folder.iterdir():
        (silent / path.name).write_bytes(path.read_bytes())
    config = json.loads((silent / "config.json").read_text())
    config["rrarank"]["recipe"]["reasoning"]["reasons"] = 0
    (silent / "config.json").write_text(json.dumps(config))
    with pytest.raises(RrarankError, match="was trained without reasons"):
        list(rra_gpt(silent).explain(QUERY, TEXTS))
    config["rrarank"]["recipe"]["reasoning"]["reasons"] = 0.5
    (silent / "config.json").write_text(json.dumps(config))
    (silent / "language_head.safetensors").unlink()
    with pytest.raises(RrarankError, match="has no language_head"):
        list(rra_gpt(silent).explain(QUERY, TEXTS))


def test_other_models_are_refused(cross_encoder_folder):
    with pytest.raises(RrarankError, match="expected a decoder with one"):
        rra_gpt(cross_encoder_folder)
    with pytest.raises(RrarankError, match="rra-gpt: no model; give model"):
        RRAGPT()


def test_equal_texts_get_equal_scores_in_a_block(folder):
    candidates = tuple(Candidate(str(i), text, -float(i)) for i, text in enumerate([*TEXTS, *TEXTS]))
    [ranked] = rra_gpt(folder).rerank_block([Ranking(Query("1", QUERY), candidates)])
    scores = {c.docid: c.score for c in ranked.candidates}
    assert all(scores[str(i)] == scores[str(i + len(TEXTS))] for i in range(len(TEXTS)))


def test_a_special_token_that_a_text_spells_is_none(folder, check_spelt_tokens):
    check_spelt_tokens(rra_gpt(folder))
