"""An exported sparse encoder: the scores of torch, without torch and transformers."""

import shutil
import subprocess
import sys

import pytest

from rrarank import Candidate, Query, Ranking, RrarankError, load_reranker
from rrarank.export.__main__ import main
from rrarank.storage.model_folders import ENCODER

for library in ("onnxruntime", "onnxscript", "openvino"):
    pytest.importorskip(library, reason="the extras `onnx` and `openvino` are not installed")

TEXTS = ["the cat sat", "tea", "a document about dogs " * 30, "", "the [MASK] cat [SEP] sat 日本語", "e\u0301 İ ﬁ \t\n"]
QUERIES = ["why cats", "how long is the tea", ""]
EXPORTS = [("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8")]


def flags(model, output, backend, precision):
    return ["--model", str(model), "--output", str(output), "--backend", backend, "--precision", precision]


@pytest.fixture
def exported(exported_sparse_folder):
    return exported_sparse_folder


def scores(folder, backend="torch", precision="fp32", **settings):
    shared = {"device": "cpu", "threads": 1, "backend": backend, "precision": precision}
    reranker = load_reranker("sparse-encoder", model=str(folder), **shared, **settings)
    candidates = tuple(Candidate(f"d{i}", text, 0.0) for i, text in enumerate(TEXTS))
    ranked = reranker.rerank_block([Ranking(Query(query, query), candidates) for query in QUERIES])
    return {(one.query.qid, c.docid): c.score for one in ranked for c in one.candidates}, reranker.cut


@pytest.mark.parametrize("max_length", [0, 9])
@pytest.mark.parametrize(("backend", "precision"), EXPORTS)
def test_scores_are_those_of_torch(backend, precision, max_length, exported):
    expected, cut = scores("rra-bert-tiny", max_length=max_length)
    found, as_often = scores(exported, backend, precision, max_length=max_length)
    relative, absolute = (None, 1e-4) if precision == "fp32" else (0.1, 0.5)
    assert found == pytest.approx(expected, rel=relative, abs=absolute)
    assert (cut > 0, as_often) == (max_length > 0, cut)


def test_a_folder_that_says_nothing_of_its_tokens_is_read_by_transformers(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "model")
    (folder / ENCODER).unlink()
    assert scores(folder, "onnx") == scores(exported, "onnx")


def test_each_back_end_has_a_cache_of_its_own(exported, tmp_path):
    plain, _ = scores(exported, "onnx", "int8")
    for _ in range(2):
        found, _ = scores(exported, "onnx", "int8", cache=str(tmp_path))
        assert found == pytest.approx(plain, abs=1e-4)
    scores(exported, cache=str(tmp_path))
    scores("rra-bert-tiny", cache=str(tmp_path))  # with torch, the same model and the same vectors
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 2


def test_neither_torch_nor_transformers_is_loaded(exported):
    code = (
        "import sys, rrarank; from rrarank import load_reranker; "
        f"model = load_reranker('sparse-encoder', model={str(exported)!r}, backend='onnx', precision='int8'); "
        "print(rrarank.rank('why do cats purr', ['Dogs bark.', 'Cats purr.'], model=model)[0].text, "
        "{'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "Cats purr. set()"


def test_its_export_is_refused_for_a_cross_encoder(exported):
    for name in ("rra-bert", "cross-encoder", "cascade"):
        with pytest.raises(RrarankError, match=r"not a cross-encoder, .* SparseEncoder; .*--reranker sparse-encoder"):
            load_reranker(name, model=str(exported), backend="onnx", precision="int8", device="cpu")


def test_other_kinds_of_models_are_refused_in_a_line(tokenizer, tmp_path, capsys):
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    sizes = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 64}
    DistilBertForMaskedLM(DistilBertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    assert main(flags(tmp_path / "model", tmp_path / "out", "onnx", "fp32")) == 2
    assert "of sparse encoders only BERT can be exported; use --backend torch" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
