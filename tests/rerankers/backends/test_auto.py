import json
import shutil
from dataclasses import asdict, replace

import pytest

from rrarank import RrarankError
from rrarank.engine.registry import configure
from rrarank.rerank.__main__ import main
from rrarank.rerankers.backends import auto
from rrarank.rerankers.backends.auto import Choice, choose_backend
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.sparse_encoder import SparseEncoderConfig
from rrarank.storage.journal import Journal

ALL = ["torch fp32", "torch bf16", "onnx fp32", "onnx int8", "openvino fp32", "openvino bf16", "openvino int8"]


@pytest.fixture(autouse=True)
def once(monkeypatch):
    """The sample is scored once by each back end, however fast that is."""
    monkeypatch.setattr(auto, "LEAST_S", 0.0)


def tried(choice):
    return [f"{one['backend']} {one['precision']}" for one in choice.tried]


def test_the_fastest_that_ranks_as_torch_does(exported_folder):
    choice = choose_backend(CrossEncoderConfig(str(exported_folder), "cpu"))
    assert tried(choice) == ALL
    trusted = [one for one in choice.tried if not one["lacks"]]
    best = max(trusted, key=lambda one: one["pairs_s"])
    assert (choice.backend, choice.precision) == (best["backend"], best["precision"])
    assert f"{choice.backend} {choice.precision}; pairs/s on the sample: torch fp32 " in str(choice)


def test_without_exports_torch_is_all_there_is(steady_folder):
    assert tried(choose_backend(CrossEncoderConfig(str(steady_folder), "cpu"))) == ALL[:2]


def test_exports_that_rank_otherwise_are_not_chosen_however_fast(exported_folder, cross_encoder_folder, tmp_path):
    folder = shutil.copytree(exported_folder, tmp_path / "changed")
    shutil.copyfile(cross_encoder_folder / "model.safetensors", folder / "model.safetensors")  # trained on, say
    choice = choose_backend(CrossEncoderConfig(str(folder), "cpu"))
    assert tried(choice) == ALL
    assert choice.backend == "torch"
    assert all(one["lacks"] for one in choice.tried[2:])
    assert "openvino int8" in str(choice)
    assert "(ranks differently)" in str(choice)


def test_a_cascade_is_measured_by_its_cross_encoder(steady_folder):
    config = configure("cascade", model=str(steady_folder), device="cpu", first="bm25")
    assert choose_backend(config).backend == "torch"


def test_a_sparse_encoder_is_measured_like_a_cross_encoder(exported_sparse_folder):
    choice = choose_backend(configure("sparse-encoder", model=str(exported_sparse_folder), device="cpu"))
    assert tried(choice) == ALL
    trusted = [one for one in choice.tried if not one["lacks"]]
    best = max(trusted, key=lambda one: one["pairs_s"])
    assert (choice.backend, choice.precision) == (best["backend"], best["precision"])
    assert {"torch fp32", "onnx fp32", "openvino fp32"} <= {f"{one['backend']} {one['precision']}" for one in trusted}


def test_an_exported_sparse_encoder_that_ranks_otherwise_is_not_chosen(exported_sparse_folder, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(exported_sparse_folder, tmp_path / "changed")
    weights = load_file(folder / "model.safetensors")
    for name in sorted(weights):
        if name.endswith("intermediate.dense.weight"):
            weights[name] = -weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    choice = choose_backend(configure("sparse-encoder", model=str(folder), device="cpu"))
    assert choice.backend == "torch"
    assert all(one["lacks"] for one in choice.tried[2:])


def test_kept_documents_are_not_what_is_measured(sparse_encoder_folder, tmp_path):
    plain = SparseEncoderConfig(str(sparse_encoder_folder), "cpu")
    journal = Journal(tmp_path / "journal")
    choice = choose_backend(replace(plain, cache=str(tmp_path / "vectors")), journal)
    assert not (tmp_path / "vectors").exists()
    assert choose_backend(plain, journal) == choice


def test_the_choice_is_kept_in_the_journal(steady_folder, tmp_path, monkeypatch):
    config = CrossEncoderConfig(str(steady_folder), "cpu")
    first = choose_backend(config, Journal(tmp_path / "journal"))
    monkeypatch.setattr(auto, "_measure", None)  # to measure again would fail
    assert choose_backend(config, Journal(tmp_path / "journal")) == first
    with pytest.raises(TypeError):
        choose_backend(CrossEncoderConfig(str(steady_folder), "cpu", threads=1), Journal(tmp_path / "journal"))


@pytest.fixture
def job(exported_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bm25.trec").write_text("1 Q0 a 1 3 bm25\n1 Q0 b 2 2 bm25\n1 Q0 c 3 1 bm25\n")
    (tmp_path / "topics.tsv").write_text("1\twhy is the cat long\n")
    (tmp_path / "texts.tsv").write_text("a\ttea\nb\tthe cat sat\nc\ta long dog\n")
    flags = ["--run", "bm25.trec", "--topics", "topics.tsv", "--collection", "texts.tsv", "--output", "out.trec"]
    return [*flags, "--reranker", "cross-encoder", "--model", str(exported_folder), "--backend", "auto"]


def test_a_job_says_what_it_chose_and_writes_it_into_the_sidecar(job, tmp_path, capsys):
    assert main(job) == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("--backend auto: ")]
    sidecar = json.loads((tmp_path / "out.trec.json").read_text())
    assert line.startswith(f"--backend auto: {sidecar['backend']} {sidecar['precision']}; pairs/s on the sample: ")
    assert [f"{one['backend']} {one['precision']}" for one in sidecar["tried"]] == ALL
    assert not list(tmp_path.glob("*.journal"))


def test_a_job_with_a_sparse_encoder_does_so_too(job, exported_sparse_folder, tmp_path):
    assert main([*job, "--reranker", "sparse-encoder", "--model", str(exported_sparse_folder)]) == 0
    sidecar = json.loads((tmp_path / "out.trec.json").read_text())
    assert [f"{one['backend']} {one['precision']}" for one in sidecar["tried"]] == ALL
    assert f"'backend': '{sidecar['backend']}'" in sidecar["model"]["fingerprint"]


def test_a_job_that_goes_on_keeps_its_back_end(job, tmp_path, exported_folder, monkeypatch):
    monkeypatch.setattr(auto, "_measure", lambda plain, folder: Choice("openvino", "int8", []))
    with_journal = Journal(tmp_path / "out.trec.journal")
    choose_backend(CrossEncoderConfig(str(exported_folder)), with_journal)
    with_journal.close()
    monkeypatch.setattr(auto, "_measure", lambda plain, folder: Choice("torch", "fp32", []))
    assert main(job) == 0
    sidecar = json.loads((tmp_path / "out.trec.json").read_text())
    assert (sidecar["backend"], sidecar["precision"]) == ("openvino", "int8")
    assert "openvino 20" in sidecar["model"]["fingerprint"]


def test_standard_output_has_no_journal_and_is_measured_each_time(job, tmp_path, monkeypatch):
    seen = []

    def measured(plain, folder):
        seen.append(folder)
        return Choice("torch", "fp32", [])

    monkeypatch.setattr(auto, "_measure", measured)
    for _ in range(2):
        assert main([*job, "--output", "-"]) == 0
    assert len(seen) == 2
    assert not list(tmp_path.glob("*.journal"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--precision", "bf16"], "--precision with --backend auto: auto chooses both; give one of the two"),
        (["--reranker", "bm25"], "--backend auto: only cross-encoders and sparse encoders are measured; leave it out"),
    ],
)
def test_what_cannot_be_is_one_line(job, more, message, capsys):
    assert main([*job, *more]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_other_rerankers_have_no_back_ends(bi_encoder_folder):
    with pytest.raises(RrarankError, match="only cross-encoders"):
        choose_backend(configure("bi-encoder", model=str(bi_encoder_folder)))


def test_a_choice_survives_the_journal(tmp_path):
    choice = Choice("onnx", "int8", [{"backend": "onnx", "precision": "int8", "pairs_s": 12.0, "lacks": ""}])
    journal = Journal(tmp_path / "journal")
    journal.add("key", asdict(choice))
    assert Choice(**journal["key"]) == choice
