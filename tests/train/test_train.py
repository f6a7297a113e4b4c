"""Training as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from rrarank.data.distillation_set import write_set
from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.cross_encoder import CrossEncoder
from rrarank.train.__main__ import main

TEXTS = ["the cat sat", "tea and bread", "dogs about", "a long document about cats dogs tea"]


@pytest.fixture
def job(tmp_path, monkeypatch, cross_encoder_folder):
    """Flags of a small training in an empty folder: 8 queries, 4 a step."""
    monkeypatch.chdir(tmp_path)
    shown = tuple(Candidate(f"d{i}", text, float(-i)) for i, text in enumerate(TEXTS))
    labels = [
        LabelledRanking(Query(qid, f"what is a cat {qid}"), shown, listed=("d3", "d0"), missing=("d1", "d2"))
        for qid in "abcdefgh"
    ]
    write_set("labels.jsonl", labels)
    (tmp_path / "config.yaml").write_text("max_length: 32\ndropout: 0\nterm_control: {}\nstages: [{lists: 4}]\n")
    return ["--config", "config.yaml", "--sets", "labels.jsonl", "--base", str(cross_encoder_folder), "--output", "out"]


def scores(folder):
    reranker = CrossEncoder(CrossEncoderConfig(model=str(folder), device="cpu"))
    return reranker.score(reranker.encode("what is a cat", TEXTS))


def test_a_model_folder_comes_out_and_nothing_else(job, tmp_path, capsys):
    assert main(job) == 0
    assert capsys.readouterr().out == "out\n"
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "labels.jsonl", "out"}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "README.md",
        "training.jsonl",
        "training.svg",
    } <= names
    assert len(scores("out")) == len(TEXTS)


def test_the_card_and_the_configuration_say_what_made_it_and_no_path(job, tmp_path, cross_encoder_folder):
    main(job)
    card, config = ((tmp_path / "out" / name).read_text() for name in ("README.md", "config.json"))
    assert "| 1 | labels.jsonl | 8 |" in card
    assert json.loads(config)["rrarank"]["recipe"]["stages"][0]["sets"][0]["name"] == "labels.jsonl"
    assert not [text for text in (card, config) if str(tmp_path) in text or str(cross_encoder_folder) in text]


def test_an_existing_model_needs_overwrite(job, capsys):
    assert main(job) == 0
    assert main(job) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert main([*job, "--overwrite", "--seed", "7"]) == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--config", "rra-brt"], "rra-brt: no such file or shipped name"),
        (["--sets", "none.jsonl"], "none.jsonl: no such file"),
        (["--base", "none/here"], "'none/here' is not on disk"),
        (["--seed", "-1"], "seed is -1"),
    ],
)
def test_what_is_wrong_is_one_line(job, capsys, flags, said):
    assert main([*job, *flags]) in (2, 4)
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_what_failed_early_leaves_nothing_and_may_be_put_right(job, tmp_path, make_cross_encoder):
    before = set(tmp_path.iterdir())
    assert main([*job, "--base", str(make_cross_encoder(2))]) == 2
    assert set(tmp_path.iterdir()) == before
    assert main(job) == 0


@pytest.mark.parametrize("name", ["out", "out.work"])
def test_a_folder_of_something_else_is_kept(job, tmp_path, capsys, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.tex").touch()
    assert main([*job, "--overwrite"]) == 2
    said = {"out": "is not a model of rrarank", "out.work": "already exists and contains no training checkpoints"}
    assert capsys.readouterr().err.startswith(f"error: {name}: {said[name]}")
    assert [path.name for path in (tmp_path / name).iterdir()] == ["thesis.tex"]


def test_a_second_job_is_refused_and_ctrl_c_says_how_to_go_on(job, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(config.read_text().replace("lists: 4", "lists: 4, epochs: 3000") + "save_every: 2\n")
    first = subprocess.Popen([sys.executable, "-m", "rrarank.train", *job], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "out.work/stage-1/checkpoint-4").exists() and first.poll() is None:
        time.sleep(0.01)
    assert main(job) == 2
    assert capsys.readouterr().err.startswith("error: out.work: another job is at work on it")
    first.send_signal(signal.SIGINT)
    lines = first.communicate(timeout=60)[1].splitlines()
    assert first.returncode == 130
    assert "the same command continues from the last one" in lines[-2]
    assert list((tmp_path / "out.work/stage-1").glob("checkpoint-*/trainer_state.json"))


def test_any_name_of_a_teacher_fits_the_card(job, tmp_path):
    (tmp_path / "labels.jsonl").write_text(
        (tmp_path / "labels.jsonl").read_text().replace('"provenance": {}', '"provenance": {"teacher": "교사|a\\nb"}')
    )
    assert main(job) == 0
    assert "| 1 | labels.jsonl | 8 | 교사\\|a b | ranknet |" in (tmp_path / "out/README.md").read_text()


def test_two_processes_agree_with_one(job, tmp_path):
    """Gloo on the CPU: two lists each, beside four in one process."""
    assert main([*job, "--threads", "1"]) == 0
    (tmp_path / "two.yaml").write_text((tmp_path / "config.yaml").read_text().replace("lists: 4", "lists: 2"))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    flags = [*job[:-1], "two", "--config", "two.yaml", "--threads", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, "-m", "rrarank.train", *flags], check=True, env=environment, timeout=120)
    assert scores("two") == pytest.approx(scores("out"), abs=1e-3)


def test_a_decoder_that_a_prompt_asks_is_trained_and_reranks(job, decoder_folder, capsys):
    config = "prompt: {}\nmax_length: 128\nstages: [{lists: 4}]\n"
    open("config.yaml", "w").write(config)
    job[job.index("--base") + 1] = str(decoder_folder)
    assert main(job) == 0
    assert len(set(scores("out").tolist())) == len(TEXTS)
    assert "before training it scored by the odds of yes against no" in open("out/README.md").read()
    assert main([*job, "--overwrite", "--base", "out"]) == 2
    assert "already a re-ranker; leave prompt out" in capsys.readouterr().err
