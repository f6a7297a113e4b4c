"""What a checkpoint says of itself: limits, labels, padding, templates, prompts and modules."""

import json
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder as Peer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    FNetForSequenceClassification,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from rrarank import RrarankError, load_reranker
from rrarank.rerank.__main__ import main as rerank
from rrarank.rerankers import checkpoints
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.checkpoints import longest_input
from rrarank.rerankers.cross_encoder import CrossEncoder

QUERY = "why is the cat long"
TEXTS = [
    "tea",
    "a long document about cats and dogs " * 20,
    "",
    "the cat sat",
    "how dogs sat",
    "mat " * 20,
    "bread is long",
]
WORDS = "what is a re rank of query document about cats dogs tea bread long short why how the cat dog sat mat".split()
WORDS += ["yes", "no"]
SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
SIZES |= {"max_position_embeddings": 48, "initializer_range": 0.5, "vocab_size": 64}
TEMPLATE = (
    "{% for m in messages %}{% set c = m['content'] %}{{ m['role'] }} : {{ c if c is string else c[0]['text'] }} "
    "{% endfor %}rank :"
)


def make_tokenizer(pair="<s> $A </s> $B", **settings):
    words = ["<s>", "<pad>", "</s>", "<unk>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair=pair, special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    settings = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>"} | settings
    inputs = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **settings)


def make(folder, kind=LlamaForSequenceClassification, tokenizer=None, **settings):
    """A tiny random checkpoint."""
    torch.manual_seed(0)
    kind(kind.config_class(**SIZES | {"num_labels": 1, "pad_token_id": 1} | settings)).save_pretrained(folder)
    (tokenizer or make_tokenizer()).save_pretrained(folder)
    return folder


def ours(folder, **config):
    return CrossEncoder(CrossEncoderConfig(model=str(folder), device="cpu", **config))


def scores(reranker):
    """Of each text in one batch; each alone must score the same."""
    pairs = reranker.encode(QUERY, TEXTS)
    together = reranker.score(pairs)
    assert [float(reranker.score([pair])[0]) for pair in pairs] == pytest.approx(together, abs=1e-4)
    return together


def peers(folder, **settings):
    """CrossEncoder's own, each text alone."""
    peer = Peer(str(folder), device="cpu", local_files_only=True, **settings)
    return [float(peer.predict([(QUERY, text)], activation_fn=torch.nn.Identity())[0]) for text in TEXTS]


@torch.inference_mode()
def plain(folder):
    """transformers' own, each text alone."""
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    cut = {"truncation": "longest_first", "max_length": 48, "return_tensors": "pt"}
    return [float(model(**tokenizer([QUERY], [text], **cut)).logits[0, 0]) for text in TEXTS]


# -- padding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", ["<s> $A </s> $B", "<s> $A </s> $B </s>"], ids=["", "ends with </s>"])
@pytest.mark.parametrize("tokenizers", [None, "<pad>", "</s>", "tea"])
@pytest.mark.parametrize("models", [None, 1, 2, 14, -1, 10_000])
def test_the_token_that_a_decoder_scores_by_is_the_same_in_any_batch(models, tokenizers, pair, tmp_path):
    if models == 10_000:  # beyond the embeddings, as in checkpoints whose tokenizer has grown
        make(tmp_path, tokenizer=make_tokenizer(pair, pad_token=tokenizers))
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(config | {"pad_token_id": 63, "vocab_size": 64}))
    else:
        make(tmp_path, tokenizer=make_tokenizer(pair, pad_token=tokenizers), pad_token_id=models)
    found = scores(ours(tmp_path))
    assert found == pytest.approx(plain(tmp_path), abs=1e-4)
    assert np.ptp(found) > 0.01
    if tokenizers:
        assert found == pytest.approx(peers(tmp_path), abs=1e-4)


def test_a_model_with_neither_padding_nor_end_of_text_is_scored(tmp_path):
    tokenizer = make_tokenizer(pad_token=None, eos_token=None)
    make(tmp_path, tokenizer=tokenizer, pad_token_id=None, eos_token_id=None, bos_token_id=None)
    assert scores(ours(tmp_path)) == pytest.approx(plain(tmp_path), abs=1e-4)


@pytest.mark.parametrize("pad", ["<pad>", "</s>"])
def test_rra_gpt_scores_by_the_same_token(pad, tmp_path):
    make(tmp_path, tokenizer=make_tokenizer("<s> $A </s> $B </s>", pad_token=pad), pad_token_id=2)
    reranker: Any = load_reranker("rra-gpt", model=str(tmp_path), device="cpu")
    pairs = reranker.encode(QUERY, TEXTS)
    assert reranker.score(pairs) == pytest.approx(scores(ours(tmp_path)), abs=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", [RobertaForSequenceClassification, LlamaForSequenceClassification])
def test_the_side_of_the_padding_changes_no_score(kind, side, tmp_path):
    make(tmp_path, kind, make_tokenizer("<s> $A </s> </s> $B </s>", padding_side=side, model_max_length=46))
    assert scores(ours(tmp_path)) == pytest.approx(peers(tmp_path), abs=1e-4)


# -- templates, prompts, modules --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [BertForSequenceClassification, LlamaForSequenceClassification])
def test_a_chat_template_is_applied(kind, tmp_path):
    make(tmp_path / "plain", kind)
    make(tmp_path / "template", kind, make_tokenizer(chat_template=TEMPLATE))
    found = scores(ours(tmp_path / "template"))
    assert found == pytest.approx(peers(tmp_path / "template"), abs=1e-4)
    assert found != pytest.approx(scores(ours(tmp_path / "plain")), abs=1e-2)


@pytest.mark.parametrize("kind", [BertForSequenceClassification, LlamaForSequenceClassification])
def test_a_default_prompt_is_applied(kind, tmp_path):
    make(tmp_path / "plain", kind)
    settings = {"prompts": {"rank": "how long is a dog "}, "default_prompt_name": "rank"}
    Peer(str(tmp_path / "plain"), device="cpu", local_files_only=True, **settings).save_pretrained(
        str(tmp_path / "saved")
    )
    found = scores(ours(tmp_path / "saved"))
    assert found == pytest.approx(peers(tmp_path / "saved"), abs=1e-4)
    assert found != pytest.approx(scores(ours(tmp_path / "plain")), abs=1e-2)


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["plain", "template"])
def test_a_language_model_saved_as_a_cross_encoder_scores_by_its_two_words(template, tmp_path):
    make(tmp_path / "lm", LlamaForCausalLM, make_tokenizer(chat_template=template))
    Peer(str(tmp_path / "lm"), device="cpu", local_files_only=True).save_pretrained(str(tmp_path / "saved"))
    assert scores(ours(tmp_path / "saved")) == pytest.approx(peers(tmp_path / "saved"), abs=1e-4)


def test_modules_with_a_head_of_their_own(tmp_path):
    from sentence_transformers.models import Dense, Pooling, Transformer

    make(tmp_path / "plain", BertForSequenceClassification)
    body = Transformer(str(tmp_path / "plain"))
    head = Dense(32, 1, activation_function=torch.nn.Identity(), module_output_name="scores")
    Peer(modules=[body, Pooling(32, "mean"), head], device="cpu").save_pretrained(str(tmp_path / "saved"))
    assert scores(ours(tmp_path / "saved")) == pytest.approx(peers(tmp_path / "saved"), abs=1e-4)


def test_a_plain_folder_that_cross_encoder_saved_needs_no_sentence_transformers(tmp_path):
    make(tmp_path / "plain", BertForSequenceClassification)
    Peer(str(tmp_path / "plain"), device="cpu", local_files_only=True).save_pretrained(str(tmp_path / "saved"))
    reranker = ours(tmp_path / "saved")
    assert type(reranker.backend).__name__ == "TorchBackend"
    assert scores(reranker) == pytest.approx(peers(tmp_path / "saved"), abs=1e-4)


def test_what_only_sentence_transformers_applies_is_refused_elsewhere(tmp_path):
    make(tmp_path, tokenizer=make_tokenizer(chat_template=TEMPLATE))
    with pytest.raises(RrarankError, match="has a chat template, which onnx cannot run; use --backend torch"):
        ours(tmp_path, backend="onnx")
    with pytest.raises(RrarankError, match="has a chat template; use --reranker cross-encoder"):
        load_reranker("rra-gpt", model=str(tmp_path), device="cpu")


# -- architectures that padding changes, or that cannot score texts ---------------------------------------------------


def test_rows_of_a_model_that_mixes_padding_in_are_not_padded(tmp_path):
    make(tmp_path, FNetForSequenceClassification)
    reranker = ours(tmp_path)
    assert not reranker.backend._forward.side
    assert scores(reranker) == pytest.approx(peers(tmp_path), abs=1e-4)


def test_a_model_that_cannot_score_texts_is_refused(tmp_path):
    make(tmp_path, RobertaForSequenceClassification, pad_token_id=None)
    with pytest.raises(
        RrarankError, match=r"cannot score a pair of texts \(.+\); give another model .--model., or rra-bert"
    ) as error:
        ours(tmp_path)
    assert "\n" not in str(error.value)


def test_scores_that_differ_each_time_are_refused(tmp_path, monkeypatch):
    make(tmp_path)
    monkeypatch.setattr(LlamaForSequenceClassification, "eval", LlamaForSequenceClassification.train)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.5}))
    with pytest.raises(RrarankError, match="scores the same pair differently each time"):
        ours(tmp_path)


def test_positions_that_we_do_not_know_of_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "_POSITIONS_AFTER_PAD", set())
    make(tmp_path, RobertaForSequenceClassification)
    with pytest.raises(RrarankError, match="cannot read an input of 48 tokens; give max_length 24"):
        scores(ours(tmp_path))
    assert np.isfinite(scores(ours(tmp_path, max_length=24))).all()


# -- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "relevant"),
    [
        (("LABEL_0", "LABEL_1"), 1),
        (("irrelevant", "relevant"), 1),
        (("relevant", "not relevant"), 0),
        (("entailment", "not_entailment"), 0),
        (("not_entailment", "entailment"), 1),
        (("duplicate", "not_duplicate"), 0),
        (("yes", "no"), 0),
        (("False", "True"), 1),
        (("contradiction", "ENTAILMENT"), 1),
    ],
)
def test_the_names_of_two_labels_tell_which_means_relevant(names, relevant, tmp_path):
    make(tmp_path, BertForSequenceClassification, num_labels=2, id2label=dict(enumerate(names)))
    reranker = ours(tmp_path)
    pairs = reranker.encode(QUERY, TEXTS)
    logits = reranker.backend.logits(pairs)
    assert reranker.score(pairs) == pytest.approx(logits[:, relevant] - logits[:, 1 - relevant])


def test_names_that_do_not_tell_are_refused_and_the_remedy_holds(tmp_path):
    make(tmp_path, BertForSequenceClassification, num_labels=2, id2label={0: "red", 1: "green"})
    with pytest.raises(RrarankError, match="'red' and 'green'; say which one .* by --option relevant=green"):
        ours(tmp_path)
    assert scores(ours(tmp_path, relevant="red")) == pytest.approx(-scores(ours(tmp_path, relevant="green")))
    with pytest.raises(RrarankError, match="no label 'gren'; did you mean 'green'"):
        ours(tmp_path, relevant="gren")


# -- limits -----------------------------------------------------------------------------------------------------------


def test_positions_that_begin_after_the_padding_are_counted(tmp_path):
    assert longest_input(make_tokenizer(), BertConfig(max_position_embeddings=48)) == 48
    assert longest_input(make_tokenizer(), RobertaConfig(max_position_embeddings=48)) == 46
    assert longest_input(make_tokenizer(model_max_length=32), RobertaConfig(max_position_embeddings=48)) == 32


@pytest.mark.parametrize(
    "kind", [BertForSequenceClassification, RobertaForSequenceClassification, LlamaForSequenceClassification]
)
def test_more_than_the_models_positions_is_capped_and_said_once(kind, tmp_path, caplog):
    caplog.set_level("INFO", "rrarank")
    make(tmp_path, kind)
    expected = scores(ours(tmp_path))
    assert not caplog.text
    reranker = ours(tmp_path, max_length=1024)
    assert scores(reranker) == pytest.approx(expected)
    err = caplog.text
    most = 46 if kind is RobertaForSequenceClassification else 48
    assert err.count(f"max_length 1024 is more than the model's {most} positions; inputs are cut to {most} tokens") == 1


@pytest.mark.parametrize("max_length", [1, 2, 3])
def test_less_than_the_special_tokens_and_two_is_refused_and_the_remedy_holds(max_length, tmp_path):
    make(tmp_path)
    with pytest.raises(RrarankError, match=f"max_length is {max_length}: .* 2 tokens; give 4 or more"):
        ours(tmp_path, max_length=max_length)
    assert np.isfinite(scores(ours(tmp_path, max_length=4))).all()


def test_gpt_on_a_model_with_few_positions(decoder_folder, tmp_path, caplog):
    caplog.set_level("INFO", "rrarank")
    folder = shutil.copytree(decoder_folder, tmp_path / "few")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 64}))
    reranker: Any = load_reranker("gpt", model=str(folder), device="cpu")
    assert max(len(row["input_ids"]) for row in reranker.encode("why cats", ["tea " * 500])) == 64
    assert "max_length 512 is more than the model's 64 positions" in caplog.text


def test_a_bi_encoder_is_capped_too(bi_encoder_folder, caplog):
    caplog.set_level("INFO", "rrarank")
    reranker: Any = load_reranker("bi-encoder", model=str(bi_encoder_folder), device="cpu", max_length=1024)
    assert "max_length 1024 is more than the model's 64 positions" in caplog.text
    assert np.isfinite(reranker.embed_documents(["tea " * 500])).all()
    with pytest.raises(RrarankError, match="max_length is 3: a text has 2 special tokens; give 4 or more"):
        load_reranker("bi-encoder", model=str(bi_encoder_folder), device="cpu", max_length=3)


def test_texts_that_were_cut_are_counted(tmp_path):
    make(tmp_path)
    reranker = ours(tmp_path)
    reranker.encode(QUERY, TEXTS)
    assert reranker.encode_pairs.cut == 1
    make(tmp_path, tokenizer=make_tokenizer(chat_template=TEMPLATE))
    reranker = ours(tmp_path)
    before = reranker.encode_pairs.cut
    reranker.encode(QUERY, TEXTS)
    assert reranker.encode_pairs.cut - before == 1


def test_a_job_says_how_many_texts_were_cut(make_job, capsys):
    flags = make_job(1)  # five texts, of one to five words and one more
    assert rerank([*flags, "--output", "whole.trec"]) == 0
    assert " cut " not in capsys.readouterr().err
    assert rerank([*flags, "--output", "cut.trec", "--max-length", "13"]) == 0
    assert "0 without text, " in (err := capsys.readouterr().err)
    assert " cut at the maximum length" in err
