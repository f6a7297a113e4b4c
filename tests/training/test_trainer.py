import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from rrarank import RrarankError
from rrarank.data import Candidate, LabelledRanking, Query
from rrarank.distillation_set import write_set
from rrarank.training.config import DevConfig, StageConfig, TrainConfig
from rrarank.training.losses import LossConfig
from rrarank.training.term_control import TermControlConfig
from rrarank.training.trainer import read_logs, train_model

TEXTS = ["the cat sat", "tea and bread", "dogs about", "a long document about cats dogs tea", "mat", "why the dog"]


def labelled(qid):
    shown = tuple(Candidate(f"d{i}", f"{text} {qid}", float(-i)) for i, text in enumerate(TEXTS))
    return LabelledRanking(Query(qid, "what is a cat"), shown, listed=("d3", "d0", "d5"), missing=("d1", "d2", "d4"))


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "labels.jsonl"
    write_set(path, [labelled(qid) for qid in "abcdefghijkl"])
    return str(path)


@pytest.fixture
def config(labels, cross_encoder_folder):
    """12 queries, 2 lists each: 6 steps of 4 lists, a checkpoint every 2."""
    stage = StageConfig((labels,), lists=4, documents=3, learning_rate=1e-3)
    return TrainConfig(
        base=str(cross_encoder_folder), stages=(stage,), term_control=TermControlConfig(), max_length=32, save_every=2
    )


def weights(student):
    return {name: value.clone() for name, value in student.state_dict().items()}


def equal(some, others):
    return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)


def test_training_learns_the_order(config, tmp_path):
    entries = []
    train_model(config, tmp_path, follow=entries.append)
    [log] = read_logs(tmp_path)
    assert entries[-1]["step"] == 6
    assert {"listed_pairs", "missing_pairs", "term_loss", "selected_of_listed", "pairs_per_second"} <= log[-1].keys()


def test_killed_it_goes_on_and_ends_with_the_same_weights(config, tmp_path):
    config = replace(config, stages=(replace(config.stages[0], epochs=5),))  # 30 steps
    whole, _ = train_model(config, tmp_path / "whole")
    command = [sys.executable, "-c", JOB.format(config=config, work=str(tmp_path / "killed"))]
    job = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())})
    while not (tmp_path / "killed/stage-1/checkpoint-4").exists() and job.poll() is None:
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed/stage-1/done.safetensors").exists()
    steps = []
    resumed, _ = train_model(config, tmp_path / "killed", follow=lambda entry: steps.append(entry["step"]))
    assert equal(weights(whole), weights(resumed))


JOB = """
from pathlib import Path
from rrarank.training.config import *
from rrarank.training.losses import LossConfig
from rrarank.training.term_control import *
from rrarank.training.trainer import train_model
train_model({config!r}, Path({work!r}))
"""


def test_a_torn_checkpoint_is_passed_over(config, tmp_path):
    whole, _ = train_model(config, tmp_path)
    (tmp_path / "stage-1/done.safetensors").unlink()
    (tmp_path / "stage-1/checkpoint-6/trainer_state.json").write_text("{")
    again, _ = train_model(config, tmp_path)
    assert equal(weights(whole), weights(again))


def test_two_stages_the_second_starts_where_the_first_ended(config, tmp_path):
    first = replace(config.stages[0], loss=LossConfig("listnet", infonce=1.0))
    one, _ = train_model(replace(config, stages=(first,)), tmp_path / "one")
    idle = replace(config.stages[0], learning_rate=0.0)
    two, _ = train_model(replace(config, stages=(first, idle)), tmp_path / "two")
    assert equal(weights(one), weights(two))
    assert [log[0]["stage"] for log in read_logs(tmp_path / "two")] == ["stage-1", "stage-2"]


def test_another_seed_gives_other_weights(config, tmp_path):
    one, _ = train_model(config, tmp_path / "one")
    two, _ = train_model(replace(config, seed=43), tmp_path / "two")
    assert not equal(weights(one), weights(two))


def test_checkpoints_of_another_training_are_not_mixed_in(config, tmp_path):
    train_model(config, tmp_path)
    with pytest.raises(RrarankError, match="checkpoints of another training"):
        train_model(replace(config, seed=43), tmp_path)


def test_the_best_checkpoint_on_dev_is_kept(config, tmp_path):
    (tmp_path / "run.trec").write_text("".join(f"q Q0 d{i} {i + 1} {9 - i} bm25\n" for i in range(6)))
    (tmp_path / "topics.tsv").write_text("q\twhat is a cat\n")
    (tmp_path / "texts.jsonl").write_text(
        "".join(json.dumps({"id": f"d{i}", "contents": text}) + "\n" for i, text in enumerate(TEXTS))
    )
    (tmp_path / "qrels.txt").write_text("q 0 d3 2\nq 0 d0 1\n")
    names = ("run.trec", "qrels.txt", "topics.tsv", "texts.jsonl")
    dev = DevConfig(*(str(tmp_path / name) for name in names), every=2, patience=1)
    train_model(replace(config, dev=dev), tmp_path / "work")
    [log] = read_logs(tmp_path / "work")
    looks = {entry["step"]: entry["eval_ndcg@10"] for entry in log if "eval_ndcg@10" in entry}
    assert set(looks) <= {2, 4, 6}
    assert all(0 < value <= 1 for value in looks.values())


def test_frozen_layers_stay(config, tmp_path, cross_encoder_folder):
    student, _ = train_model(replace(config, frozen=1), tmp_path)
    before, after = load_file(cross_encoder_folder / "model.safetensors"), student.base.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not {name for name in changed if name.startswith(("bert.embeddings", "bert.encoder.layer.0"))}


def test_no_labels_is_one_line(config, tmp_path):
    with pytest.raises(RrarankError, match="no sets: no pair to learn from"):
        train_model(replace(config, stages=(StageConfig(),)), tmp_path)
