import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder as PeerCrossEncoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertModel

from rrarank import RrarankError
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.cross_encoder import CrossEncoder

QUERY = "why is the cat long"
TEXTS = ["the cat sat", "tea", "a document about dogs " * 30]


def our_scores(folder, **config):
    reranker = CrossEncoder(CrossEncoderConfig(model=str(folder), device="cpu", **config))
    return reranker.score(reranker.encode(QUERY, TEXTS))


def plain_logits(folder, max_length=64):
    """(texts, labels), one unpadded pair at a time, straight from transformers."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        rows = [
            model(**tokenizer(QUERY, text, truncation=True, max_length=max_length, return_tensors="pt")).logits[0]
            for text in TEXTS
        ]
    return torch.stack(rows).numpy()


def test_one_label_is_its_logit(cross_encoder_folder):
    assert our_scores(cross_encoder_folder) == pytest.approx(plain_logits(cross_encoder_folder)[:, 0], abs=1e-5)


def test_two_labels_are_the_log_odds(make_cross_encoder):
    folder = make_cross_encoder(2)
    logits = plain_logits(folder)
    assert our_scores(folder) == pytest.approx(logits[:, 1] - logits[:, 0], abs=1e-5)


def test_more_labels_are_an_error(make_cross_encoder):
    with pytest.raises(RrarankError, match="3 labels, expected 1"):
        our_scores(make_cross_encoder(3))


def test_equal_to_sentence_transformers_raw_scores(cross_encoder_folder):
    peer = PeerCrossEncoder(str(cross_encoder_folder), device="cpu", activation_fn=torch.nn.Identity())
    peer_scores = peer.predict([(QUERY, text) for text in TEXTS])
    assert our_scores(cross_encoder_folder) == pytest.approx(np.asarray(peer_scores), abs=1e-5)


def test_max_length_truncates_the_longer_of_the_two(cross_encoder_folder):
    ours = our_scores(cross_encoder_folder, max_length=16)
    assert ours == pytest.approx(plain_logits(cross_encoder_folder, max_length=16)[:, 0], abs=1e-5)


def test_a_fresh_head_is_an_error_and_never_a_random_ranking(tmp_path, tokenizer, tiny_bert):
    BertModel(tiny_bert).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(RrarankError, match=r"not a trained reranker.*classifier.*bi-encoder"):
        our_scores(tmp_path)


def test_pickled_weights_are_loaded_only_when_asked_for(tmp_path, cross_encoder_folder):
    shutil.copytree(cross_encoder_folder, tmp_path, dirs_exist_ok=True)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(RrarankError, match=r"has no weights \(\*.safetensors\); pickled .* without allow_pickle"):
        our_scores(tmp_path)
    assert our_scores(tmp_path, allow_pickle=True).tolist() == our_scores(cross_encoder_folder).tolist()


def test_without_its_tokenizer_every_word_would_be_unknown_so_it_is_an_error(tmp_path, cross_encoder_folder):
    left_out = shutil.ignore_patterns("tokenizer*", "vocab*", "special*")
    folder = shutil.copytree(cross_encoder_folder, tmp_path / "model", ignore=left_out)
    with pytest.raises(RrarankError, match="has no tokenizer"):
        our_scores(folder)


def test_cut_weights_are_one_line(tmp_path, cross_encoder_folder):
    folder = shutil.copytree(cross_encoder_folder, tmp_path / "model")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(RrarankError, match=r"the model cannot be loaded \(.*is the folder whole"):
        our_scores(folder)


@pytest.mark.parametrize(("device", "code"), [("foo", 2), ("cuda:99", 3)])
def test_a_device_that_is_not_there_is_one_line(device, code, cross_encoder_folder):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(RrarankError, match=f"^device .--device. .?{device}") as error:
        CrossEncoder(CrossEncoderConfig(model=str(cross_encoder_folder), device=device))
    assert error.value.exit_code == code


def test_without_a_model_it_says_which_flag():
    with pytest.raises(RrarankError, match="give model"):
        CrossEncoder()


def test_a_decoder_scores_alike_padded_and_alone(tmp_path, tokenizer):
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), num_labels=1, initializer_range=0.5, pad_token_id=None, **size)
    LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    reranker = CrossEncoder(CrossEncoderConfig(model=str(tmp_path), device="cpu"))
    pairs = reranker.encode(QUERY, TEXTS)
    alone = [float(reranker.score([pair])[0]) for pair in pairs]
    assert reranker.score(pairs) == pytest.approx(alone, abs=1e-5)
    assert len({round(score, 3) for score in alone}) == len(TEXTS)


@pytest.mark.parametrize("shards", [False, True])
def test_checkpoints_that_only_transformers_can_read_score_alike(shards, tmp_path, cross_encoder_folder):
    folder = shutil.copytree(cross_encoder_folder, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    if shards:
        (folder / "model.safetensors").unlink()
        AutoModelForSequenceClassification.from_pretrained(cross_encoder_folder).save_pretrained(
            folder, max_shard_size="4KB"
        )
        assert not (folder / "model.safetensors").exists()
    else:  # as BERT's own checkpoints name them
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        renamed = {re.sub(r"LayerNorm\.\w+$", lambda m: old[m[0]], name): value for name, value in weights.items()}
        assert renamed.keys() != weights.keys()
        save_file(renamed, folder / "model.safetensors", {"format": "pt"})
    assert our_scores(folder).tolist() == our_scores(cross_encoder_folder).tolist()


def test_a_plain_bert_loads_without_transformers_modelling_code_which_takes_seconds(cross_encoder_folder):
    code = "import sys; from rrarank import load_reranker; load_reranker('cross-encoder', model=sys.argv[1]); "
    code += "print('transformers.modeling_utils' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code, str(cross_encoder_folder)], capture_output=True, text=True)
    assert found.stdout == "False\n", found.stderr
