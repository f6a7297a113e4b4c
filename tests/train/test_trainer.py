import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel

from rrarank import RrarankError
from rrarank.data.distillation_set import write_set
from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.train.config import DevConfig, StageConfig, TrainConfig
from rrarank.train.losses import LossConfig
from rrarank.train.term_control import SelectionConfig, TermControlConfig
from rrarank.train.trainer import read_logs, train_stages

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
    entries: list[Mapping[str, Any]] = []
    train_stages(config, tmp_path, follow=entries.append)
    [log] = read_logs(tmp_path)
    assert [entry["step"] for entry in entries if "step" in entry][-1] == 6
    assert {"listed_pairs", "missing_pairs", "term_loss", "selected_of_listed", "pairs_per_second"} <= log[-1].keys()


def test_tokenising_in_other_processes_changes_nothing(config, tmp_path):
    students = [train_stages(config, tmp_path / str(workers), workers=workers)[0] for workers in (0, 2)]
    assert equal(*map(weights, students))


def test_killed_it_goes_on_and_ends_with_the_same_weights(config, tmp_path):
    config = replace(config, stages=(replace(config.stages[0], epochs=5),))  # 30 steps
    whole, _, _ = train_stages(config, tmp_path / "whole")
    command = [sys.executable, "-c", JOB.format(config=config, work=str(tmp_path / "killed"))]
    job = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())})
    while not (tmp_path / "killed/stage-1/checkpoint-4").exists() and job.poll() is None:
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed/stage-1/done.safetensors").exists()
    steps = []
    resumed, _, _ = train_stages(config, tmp_path / "killed", follow=lambda entry: steps.append(entry.get("step")))
    assert equal(weights(whole), weights(resumed))


JOB = """
from pathlib import Path
from rrarank.train.config import *
from rrarank.train.losses import LossConfig
from rrarank.train.term_control import *
from rrarank.train.trainer import train_stages
train_stages({config!r}, Path({work!r}))
"""


def test_a_torn_checkpoint_is_passed_over(config, tmp_path):
    whole, _, _ = train_stages(config, tmp_path)
    (tmp_path / "stage-1/done.safetensors").unlink()
    (tmp_path / "stage-1/checkpoint-6/trainer_state.json").write_text("{")
    again, _, _ = train_stages(config, tmp_path)
    assert equal(weights(whole), weights(again))


def test_two_stages_the_second_starts_where_the_first_ended(config, tmp_path):
    first = replace(config.stages[0], loss=LossConfig("listnet", infonce=1.0))
    one, _, _ = train_stages(replace(config, stages=(first,)), tmp_path / "one")
    idle = replace(config.stages[0], learning_rate=0.0)
    two, _, _ = train_stages(replace(config, stages=(first, idle)), tmp_path / "two")
    assert equal(weights(one), weights(two))
    assert [log[0]["stage"] for log in read_logs(tmp_path / "two")] == ["stage-1", "stage-2"]


def test_another_seed_gives_other_weights(config, tmp_path):
    one, _, _ = train_stages(config, tmp_path / "one")
    two, _, _ = train_stages(replace(config, seed=43), tmp_path / "two")
    assert not equal(weights(one), weights(two))


def test_checkpoints_of_another_training_are_not_mixed_in(config, tmp_path):
    train_stages(config, tmp_path)
    with pytest.raises(RrarankError, match="checkpoints of another training"):
        train_stages(replace(config, seed=43), tmp_path)


@pytest.fixture
def dev(tmp_path):
    (tmp_path / "run.trec").write_text("".join(f"q Q0 d{i} {i + 1} {9 - i} bm25\n" for i in range(6)))
    (tmp_path / "topics.tsv").write_text("q\twhat is a cat\n")
    (tmp_path / "texts.jsonl").write_text(
        "".join(json.dumps({"id": f"d{i}", "contents": text}) + "\n" for i, text in enumerate(TEXTS))
    )
    (tmp_path / "qrels.txt").write_text("q 0 d3 2\nq 0 d0 1\n")
    run, qrels, topics, texts = (
        str(tmp_path / name) for name in ("run.trec", "qrels.txt", "topics.tsv", "texts.jsonl")
    )
    return DevConfig(run, qrels, topics, texts, every=2, patience=1)


def test_the_best_checkpoint_on_dev_is_kept(config, dev, tmp_path):
    train_stages(replace(config, dev=dev), tmp_path / "work")
    [log] = read_logs(tmp_path / "work")
    looks = {entry["step"]: entry["eval_ndcg@10"] for entry in log if "eval_ndcg@10" in entry}
    assert set(looks) <= {2, 4, 6}
    assert all(0 < value <= 1 for value in looks.values())


def test_frozen_layers_stay(config, tmp_path, cross_encoder_folder):
    student, _, _ = train_stages(replace(config, frozen=1), tmp_path)
    before, after = load_file(cross_encoder_folder / "model.safetensors"), student.base.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not {name for name in changed if name.startswith(("bert.embeddings", "bert.encoder.layer.0"))}


def test_no_labels_is_one_line(config, tmp_path):
    with pytest.raises(RrarankError, match="no sets: no pair to learn from"):
        train_stages(replace(config, stages=(StageConfig(),)), tmp_path)


def test_what_was_selected_is_told_but_not_kept_in_the_log(config, tmp_path):
    entries: list[Mapping[str, Any]] = []
    train_stages(config, tmp_path, follow=entries.append)
    lines = [entry["selected"] for entry in entries if "selected" in entry]
    assert [line.split(" | ")[0] for line in lines] == ["what is a cat"] * 2
    assert "[" in lines[0]
    assert not [entry for log in read_logs(tmp_path) for entry in log if "selected" in entry]


# -- what cannot be trained, said before it is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("qrels", "measure", "said"),
    [
        ("q 0 other 1\n", "ndcg@10", "none of the first 100 documents of .* is relevant"),
        ("q 0 d3 0\n", "ndcg@10", "none of the first 100 documents of .* is relevant"),
        ("other 0 d3 2\n", "ndcg@10", r"dev: .*none of its queries \('q'\) is in the qrels"),
        ("q 0 d3 2\n", "ndgc@10", "dev: .*ndgc"),
    ],
)
def test_a_dev_run_that_measures_nothing_is_refused(config, dev, tmp_path, qrels, measure, said):
    (tmp_path / "qrels.txt").write_text(qrels)
    with pytest.raises(RrarankError, match=said):
        train_stages(replace(config, dev=replace(dev, measure=measure)), tmp_path / "work")
    assert not (tmp_path / "work").exists()


def save_tiny(folder, tokenizer, model, **config):
    sizes = {"vocab_size": len(tokenizer), "num_hidden_layers": 2, "num_attention_heads": 2}
    AutoModel.from_config(AutoConfig.for_model(model, **sizes, **config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_head_of_two_labels_is_no_base(config, make_cross_encoder, tmp_path):
    with pytest.raises(RrarankError, match="a classifier of 2 labels; give an encoder, or a re-ranker with one label"):
        train_stages(replace(config, base=str(make_cross_encoder(2))), tmp_path)


def test_an_encoder_decoder_is_no_base(config, tokenizer, tmp_path):
    base = save_tiny(tmp_path / "t5", tokenizer, "t5", d_model=16, d_kv=8, d_ff=32)
    with pytest.raises(RrarankError, match="an encoder-decoder"):
        train_stages(replace(config, base=base), tmp_path / "work")


def test_a_decoder_without_a_padding_token_gets_one(config, tokenizer, tmp_path):
    base = save_tiny(tmp_path / "llama", tokenizer, "llama", hidden_size=16, intermediate_size=32)
    student, _, _ = train_stages(replace(config, base=base), tmp_path / "work")
    assert student.base.config.pad_token_id == tokenizer.pad_token_id


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frozen": 3}, "frozen is 3: the base has 2 layers"),
        ({"max_length": 65}, "max_length is 65: the base reads 64 tokens at most"),
        ({"term_control": TermControlConfig(selection=SelectionConfig(layer=3))}, "the base has 2 layers; expected -1"),
    ],
)
def test_what_the_base_has_not_is_one_line(config, tmp_path, changes, said):
    with pytest.raises(RrarankError, match=said):
        train_stages(replace(config, **changes), tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frozen": 1}, "frozen is 1: only for models built as BERT or Llama, not DistilBertModel"),
        ({"dropout": 0.2}, "dropout is 0.2"),
    ],
)
def test_settings_that_only_fit_a_bert_are_refused_elsewhere(config, tokenizer, tmp_path, changes, said):
    base = save_tiny(tmp_path / "distilbert", tokenizer, "distilbert", dim=16, hidden_dim=32)
    with pytest.raises(RrarankError, match=said):
        train_stages(replace(config, base=base, **changes), tmp_path / "work")


@pytest.mark.parametrize("told", [{"grades": {"d3": "high"}}, {"scores": {"d3": None}}])
def test_grades_and_scores_are_numbers(config, tmp_path, told):
    path = tmp_path / "odd.jsonl"
    write_set(path, [replace(labelled("a"), provenance=told)])
    with pytest.raises(RrarankError, match=r"odd.jsonl: query 'a': (grades|scores) in the provenance are"):
        train_stages(replace(config, stages=(StageConfig((str(path),)),)), tmp_path / "work")


def test_a_loss_that_is_no_number_stops_the_training(config, tmp_path):
    stage = replace(config.stages[0], loss=LossConfig(options={"mu": float("nan")}))
    with pytest.raises(RrarankError, match="step 1: the loss is nan"):
        train_stages(replace(config, stages=(stage,)), tmp_path)


def test_fewer_lists_than_a_step_takes_are_one_step(config, tmp_path):
    train_stages(replace(config, stages=(replace(config.stages[0], lists=99),)), tmp_path)
    [log] = read_logs(tmp_path)
    assert log[-1]["step"] == 1
