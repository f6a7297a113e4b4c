"""Exports that hold how their pairs become tokens: the same scores without torch and transformers."""

import json
import shutil
import subprocess
import sys

import pytest

from rrarank.errors import RrarankError
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.checkpoints import Checkpoint
from rrarank.rerankers.cross_encoder import CrossEncoder
from rrarank.rerankers.reading import keep_reading, kept_reading
from rrarank.storage.model_folders import ENCODER

QUERIES = ["why is the cat long", "", "the cat " * 40, "naïve né café ｆｕｌｌ", "[SEP] [CLS] tea"]
TEXTS = [
    "tea",
    "",
    "  ",
    "a document about dogs " * 60,
    "x" * 400,
    "日本語 한국어 ไทย",
    "🐈\u200d⬛ soft\u00adhyphen zero\u200bwidth \ufffd",
    "e\u0301 İ ẞ ﬁ \u0000 \t\n\r \u2028",
    "the [MASK] cat [SEP] sat [PAD] </s>",
]
EXPORTS = [("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "int8")]


@pytest.fixture(scope="module")
def without(exported_folder, tmp_path_factory):
    """The same export, read by transformers."""
    folder = shutil.copytree(exported_folder, tmp_path_factory.mktemp("without") / "model")
    (folder / ENCODER).unlink()
    return folder


def load(folder, backend, precision="fp32", **settings):
    return CrossEncoder(CrossEncoderConfig(str(folder), backend=backend, precision=precision, threads=1, **settings))


def lists(pairs):
    return [{name: list(values) for name, values in pair.items()} for pair in pairs]


@pytest.mark.parametrize("max_length", [0, 9, 24])
@pytest.mark.parametrize(("backend", "precision"), EXPORTS)
def test_pairs_and_scores_are_those_of_transformers(backend, precision, max_length, exported_folder, without):
    ours, theirs = (load(folder, backend, precision, max_length=max_length) for folder in (exported_folder, without))
    for query in QUERIES:
        pairs, expected = ours.encode(query, TEXTS), theirs.encode(query, TEXTS)
        assert lists(pairs) == lists(expected)
        assert ours.score(pairs) == pytest.approx(theirs.score(expected), abs=1e-6)
    assert (ours.cut, ours.longest, ours.fingerprint()) == (theirs.cut, theirs.longest, theirs.fingerprint())


def test_lengths_are_checked_in_the_same_words(exported_folder, without, caplog):
    said = []
    for folder in (exported_folder, without):
        with pytest.raises(RrarankError) as error:
            load(folder, "onnx", max_length=4)
        caplog.clear()
        with caplog.at_level("INFO", "rrarank"):
            load(folder, "onnx", max_length=900)
        said.append((str(error.value), caplog.messages[-1].replace(str(folder), "MODEL")))
    assert said[0] == said[1]
    assert said[0][1].startswith("MODEL: max_length 900 is more than the model's 64 positions")


# -- when it is used --------------------------------------------------------------------------------------------------


def test_a_folder_whose_tokenizer_was_changed_is_read_by_transformers(exported_folder, tmp_path):
    folder = shutil.copytree(exported_folder, tmp_path / "model")
    assert kept_reading(folder) is not None
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 12}))
    assert kept_reading(folder) is None
    assert load(folder, "onnx").longest == 12


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": "rrarank.encoder/1"}', '{"format": "rrarank.encoder/2"}']
)
def test_a_file_that_is_none_of_ours_is_passed_over(content, exported_folder, tmp_path):
    folder = shutil.copytree(exported_folder, tmp_path / "model")
    (folder / ENCODER).write_text(content)
    assert kept_reading(folder) is None
    assert load(folder, "onnx").longest == 64


def test_other_weights_leave_the_reading_and_change_the_fingerprint(exported_folder, tmp_path):
    folder = shutil.copytree(exported_folder, tmp_path / "model")
    before = load(folder, "onnx").fingerprint()
    (folder / "more.safetensors").write_bytes(b"other")
    assert kept_reading(folder) is not None
    assert load(folder, "onnx").fingerprint() != before


def test_a_kept_tokenizer_that_is_broken_is_one_line(exported_folder, tmp_path):
    folder = shutil.copytree(exported_folder, tmp_path / "model")
    kept = json.loads((folder / ENCODER).read_text())
    (folder / ENCODER).write_text(json.dumps(kept | {"tokenizer": kept["tokenizer"][:90]}))
    with pytest.raises(RrarankError, match=f"^{ENCODER}: its tokenizer cannot be read; export the model again$"):
        load(folder, "onnx")


def test_a_tokenizer_that_truncates_on_the_left_is_left_to_transformers(cross_encoder_folder, tmp_path):
    folder = shutil.copytree(cross_encoder_folder, tmp_path / "model")
    checkpoint = Checkpoint.open(folder, "model")
    checkpoint.tokenizer.truncation_side = "left"
    keep_reading(checkpoint, folder)
    assert not (folder / ENCODER).exists()


# -- without torch ----------------------------------------------------------------------------------------------------

END = "\nprint([name for name in ('torch', 'transformers', 'sentence_transformers') if name in sys.modules])"


def run(code, *arguments, cwd):
    done = subprocess.run([sys.executable, "-c", code + END, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(("backend", "precision"), [("onnx", "int8"), ("openvino", "fp32")])
def test_rerank_imports_neither_torch_nor_transformers(backend, precision, exported_folder, make_job, tmp_path):
    flags = [*make_job(1), "--model", str(exported_folder), "--backend", backend, "--precision", precision]
    code = "import sys\nfrom rrarank.__main__ import main\nassert main(['rerank', *sys.argv[1:]]) == 0"
    assert run(code, *flags, cwd=tmp_path) == ["bm25.cross-encoder.trec", "[]"]


def test_rank_imports_neither_torch_nor_transformers(exported_folder, tmp_path):
    code = """
import sys, rrarank
model = rrarank.load_reranker("cross-encoder", model=sys.argv[1], backend="onnx", precision="int8")
print(len(rrarank.rank("why is the cat long", ["tea", "the cat sat"], model=model)))"""
    assert run(code, str(exported_folder), cwd=tmp_path) == ["2", "[]"]


def test_a_server_imports_neither_torch_nor_transformers(exported_folder, tmp_path):
    pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
    code = """
import json, os, sys, threading, urllib.request, rrarank
from rrarank.serve.config import ServeConfig

def ask(url):
    body = json.dumps({"query": "why", "documents": ["tea", "the cat sat"]}).encode()
    asked = urllib.request.Request(f"{url}/v1/rerank", body, {"Content-Type": "application/json"})
    print(len(json.load(urllib.request.urlopen(asked))["results"]))
    print([name for name in ("torch", "transformers") if name in sys.modules], flush=True)
    os._exit(0)

settings = {"model": sys.argv[1], "backend": "onnx", "precision": "int8"}
job = rrarank.ServeJob("cross-encoder", settings, ServeConfig(port=0))
rrarank.serve_reranker(job, announce=lambda url: threading.Thread(target=ask, args=[url]).start())"""
    assert run(code, str(exported_folder), cwd=tmp_path) == ["2", "[]"]
