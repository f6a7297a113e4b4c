"""`models pull`: a model that is there is verified; one that is out of reach is one line and exit 4."""

import shutil
import struct
from pathlib import Path

import pytest
import torch
from hub_folders import ETTIN, modular_folder  # type: ignore[import-not-found]  # pytest finds it beside this file
from huggingface_hub import constants
from safetensors.torch import save_file

from rrarank.models import main


@pytest.fixture
def folder(cross_encoder_folder, tmp_path):
    """A checkpoint with safetensors."""
    target = tmp_path / "model"
    shutil.copytree(cross_encoder_folder, target)
    for path in target.glob("*.bin"):
        weights = torch.load(path, weights_only=True)
        save_file({name: one.contiguous().clone() for name, one in weights.items()}, target / "model.safetensors")
        path.unlink()
    return target


def test_a_whole_model_is_printed_with_its_hash(folder, capsys):
    assert main(["pull", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{folder}\n"
    assert " tensors, sha256 " in err


def test_a_model_out_of_reach_is_one_line_and_exit_4(capsys):
    assert main(["pull", "nobody/nothing"]) == 4
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: model 'nobody/nothing' is not on disk, and HF_HUB_OFFLINE is set")


@pytest.mark.parametrize("left", [4, 100, -10])
def test_a_torn_file_is_named(folder, left, capsys):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    assert main(["pull", str(folder)]) == 2
    assert f"error: {path}: " in capsys.readouterr().err


def test_a_missing_part_is_named(folder, capsys):
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00002-of-00002.safetensors"}}')
    assert main(["pull", str(folder)]) == 2
    assert "names 'model-00002-of-00002.safetensors', which is not there" in capsys.readouterr().err


def test_a_header_that_promises_too_much_is_refused(folder, capsys):
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    assert main(["pull", str(folder)]) == 2
    assert "not a whole safetensors file" in capsys.readouterr().err


# -- a model of modules, and a fetch that was interrupted -------------------------------------------------------------


@pytest.fixture(scope="module")
def modular(tmp_path_factory):
    return modular_folder(tmp_path_factory.mktemp("modular") / "model", ETTIN)


@pytest.fixture
def copied(modular, tmp_path):
    return Path(shutil.copytree(modular, tmp_path / "model"))


@pytest.fixture
def on_hub(tmp_path, monkeypatch):
    """Where the hub's client keeps `owner/name`."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--owner--name" / "refs").mkdir(parents=True)
    (tmp_path / "models--owner--name" / "refs" / "main").write_text("abc")
    return tmp_path / "models--owner--name" / "snapshots" / "abc"


NEEDED = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "1_Pooling/config.json",
    "2_Dense/config.json",
    "2_Dense/model.safetensors",
    "3_LayerNorm/model.safetensors",
]


@pytest.mark.parametrize("name", NEEDED)
def test_a_file_that_a_module_needs_is_missed(name, copied, capsys):
    assert main(["pull", str(copied)]) == 0
    (copied / name).unlink()
    assert main(["pull", str(copied)]) == 2
    place, _, file = name.rpartition("/")
    what = "weights (*.safetensors)" if file == "model.safetensors" else "tokenizer" if "tok" in file else file
    assert f"{copied}: the folder has no {place and place + '/'}{what}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tokenizer.json", "2_Dense/config.json"])
def test_json_that_breaks_off_is_named(name, copied, capsys):
    (copied / name).write_bytes((copied / name).read_bytes()[:-5])
    assert main(["pull", str(copied)]) == 2
    assert f"error: {copied / name}: holds no JSON; remove it and fetch it again" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["model.safetensors", "2_Dense/model.safetensors"])
def test_a_fetch_that_was_interrupted_is_gone_on_with(name, modular, on_hub, capsys):
    shutil.copytree(modular, on_hub)
    assert main(["pull", "owner/name"]) == 0
    (on_hub / name).unlink()
    assert main(["pull", "owner/name"]) == 4, "asks the hub, which is out of reach"
    assert "model 'owner/name' is not on disk" in capsys.readouterr().err


def test_a_fetch_without_the_last_part_of_the_weights_is_gone_on_with(folder, on_hub, capsys):
    shutil.copytree(folder, on_hub)
    (on_hub / "model.safetensors").rename(on_hub / "model-00001-of-00002.safetensors")
    (on_hub / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00002-of-00002.safetensors"}}')
    assert main(["pull", "owner/name"]) == 4, "asks the hub, which is out of reach"
    (on_hub / "model-00002-of-00002.safetensors").write_bytes(
        (on_hub / "model-00001-of-00002.safetensors").read_bytes()
    )
    assert main(["pull", "owner/name"]) == 0
