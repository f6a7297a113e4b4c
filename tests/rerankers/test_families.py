"""Encoders in the layouts of the model hub: scores equal those of sentence-transformers or transformers."""

import json
from pathlib import Path

import pytest
import torch
from hub_folders import (  # type: ignore[import-not-found]  # pytest finds it beside this file's folder
    ARCHITECTURES,
    ETTIN,
    classifier_folder,
    jina_folder,
    modular_folder,
)
from sentence_transformers import CrossEncoder as Peer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from rrarank import RrarankError, load_reranker
from rrarank.rerank.__main__ import main as rerank
from rrarank.storage.model_folders import locate

QUERY = "why is the cat long"
TEXTS = ["tea", "a long document about cats and dogs " * 20, "", "the cat sat", "how dogs sat", "mat " * 20, "bread"]
BATCHES = [1, 7, 32]


def ours(folder, **config):
    reranker = load_reranker("cross-encoder", model=str(folder), device="cpu", **config)
    return reranker.score_all(reranker.encode(QUERY, TEXTS))


def peers(folder, **settings):
    """CrossEncoder's own, each text alone, without the activation at its end."""
    peer = Peer(str(folder), device="cpu", local_files_only=True, **settings)
    return [float(peer.predict([(QUERY, text)], activation_fn=torch.nn.Identity())[0]) for text in TEXTS]


def check(folder, expected):
    for batch_size in BATCHES:
        assert ours(folder, batch_size=batch_size) == pytest.approx(expected, abs=1e-4)
    assert max(expected) - min(expected) > 1e-2


# -- sentence-transformers' modules -----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
def test_ettins_layout(side, tmp_path):
    folder = modular_folder(tmp_path / "ettin", ETTIN, side=side)
    kinds = [module["type"].rpartition(".")[2] for module in json.loads((folder / "modules.json").read_text())]
    assert kinds == ["Transformer", "Pooling", "Dense", "LayerNorm", "Dense"]
    check(folder, peers(folder))


def test_a_sigmoid_at_the_end_is_left_out(tmp_path):
    folder = modular_folder(tmp_path / "model", ("mean", "scores"), activation="torch.nn.modules.activation.Sigmoid")
    check(folder, peers(folder))


def test_an_instruction_takes_the_place_of_the_default_prompt(tmp_path):
    folder = modular_folder(tmp_path / "model", ETTIN, prompts={"rank": "how long is "})
    check(folder, peers(folder))
    peer = Peer(str(folder), device="cpu", local_files_only=True)
    plain = torch.nn.Identity()
    expected = [float(peer.predict([(QUERY, t)], prompt="rank a dog ", activation_fn=plain)[0]) for t in TEXTS]
    assert ours(folder, instruction="rank a dog ") == pytest.approx(expected, abs=1e-4)


def test_a_head_of_modules_is_enough_to_tell_a_cross_encoder(tmp_path):
    """Older files do not name the kind of model."""
    folder = modular_folder(tmp_path / "model", ETTIN)
    expected = peers(folder)
    path = folder / "config_sentence_transformers.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in settings.items() if key != "model_type"}))
    check(folder, expected)


def test_a_module_without_its_weights_is_refused(tmp_path):
    folder = modular_folder(tmp_path / "model", ETTIN)
    [*_, head] = sorted(folder.glob("*_Dense"))
    (head / "model.safetensors").unlink()
    with pytest.raises(RrarankError, match=r"the folder has no 4_Dense/weights"):
        ours(folder)


# -- …ForSequenceClassification ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_with_a_head_of_transformers(kind, side, tmp_path):
    folder = classifier_folder(tmp_path, kind, side)
    check(folder, plain(folder))


@torch.inference_mode()
def plain(folder, model=None):
    """transformers' own, each text alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = model or AutoModelForSequenceClassification.from_pretrained(folder).eval()
    cut = {"truncation": "longest_first", "max_length": 60, "return_tensors": "pt"}
    return [float(model(**tokenizer([QUERY], [text], **cut)).logits[0, 0]) for text in TEXTS]


# -- code of their own ------------------------------------------------------------------------------------------------


def test_jinas_own_layout_is_read_without_its_code(tmp_path):
    folder, model = jina_folder(tmp_path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    cut = {"truncation": "longest_first", "max_length": 64, "return_tensors": "pt"}
    with torch.inference_mode():
        expected = [float(model(**tokenizer([QUERY], [text], **cut)).logits[0, 0]) for text in TEXTS]
    check(folder, expected)


def test_other_models_with_code_of_their_own_get_one_line(tmp_path):
    folder, _ = jina_folder(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "new", "architectures": ["NewModel"]}))
    with pytest.raises(RrarankError, match=r"needs Python code of its own .* which is never run here; give a model"):
        locate(str(folder))


# -- the command ------------------------------------------------------------------------------------------------------


def test_flags_of_prompts_reach_the_model(make_job, capsys):
    flags = make_job(1)
    assert rerank([*flags, "--query-prompt", "the ", "--document-prompt", "a ", "--output", "out.trec"]) == 0
    assert "'query_prompt': 'the ', 'document_prompt': 'a '" in Path("out.trec.json").read_text()
    assert rerank([*flags, "--output", "plain.trec"]) == 0
    assert "prompt" not in json.loads(Path("plain.trec.json").read_text())["model"]["fingerprint"]
    assert rerank([*flags, "--instruction", "rank", "--output", "refused.trec"]) == 2
    assert "no place for instruction; give query_prompt (--query-prompt) instead" in capsys.readouterr().err


def test_a_job_with_a_cache_writes_the_same_run_twice(make_job, late_interaction_folder):
    flags = [*make_job(3), "--reranker", "late-interaction", "--model", str(late_interaction_folder)]
    for name in ("first", "second"):
        assert rerank([*flags, "--option", "cache=vectors", "--output", f"{name}.trec"]) == 0
    assert Path("first.trec").read_bytes() == Path("second.trec").read_bytes()
    [about] = Path("vectors").glob("*/about.json")
    assert json.loads(about.read_text())["reranker"] == "late-interaction"
    assert len(list(about.parent.glob("*.safetensors"))) == 1
