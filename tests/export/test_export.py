"""Exporting as a user types it; what the exported folder then does is tested beside the back ends."""

import json
import shlex
import shutil
import subprocess
import sys

import pytest

from rrarank.errors import RrarankError
from rrarank.export.__main__ import main
from rrarank.storage.model_folders import EXPORT_MANIFEST, fingerprint

pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("openvino", reason="the extra `openvino` is not installed")


@pytest.fixture
def copied(exported_folder, tmp_path):
    """An export that a test may change; `openvino bf16` is the quickest to redo."""
    return shutil.copytree(exported_folder, tmp_path / "model")


def flags(model, output, backend="openvino", precision="bf16"):
    return ["--model", str(model), "--output", str(output), "--backend", backend, "--precision", precision]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_is_the_model_and_says_what_was_exported(exported_folder, steady_folder):
    assert fingerprint(exported_folder) == fingerprint(steady_folder)
    text = (exported_folder / EXPORT_MANIFEST).read_text()
    manifest = json.loads(text)
    assert manifest["source"] == {"name": steady_folder.name, "fingerprint": fingerprint(steady_folder)}
    assert {(export["backend"], export["precision"]) for export in manifest["exports"]} == {
        ("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8")
    }  # fmt: skip
    files = {name for export in manifest["exports"] for name in export["files"]}
    beside = {path.relative_to(exported_folder).as_posix() for path in exported_folder.glob("o*/*")}
    assert files == beside
    assert all(export["agreement"]["tau"] >= 0.95 for export in manifest["exports"])
    assert "onnxruntime" in manifest["exports"][0]["versions"]
    assert str(steady_folder.parent) not in text


def test_the_folder_still_loads_with_torch_and_everywhere_else(exported_folder, steady_folder):
    from sentence_transformers import CrossEncoder as Peer

    from rrarank.rerankers.backends.base import CrossEncoderConfig
    from rrarank.rerankers.cross_encoder import CrossEncoder

    ours, before = (CrossEncoder(CrossEncoderConfig(str(folder), "cpu")) for folder in (exported_folder, steady_folder))
    pairs = ours.encode("why is the cat long", ["tea", "the cat sat"])
    assert (ours.score(pairs) == before.score(pairs)).all()
    assert ours.fingerprint() == before.fingerprint()
    assert Peer(str(exported_folder), device="cpu").predict([("why", "tea")]).shape == (1,)


def test_path_on_stdout_figures_on_stderr(copied, steady_folder, capsys):
    assert main([*flags(steady_folder, copied), "--overwrite", "--max-length", "40", "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{copied}\n"
    assert "on the sample, compared with torch fp32: largest |Δscore| " in err
    assert "pairs/s, torch fp32 " in err
    exports = json.loads((copied / EXPORT_MANIFEST).read_text())["exports"]
    assert len(exports) == 5
    assert exports[-1]["max_length"] == 40


def test_an_export_can_take_further_precisions_from_itself(copied):
    assert main([*flags(copied, copied), "--overwrite"]) == 0
    assert len(json.loads((copied / EXPORT_MANIFEST).read_text())["exports"]) == 5


def test_what_is_there_is_replaced_only_when_told(copied, steady_folder, cross_encoder_folder, tmp_path, capsys):
    other = shutil.copytree(cross_encoder_folder, tmp_path / "other")
    before = contents(tmp_path)
    assert main(flags(steady_folder, copied)) == 2
    assert f"{copied}: holds openvino bf16 already; give --overwrite" in capsys.readouterr().err
    assert main(flags(cross_encoder_folder, copied, "onnx", "fp32")) == 2
    assert f"{copied}: holds an export of another model; give --overwrite" in capsys.readouterr().err
    assert main([*flags(steady_folder, other), "--overwrite"]) == 2
    assert f"{other}: exists and is not an export of rrarank" in capsys.readouterr().err
    assert contents(tmp_path) == before


@pytest.fixture
def fragile_folder(steady_folder, tmp_path):
    """Two neurons that cancel out: huge weights, beside which int8 has no steps left for the others."""
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(steady_folder)
    layer = model.bert.encoder.layer[0]
    up, down = layer.intermediate.dense, layer.output.dense
    up.weight.data[1], up.bias.data[1] = up.weight.data[0], up.bias.data[0]
    down.weight.data[:, 0], down.weight.data[:, 1] = 1e5, -1e5
    folder = shutil.copytree(steady_folder, tmp_path / "models" / "fragile")
    model.save_pretrained(folder)
    return folder


def test_a_model_that_ranks_otherwise_in_int8_is_refused_and_leaves_nothing(fragile_folder, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert main(flags(fragile_folder, tmp_path / "out", "onnx", "int8")) == 2
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert last.startswith(f"error: {fragile_folder}: onnx int8 ranks too differently from torch fp32, nothing is")
    assert "mean Kendall tau 0." in last
    assert "; expected mean Kendall tau 0.95" in last
    assert out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_decoder_with_two_labels_is_exported_as_transformers_has_it(tmp_path, tokenizer):
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    from rrarank.rerankers.backends.base import CrossEncoderConfig
    from rrarank.rerankers.cross_encoder import CrossEncoder

    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), num_labels=2, initializer_range=0.5, pad_token_id=None, **size)
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "llama")
    tokenizer.save_pretrained(tmp_path / "llama")
    assert main(flags(tmp_path / "llama", tmp_path / "out", "onnx", "fp32")) == 0
    plain = CrossEncoder(CrossEncoderConfig(str(tmp_path / "llama"), "cpu"))
    exported = CrossEncoder(CrossEncoderConfig(str(tmp_path / "out"), "cpu", backend="onnx"))
    pairs = plain.encode("why is the cat long", ["the cat sat", "tea", "a document about dogs " * 30])
    assert exported.backend.logits(pairs).shape == (3, 2)
    assert exported.score(pairs) == pytest.approx(plain.score(pairs), abs=1e-4)
    assert exported.score(pairs[:2]) == pytest.approx(plain.score(pairs)[:2], abs=1e-4)


def test_a_precision_that_a_back_end_lacks_is_one_line(steady_folder, tmp_path, capsys):
    assert main(flags(steady_folder, tmp_path / "out", "onnx", "bf16")) == 2
    assert capsys.readouterr().err == "error: --precision bf16: onnx offers fp32, int8\n"
    assert not list(tmp_path.iterdir())


def test_an_embedding_model_is_refused(bi_encoder_folder, tmp_path, capsys):
    assert main(flags(bi_encoder_folder, tmp_path / "out", "onnx", "fp32")) == 2
    assert "not a trained reranker" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("library", ["onnx", "onnxscript"])
def test_a_library_that_is_not_there_names_the_extra(library, steady_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, library, None)
    assert main(flags(steady_folder, tmp_path / "out", "openvino", "fp32")) == 3
    line = f"{library} is not installed; it comes with the extra 'openvino': pip install 'rrarank[openvino]'"
    assert capsys.readouterr().err == f"error: {line}\n"


def test_a_model_that_the_exporter_cannot_write_is_one_line(tmp_path):
    import torch

    from rrarank.export.onnx_graph import _export

    class Choosy(torch.nn.Module):
        def forward(self, ids):
            return ids if ids.sum() > 3 else 2 * ids  # what it does depends on values

    with pytest.raises(RrarankError, match="choosy: torch cannot export this model to ONNX") as error:
        _export(Choosy(), {"input_ids": torch.ones(2, 3, dtype=torch.long)}, tmp_path / "m.onnx", "choosy")
    assert "\n" not in str(error.value)


def test_a_link_out_of_the_folder_is_not_followed_and_the_remedy_holds(steady_folder, tmp_path, capsys):
    secret, model = tmp_path / "secret key", shutil.copytree(steady_folder, tmp_path / "model")
    secret.write_text("private")
    (model / "notes.txt").symlink_to(secret)
    assert main(flags(model, tmp_path / "out")) == 2
    err = capsys.readouterr().err
    assert f"{model / 'notes.txt'}: a link out of the model's folder, which is not followed" in err
    assert not (tmp_path / "out").exists()
    subprocess.run(shlex.split(err.strip().rpartition("the file: ")[2]), check=True)
    assert main(flags(model, tmp_path / "out")) == 0
    assert (tmp_path / "out" / "notes.txt").read_text() == "private"


def test_links_inside_the_folder_and_to_the_hubs_own_files_are_copied(steady_folder, tmp_path):
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "f00", tmp_path / "models--a--b" / "blobs"
    shutil.copytree(steady_folder, blobs)
    snapshot.mkdir(parents=True)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    (snapshot / "again.txt").symlink_to("config.json")
    assert main(flags(snapshot, tmp_path / "out")) == 0
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


def test_help_loads_nothing_heavy():
    code = "import sys, rrarank.export.__main__ as verb\ntry: verb.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch', 'transformers', 'onnx', 'onnxruntime', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
