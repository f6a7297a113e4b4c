"""What the exported back ends share, and what each owes a cross-encoder."""

import copy
import random
import shutil
import sys

import numpy as np
import pytest
from transformers import BertConfig

from rrarank import RerankerConfig, RrarankError
from rrarank.engine.agreement import agreement
from rrarank.errors import MissingPrerequisite, MissingResource
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.backends.exported import Padding, export_padding_id, exported_file
from rrarank.rerankers.cross_encoder import CrossEncoder

QUERY = "why is the cat long"
TEXTS = ["the cat sat", "tea", "a document about dogs " * 30, "bread is long", "", "mat " * 20, "how dogs"]
EXPORTS = [("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8")]


@pytest.fixture(scope="module")
def load(exported_folder):
    loaded = {}

    def load(backend, precision="fp32"):
        if (backend, precision) not in loaded:
            config = CrossEncoderConfig(str(exported_folder), "cpu", backend=backend, precision=precision)
            loaded[backend, precision] = CrossEncoder(config)
        return loaded[backend, precision]

    return load


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_float32_scores_are_torchs_in_any_batch(backend, load):
    torch, exported = load("torch"), load(backend)
    pairs = torch.encode(QUERY, TEXTS)
    expected = torch.score(pairs)
    places = list(range(len(pairs)))
    for seed in range(4):
        random.Random(seed).shuffle(places)
        for size in (1, 3, len(pairs)):
            some = places[:size]
            assert exported.score([pairs[i] for i in some]) == pytest.approx(expected[some], abs=1e-4)


@pytest.mark.parametrize(("backend", "precision"), [("onnx", "int8"), ("openvino", "bf16"), ("openvino", "int8")])
def test_rounded_scores_rank_alike_and_do_not_depend_on_the_batch(backend, precision, load):
    exported = load(backend, precision)
    pairs = exported.encode(QUERY, TEXTS)
    together = exported.score(pairs)
    assert [float(exported.score([pair])[0]) for pair in pairs] == pytest.approx(together, abs=1e-3)
    assert together.dtype == np.float32
    alike = agreement([together.tolist()], [load("torch").score(pairs).tolist()])
    assert 0 < alike.difference < 0.1
    assert alike.tau > 0.8


@pytest.mark.parametrize(("backend", "precision"), EXPORTS)
def test_the_fingerprint_names_the_files_and_the_library(backend, precision, load):
    plain = load("torch").fingerprint()
    assert load(backend, precision).fingerprint() != plain
    assert {"onnx": "onnxruntime 1", "openvino": "openvino 20"}[backend] in load(backend, precision).fingerprint()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_any_number_of_threads_gives_the_same_scores(backend, threads, load, exported_folder):
    config = CrossEncoderConfig(str(exported_folder), "cpu", threads=threads, backend=backend)
    pairs = load(backend).encode(QUERY, TEXTS)
    assert CrossEncoder(config).score(pairs) == pytest.approx(load(backend).score(pairs), abs=1e-5)


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("backend", "precision"), EXPORTS)
def test_a_missing_file_is_the_command_to_type(backend, precision, steady_folder):
    with pytest.raises(MissingResource) as error:
        CrossEncoder(CrossEncoderConfig(str(steady_folder), backend=backend, precision=precision))
    command = f"python -m rrarank.export --model {steady_folder} --backend {backend} --precision {precision} --output"
    assert command in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("backend", "library"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_library_names_its_extra(backend, library, exported_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    with pytest.raises(MissingPrerequisite, match=rf"^{library} is not installed; .* 'rrarank\[{backend}\]'$"):
        CrossEncoder(CrossEncoderConfig(str(exported_folder), backend=backend))


@pytest.mark.parametrize("file", ["onnx/model.onnx", "openvino/openvino_model.xml", "openvino/openvino_model.bin"])
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_broken_file_is_one_line(file, kept, exported_folder, tmp_path):
    folder = shutil.copytree(exported_folder, tmp_path / "broken")
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(RrarankError, match=r"openvino_model.xml|model.onnx: cannot be read \(.+\); export") as error:
        CrossEncoder(CrossEncoderConfig(str(folder), backend=file.partition("/")[0]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_cuda_is_refused(backend, exported_folder):
    config = RerankerConfig(device="cuda:1", backend=backend)
    with pytest.raises(RrarankError, match=f"^device .--device. cuda:1: the back end {backend} runs on cpu only"):
        exported_file(exported_folder, "model", config)


@pytest.mark.parametrize(("backend", "precision"), [("onnx", "bf16"), ("onnx", "fp16"), ("openvino", "fp16")])
def test_a_precision_that_a_back_end_lacks_is_refused(backend, precision, exported_folder):
    with pytest.raises(RrarankError, match=f"no precision '{precision}' on {backend}; it offers fp32, "):
        CrossEncoder(CrossEncoderConfig(str(exported_folder), backend=backend, precision=precision))


# -- padding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_is_the_tokenizers(side, tokenizer):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = side
    rows = [tokenizer("the cat", text) for text in ("tea", "a long document")]
    batch = [{name: row[name] for name in ("input_ids", "token_type_ids")} for row in rows]
    names = ["input_ids", "attention_mask", "token_type_ids"]
    expected = tokenizer.pad({name: [row[name] for row in rows] for name in names}, return_tensors="np")
    padded = Padding(names, tokenizer.pad_token_id, side == "left")(batch)
    assert all((padded[name] == expected[name]).all() for name in names)


def test_the_models_padding_counts_then_the_tokenizers_then_its_end(tokenizer):
    tokenizer = copy.deepcopy(tokenizer)
    assert export_padding_id(BertConfig(pad_token_id=7), tokenizer) == 7
    assert export_padding_id(BertConfig(pad_token_id=None), tokenizer) == tokenizer.pad_token_id
    tokenizer.eos_token, tokenizer.pad_token = "[SEP]", None
    pad = export_padding_id(BertConfig(pad_token_id=-1), tokenizer)
    padded = Padding(["input_ids"], pad, False)([{"input_ids": [7]}, {"input_ids": [7, 8]}])
    assert padded["input_ids"].tolist() == [[7, tokenizer.sep_token_id], [7, 8]]
