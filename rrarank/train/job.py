"""A training from its configuration to the saved model folder, callable from Python as from the command."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rrarank.errors import say
from rrarank.extras import check_installed
from rrarank.storage.locks import lock
from rrarank.train.config import TrainConfig, load_config


@dataclass(frozen=True)
class TrainJob:
    """What `train_model` does.

    Args:
        output: the model folder to write; checkpoints lie in `<output>.work` until it is done.
        config: a preset's name, a YAML file, or a configuration.
        sets: distillation sets for every stage; none for those of the configuration.
        base: encoder or student to start from; empty for the configuration's.
        seed: of new heads, order and dropout; None for the configuration's.
        threads: CPU threads; 0 for the library's default.
        workers: processes that tokenise ahead of a GPU; 0 for none.
        overwrite: replace an existing model.
    """

    output: Path
    config: str | TrainConfig = "rra-bert"
    sets: Sequence[str] = ()
    base: str = ""
    seed: int | None = None
    threads: int = 0
    workers: int = 0
    overwrite: bool = False


def train_model(job: TrainJob) -> Path:
    """Train a student and save it as a plain `…ForSequenceClassification` folder; returns the folder.

    A job that was stopped goes on from its last checkpoint and ends with the same weights.

    Raises:
        MissingPrerequisite: the extra `train`, or `lora` where adapters are trained, is not installed.
        RrarankError: a faulty configuration, nothing to learn from, or an output that may not be replaced.
    """
    config = _configured(job)
    check_installed("accelerate", "matplotlib", extra="train")
    if config.lora:
        check_installed("peft")
    from accelerate import PartialState

    from rrarank.measures.figures import training_curves
    from rrarank.rerankers.checkpoints import longest_input
    from rrarank.storage.model_folders import quiet
    from rrarank.train.card import model_card
    from rrarank.train.saved_model import check_output_folder, save_model
    from rrarank.train.trainer import read_logs, train_stages

    check_output_folder(job.output, job.overwrite)
    work = job.output.with_name(f"{job.output.name}.work")
    is_first = os.environ.get("RANK", "0") == "0"  # of several processes, the first holds the lock for all
    with lock(work) if is_first else nullcontext():
        with quiet(), _say_how_to_continue(work):
            trained = train_stages(config, work, threads=job.threads, workers=job.workers, follow=_report)
        if not PartialState().is_main_process:
            return job.output
        logs = read_logs(work)
        longest = longest_input(trained.tokenizer, trained.student.base.config)
        files = {
            "README.md": model_card(job.output.name, trained.recipe, longest),
            "training.jsonl": "".join(f"{json.dumps(entry)}\n" for log in logs for entry in log),
            "training.svg": training_curves(logs),
        }
        save_model(
            trained.student.classifier(),
            trained.tokenizer,
            job.output,
            facts={"recipe": trained.recipe},
            files=files,
            head=getattr(trained.student, "language_head", None),
            overwrite=job.overwrite,
        )
        shutil.rmtree(work)
    return job.output


def _configured(job: TrainJob) -> TrainConfig:
    config = load_config(job.config) if isinstance(job.config, str) else job.config
    if job.sets:
        config = replace(config, stages=tuple(replace(stage, sets=tuple(job.sets)) for stage in config.stages))
    seed = config.seed if job.seed is None else job.seed
    return replace(config, base=job.base or config.base, seed=seed)


@contextmanager
def _say_how_to_continue(work: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if any(work.glob("stage-*/checkpoint-*/trainer_state.json")):  # the last file of a checkpoint
            say(f"{work}: contains checkpoints; the same command continues from the last one")
        raise


def _report(entry: Mapping[str, Any]) -> None:
    """Print one entry of the training log."""
    if "selected" in entry:
        return say(f"selected: {entry['selected']}")
    facts = [f"{name} {value:.4g}" for name, value in entry.items() if name not in ("step", "steps", "epoch")]
    say(f"step {entry['step']:,} of {entry['steps']:,}: {', '.join(facts)}")
