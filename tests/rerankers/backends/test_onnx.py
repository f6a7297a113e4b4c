import shutil

import numpy as np
import pytest
import torch

from rrarank.export.int8 import quantize
from rrarank.export.onnx_graph import _export
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.cross_encoder import CrossEncoder
from rrarank.storage.model_folders import EXPORT_MANIFEST

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")


def test_a_file_from_elsewhere_needs_no_manifest(exported_folder, tmp_path):
    folder = shutil.copytree(exported_folder, tmp_path / "model")
    (folder / EXPORT_MANIFEST).unlink()
    theirs, ours = (CrossEncoder(CrossEncoderConfig(str(path), backend="onnx")) for path in (folder, exported_folder))
    pairs = ours.encode("why is the cat long", ["the cat sat", "tea"])
    assert (theirs.score(pairs) == ours.score(pairs)).all()


def test_int8_gives_each_token_its_own_scale(tmp_path):
    """One scale for a batch, as onnxruntime.quantization has it, would round the small row to nothing."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(32, 8)).eval()
    rows = torch.randn(2, 3, 32)
    rows[0] *= 10_000
    expected = model(rows).detach().numpy()
    quantize(model, lambda name: True, "onnx", lambda: model(rows))
    _export(model, {"rows": rows}, tmp_path / "linear.onnx", "linear")
    session = onnxruntime.InferenceSession(tmp_path / "linear.onnx")
    [found] = session.run(None, {"rows": rows.numpy()})
    assert np.abs(found[1] - expected[1]).max() < 0.03
    assert 0 < np.abs(found[0] - expected[0]).max() < 300
