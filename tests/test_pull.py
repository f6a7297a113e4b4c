"""`models pull`: a model that is there is verified; one that is out of reach is one line and exit 4."""

import shutil
import struct

import pytest
import torch
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
