"""Sets in, a trained student out: `transformers.Trainer` over one module {base, term_control}, stage by stage.

A killed training continues from its last checkpoint and ends with the same weights. For several GPUs or machines use
Accelerate: `accelerate launch -m rrarank.train …`.
"""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from rrarank.data.distillation_set import read_set
from rrarank.data.types import LabelledRanking
from rrarank.data.verdicts import answers
from rrarank.errors import RrarankError, shown
from rrarank.storage.files import atomic_write, find
from rrarank.train.base import load_base
from rrarank.train.card import recipe
from rrarank.train.config import StageConfig, TrainConfig, check_config
from rrarank.train.dev import DevRun, load_dev
from rrarank.train.lists import Collator, TrainingList, epoch, training_list
from rrarank.train.reasoning import ReasoningCollator, ReasoningStudent
from rrarank.train.student import Student

Sets = Mapping[str, Sequence[LabelledRanking]]
Follow = Callable[[Mapping[str, Any]], None]


class Trained(NamedTuple):
    """A trained student, its tokenizer, and the facts of its training as `card.recipe` gives them."""

    student: Student
    tokenizer: Any
    recipe: Mapping[str, Any]


def train_stages(
    config: TrainConfig, work: Path, *, threads: int = 0, workers: int = 0, follow: Follow = lambda _: None
) -> Trained:
    """Train a student through all stages.

    Args:
        work: folder of checkpoints; a finished stage of the same training is not repeated.
        threads: CPU threads; 0 for the library's default.
        workers: processes that tokenise the next batches ahead of a GPU; 0 for none.
        follow: receives every entry of the log.

    Raises:
        RrarankError: nothing to learn from, a base that does not fit, or a folder of another training.
    """
    check_config(config)
    sets = read_sets(config)
    facts = recipe(config, sets)
    wanted = json.dumps(facts, indent=2) + "\n"
    _check_other(work, wanted)
    dev = load_dev(config.dev) if config.dev else None
    stages = [_training_lists(stage, config, sets) for stage in config.stages]
    set_seed(config.seed)  # of the new heads
    tokenizer, base, head = load_base(config, threads)
    student = _student(config, tokenizer, base, head)
    with atomic_write(work / _RECIPE) as file:
        file.write(wanted)
    collator = _collator(config, tokenizer)
    for number, (stage, lists) in enumerate(zip(config.stages, stages, strict=True), start=1):
        arguments = _arguments(config, stage, work / f"stage-{number}", workers)
        _train_stage(student, collator, config, stage, lists, dev, arguments, follow)
    return Trained(student, tokenizer, facts)


_RECIPE = "recipe.json"


def _check_other(work: Path, wanted: str) -> None:
    """Refuse a folder that holds something else, or checkpoints of another recipe."""
    path = work / _RECIPE
    if path.is_file():
        if any(work.glob("stage-*/*")) and path.read_bytes() != wanted.encode():
            raise RrarankError(
                f"{work}: holds the checkpoints of another training; remove it, or give another --output"
            )
    elif work.exists() and (not work.is_dir() or any(not found.name.startswith(".") for found in work.iterdir())):
        raise RrarankError(
            f"{work}: already exists and contains no training checkpoints; move it, or give another --output"
        )


def _training_lists(
    stage: StageConfig, config: TrainConfig, sets: Mapping[str, Sequence[LabelledRanking]]
) -> list[TrainingList]:
    rng = random.Random(config.seed)
    labels = [label for path in stage.sets for label in sets[path][: stage.max_queries or None]]
    said = [answers(label, config.reasoning) if config.reasoning else None for label in labels]
    read = zip(labels, said, strict=True)
    lists = [found for label, answer in read if (found := training_list(label, stage.missing, rng, answer))]
    if not lists:
        where = ", ".join(stage.sets) or "no sets"
        raise RrarankError(f"{where}: no pair to learn from; give --sets with listed documents")
    return lists


def read_sets(config: TrainConfig) -> Sets:
    """path -> labels, each set that the configuration names read once."""
    return {path: _labels(path) for stage in config.stages for path in stage.sets}


def _labels(path: str) -> list[LabelledRanking]:
    """Read a set and check that its grades and scores are numbers."""
    labels = read_set(find(path))
    for label in labels:
        for name in ("grades", "scores"):
            told = label.provenance.get(name)
            values = told.values() if isinstance(told, Mapping) else ()
            if odd := [value for value in values if type(value) not in (int, float)]:
                where = f"{path}: query {label.query.qid!r}"
                raise RrarankError(f"{where}: {name} in the provenance are {shown(odd)}, expected numbers")
    return labels


def _student(config: TrainConfig, tokenizer: Any, base: Any, head: Any) -> Student:
    if config.reasoning:
        return ReasoningStudent(base, tokenizer, config.reasoning, head)
    return Student(base, tokenizer, config.term_control)


def _collator(config: TrainConfig, tokenizer: Any) -> Collator:
    sizes = (tokenizer, config.max_length, config.chunk)
    if config.reasoning and config.prompt:
        return ReasoningCollator(*sizes, config.prompt, config.reasoning.reason_tokens)
    return Collator(*sizes)


# -- one stage --------------------------------------------------------------------------------------------------------


def _train_stage(
    student: Student,
    collator: Collator,
    config: TrainConfig,
    stage: StageConfig,
    lists: Sequence[TrainingList],
    dev: DevRun | None,
    arguments: TrainingArguments,
    follow: Follow,
) -> None:
    """Train, or take over the weights where the stage is done."""
    folder = Path(arguments.output_dir)
    done = folder / "done.safetensors"
    if not done.is_file():
        student.loss = stage.loss
        trainer = _StageTrainer(
            model=student,
            args=arguments,
            train_dataset=_plan(lists, stage, config.seed),
            eval_dataset=[] if dev else None,  # `evaluate` has its own, the Trainer only asks whether there is one
            data_collator=collator,
            callbacks=[EarlyStoppingCallback(config.dev.patience)] if config.dev else [],
            dev=dev,
            follow=follow,
        )
        trainer.remove_callback(PrinterCallback)  # `follow` tells the same
        trainer.train(resume_from_checkpoint=_last_whole_checkpoint(folder))
        if trainer.is_world_process_zero():
            _write_log(folder, trainer.state.log_history)
            _tell_examples(student, collator, lists[0], follow)
            save_file(student.state_dict(), folder / "done.tmp")
            (folder / "done.tmp").replace(done)
        trainer.accelerator.wait_for_everyone()
    student.load_state_dict(load_file(done))


def _tell_examples(student: Student, collator: Collator, one: TrainingList, follow: Follow) -> None:
    """The best and the worst document of a list with what Token Selection took; not in the log, which holds no text."""
    if student.term_control:
        ends = replace(one, texts=(one.texts[0], one.texts[-1]), levels=(1.0, 0.0), scores=())
        device = next(student.parameters()).device
        chunks = [{name: value.to(device) for name, value in chunk.items()} for chunk in collator([ends])["chunks"]]
        for line in student.eval().examples(chunks, [2], collator.tokenizer):
            follow({"selected": line})


def _last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end, which is `trainer_state.json`; torn ones are passed over."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return str(path)
    return None


def _arguments(config: TrainConfig, stage: StageConfig, folder: Path, workers: int) -> TrainingArguments:
    looks = config.dev.every if config.dev else config.save_every
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,  # the plan holds them all
        train_sampling_strategy="sequential",
        per_device_train_batch_size=stage.lists,
        gradient_accumulation_steps=stage.accumulate,
        learning_rate=stage.learning_rate,
        warmup_steps=stage.warmup,  # below 1: a share of the steps
        weight_decay=stage.weight_decay,
        bf16=config.precision == "bfloat16",
        fp16=config.precision == "float16",
        seed=config.seed,
        dataloader_num_workers=workers,
        logging_steps=10,
        save_steps=looks,
        save_total_limit=2,
        eval_strategy="steps" if config.dev else "no",
        eval_steps=looks,
        load_best_model_at_end=bool(config.dev),
        metric_for_best_model=f"eval_{config.dev.measure}" if config.dev else None,
        greater_is_better=True,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
    )


def _plan(lists: Sequence[TrainingList], stage: StageConfig, seed: int) -> list[TrainingList]:
    """Every list of the stage in the order in which it is seen."""
    size = len(epoch(lists, stage.documents, seed, 0))
    wanted = max(1, round(size * stage.epochs))
    plan: list[TrainingList] = []
    for number in count():
        plan += epoch(lists, stage.documents, seed, number)
        if len(plan) >= wanted:
            return plan[:wanted]
    raise AssertionError


def _write_log(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    with atomic_write(folder / _LOG) as file:
        file.writelines(json.dumps({"stage": folder.name, **entry}) + "\n" for entry in history)


def read_logs(work: Path) -> list[list[dict[str, Any]]]:
    """The entries of each finished stage."""
    logs = sorted(work.glob(f"stage-*/{_LOG}"), key=lambda path: int(path.parent.name.removeprefix("stage-")))
    return [[json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in logs]


_LOG = "log.jsonl"


class _StageTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped
    """The Trainer, with the parts of the loss and the pairs a second in its log, and our own engine to evaluate."""

    def __init__(self, *, dev: DevRun | None, follow: Follow, **settings: Any) -> None:
        super().__init__(**settings)
        self.dev, self.follow = dev, follow
        self.parts: defaultdict[str, list[float]] = defaultdict(list)
        self.since = time.perf_counter()

    def compute_loss(
        self, model: Any, inputs: Mapping[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        outputs = model(**inputs)
        if not outputs["loss"].isfinite():
            raise RrarankError(
                f"step {self.state.global_step + 1}: the loss is {outputs['loss'].item()}; "
                "lower learning_rate, or look at the scores and options of the loss"
            )
        for name, value in outputs.items():
            if name != "loss" and value.dim() == 0:
                self.parts[name].append(float(value.detach()))
        self.parts["pairs"].append(len(outputs["scores"]))
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means of the loss's parts since the last entry, and the pairs a second."""
        if pairs := self.parts.pop("pairs", []):
            logs |= {name: sum(values) / len(values) for name, values in self.parts.items()}
            logs["pairs_per_second"] = sum(pairs) / (time.perf_counter() - self.since)
            self.parts.clear()
            self.since = time.perf_counter()
        super().log(logs, start_time)
        if self.is_world_process_zero():
            self.follow(self.state.log_history[-1] | {"steps": self.state.max_steps})

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The measure on the dev run, of the model as it would be saved now."""
        assert self.dev  # only asked with one
        metrics = {
            f"eval_{self.dev.config.measure}": self.dev.measure(self.model.classifier(), self.data_collator.tokenizer)
        }
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.since = time.perf_counter()  # looking is not training
        return metrics
