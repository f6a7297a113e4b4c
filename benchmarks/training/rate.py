"""Pairs a second that a trainer learns from: rrarank's beside sentence-transformers' CrossEncoderTrainer.

    python -m benchmarks training rate --set SET.jsonl [--steps 20] [--rounds 3] [--output FILE.json]

Both train all-MiniLM-L6-v2, or --base, with a new head on the same lists in the same order with RankNet, at one length,
learning rate, precision and number of threads. Each run has a fresh process. What is timed goes from the end of the
last warm-up step to the end of the last step, by a hook on the optimiser: reading the batch, tokens, both passes, the
step itself; not imports, loading, checkpoints. A second hook, on the encoder, counts pairs, tokens and padding.

rrarank sorts a step's pairs by length and reads `--chunk` at a time. sentence-transformers keeps their order and reads
`mini_batch_size` at a time: as many for one row; for another its default, which is the number of lists.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain, count, islice
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.common import processor
from rrarank.cli.parser import positive

if TYPE_CHECKING:
    from rrarank.train.config import StageConfig
    from rrarank.train.lists import TrainingList

ARMS = {
    "rrarank": "rrarank",
    "rrarank, term control": "rrarank",
    "sentence-transformers, same mini-batch": "sentence-transformers",
    "sentence-transformers, its default": "sentence-transformers",
}
TOOLS = ("rrarank", "sentence-transformers", "transformers", "torch", "accelerate")
Figures = dict[str, float]


def main() -> None:
    flags = _parser().parse_args()
    flags.set = flags.set.resolve()
    if flags.measure:
        return print(json.dumps(measure(flags.measure, flags)))
    figures = medians(flags, sys.argv[1:])
    show(figures)
    facts = machine(flags)
    print("; ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items()))
    if flags.output:
        flags.output.write_text(json.dumps({**facts, "arms": figures}, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Training pairs a second: rrarank, sentence-transformers.")
    parser.add_argument("--set", required=True, type=Path, metavar="SET", help="distillation set")
    parser.add_argument("--base", default="", metavar="MODEL_FOLDER", help="default: all-MiniLM-L6-v2")
    parser.add_argument("--queries", type=positive, default=40, help="the first so many of the set")
    parser.add_argument("--steps", type=positive, default=20, help="optimiser steps that are timed")
    parser.add_argument("--warm-up", type=positive, default=2, help="steps before them")
    parser.add_argument(
        "--rounds", type=positive, default=3, help="runs of each trainer, interleaved; medians are shown"
    )
    parser.add_argument("--lists", type=positive, default=4, help="lists a step")
    parser.add_argument("--documents", type=positive, default=20, help="documents a list, about")
    parser.add_argument("--chunk", type=positive, default=16, help="pairs that go through the encoder at once")
    parser.add_argument("--max-length", type=positive, default=256, help="most tokens of a pair")
    parser.add_argument("--precision", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    parser.add_argument("--measure", choices=ARMS, help=argparse.SUPPRESS)  # one run, in the process of its own
    return parser


def medians(flags: argparse.Namespace, arguments: Sequence[str]) -> dict[str, Figures]:
    """By arm; with the least and the most pairs a second."""
    found: dict[str, list[Figures]] = {arm: [] for arm in ARMS}
    threads = {name: str(flags.threads) for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")}
    for arm in [*ARMS] * flags.rounds:  # interleaved, so that a slow moment hits all alike
        command = [sys.executable, "-m", "benchmarks.training.rate", *arguments, "--measure", arm]
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | threads)
        found[arm].append(json.loads(run.stdout.splitlines()[-1]))
    return {arm: _summary(runs) for arm, runs in found.items()}


def _summary(runs: Sequence[Figures]) -> Figures:
    rates = [run["pairs"] / run["seconds"] for run in runs]
    middle = {name: median(run[name] for run in runs) for name in runs[0]}
    return {"pairs_per_second": median(rates), "least": min(rates), "most": max(rates), **middle}


def show(figures: dict[str, Figures]) -> None:
    from tabulate import tabulate

    first = figures[next(iter(figures))]
    rows = [
        [arm, one["pairs_per_second"], one["least"], one["most"], one["pairs"], one["tokens"], one["padding"]]
        for arm, one in figures.items()
    ]
    headers = ["trainer", "pairs / s", "least", "most", "pairs", "tokens", "padding"]
    print(tabulate(rows, headers, floatfmt=("", ".1f", ".1f", ".1f", ",.0f", ",.0f", ".1%")))
    if any((one["pairs"], one["tokens"]) != (first["pairs"], first["tokens"]) for one in figures.values()):
        print("NOT THE SAME WORK: pairs or tokens differ")


def machine(flags: argparse.Namespace) -> dict[str, object]:
    """What the figures hold for."""
    import torch

    asked = ("queries", "lists", "documents", "chunk", "max_length", "steps", "warm_up", "rounds", "precision")
    return {
        **processor(),
        **({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}),
        "cores": os.cpu_count(),
        "threads": flags.threads,
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{tool: version(tool) for tool in TOOLS},
        "set": flags.set.name,
        **{name: getattr(flags, name) for name in asked},
    }


# -- one run ----------------------------------------------------------------------------------------------------------


def measure(arm: str, flags: argparse.Namespace) -> Figures:
    """Seconds, pairs, tokens and the share of padding of the timed steps."""
    import torch

    torch.set_num_threads(flags.threads)
    clock = Clock([])
    with tempfile.TemporaryDirectory() as folder:
        train = prepare(arm, flags, Path(folder))
        clock.start()
        train()
    assert len(clock.moments) == flags.warm_up + flags.steps, f"{len(clock.moments)} steps"
    before, after = clock.moments[flags.warm_up - 1], clock.moments[-1]
    pairs, tokens, places = (end - begun for begun, end in zip(before.read, after.read, strict=True))
    return {
        "seconds": after.time - before.time,
        "pairs": pairs,
        "tokens": tokens,
        "padding": 1 - tokens / places,
    }


@dataclass(frozen=True)
class Moment:
    """The end of a step.

    Args:
        read: pairs, tokens, and tokens with padding that the encoder has read until then.
    """

    time: float
    read: tuple[int, int, int]


@dataclass(frozen=True)
class Clock:
    """A moment for each optimiser step, whoever makes it."""

    moments: list[Moment]

    def start(self) -> None:
        import torch
        from torch.nn.modules.module import register_module_forward_pre_hook
        from torch.optim.optimizer import register_optimizer_step_post_hook
        from transformers import PreTrainedModel

        masks: list[torch.Tensor] = []

        def look(module: Any, inputs: Any, named: dict[str, Any]) -> None:
            masks.append(named["attention_mask"])

        def find(module: torch.nn.Module, inputs: Any) -> None:
            """Until the encoder is seen for the first time, in a warm-up step."""
            if isinstance(module, PreTrainedModel) and module.base_model is module:
                module.register_forward_pre_hook(look, with_kwargs=True)
                finding.remove()

        def stamp(*_: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            now = time.perf_counter()
            read = [(len(mask), int(mask.sum()), mask.numel()) for mask in masks]
            last = self.moments[-1].read if self.moments else (0, 0, 0)
            pairs, tokens, places = (sum(column) for column in zip(last, *read, strict=True))
            self.moments.append(Moment(now, (pairs, tokens, places)))
            masks.clear()

        finding = register_module_forward_pre_hook(find)
        register_optimizer_step_post_hook(stamp)


def prepare(arm: str, flags: argparse.Namespace, folder: Path) -> Callable[[], object]:
    """The call that trains for the warm-up and the timed steps."""
    from rrarank.train.config import StageConfig

    stage = StageConfig((str(flags.set),), lists=flags.lists, documents=flags.documents, max_queries=flags.queries)
    wholes, wanted = whole_lists(stage), flags.lists * (flags.warm_up + flags.steps)
    if ARMS[arm] == "rrarank":
        return prepare_ours(arm, flags, stage, wanted / len(one_epoch(wholes, flags.documents, 0)), folder)
    plan = list(islice(chain.from_iterable(one_epoch(wholes, flags.documents, n) for n in count()), wanted))
    mini_batch = flags.chunk if arm.endswith("same mini-batch") else None
    return prepare_theirs(plan, flags, stage, mini_batch, folder)


def whole_lists(stage: "StageConfig") -> "list[TrainingList]":
    from rrarank.data.distillation_set import read_set
    from rrarank.train.lists import training_list

    labels: Iterator[Any] = chain.from_iterable(read_set(path)[: stage.max_queries] for path in stage.sets)
    return [found for label in labels if (found := training_list(label, stage.missing, Random(0)))]


def one_epoch(wholes: "Sequence[TrainingList]", documents: int, number: int) -> "list[TrainingList]":
    from rrarank.train.config import TrainConfig
    from rrarank.train.lists import epoch

    return epoch(wholes, documents, TrainConfig.seed, number)


def prepare_ours(
    arm: str, flags: argparse.Namespace, stage: "StageConfig", epochs: float, folder: Path
) -> Callable[[], object]:
    """`train_stages` as `rrarank.train` calls it; it loads the model itself, before the first step."""
    from dataclasses import replace

    from rrarank.storage.model_folders import quiet
    from rrarank.train.config import TrainConfig
    from rrarank.train.term_control import TermControlConfig
    from rrarank.train.trainer import train_stages

    config: TrainConfig = TrainConfig(
        base=flags.base,
        stages=(replace(stage, epochs=epochs),),
        term_control=TermControlConfig() if arm.endswith("term control") else None,
        max_length=flags.max_length,
        precision=flags.precision,
        chunk=flags.chunk,
        save_every=10**6,
    )

    def train() -> None:
        with quiet():
            train_stages(config, folder, threads=flags.threads)

    return train


def prepare_theirs(
    plan: "Sequence[TrainingList]",
    flags: argparse.Namespace,
    stage: "StageConfig",
    mini_batch: int | None,
    folder: Path,
) -> Callable[[], object]:
    """What its documentation shows for lists with labels, with our settings."""
    import torch
    from datasets import Dataset, disable_progress_bars  # type: ignore[import-untyped]
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.sampler import DefaultBatchSampler
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import RankNetLoss
    from torch.utils.data import SequentialSampler

    from rrarank.storage.model_folders import locate, minilm, quiet

    disable_progress_bars()
    with quiet():
        model = CrossEncoder(
            str(locate(flags.base or minilm())),
            num_labels=1,
            max_length=flags.max_length,
            model_kwargs={"dtype": torch.float32},  # whatever the precision of the passes, as in rrarank
        )
    columns = {
        "query": [one.query for one in plan],
        "docs": [list(one.texts) for one in plan],
        "labels": [list(one.levels) for one in plan],
    }
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=stage.lists,
        batch_sampler=lambda dataset, **options: DefaultBatchSampler(SequentialSampler(dataset), **options),
        learning_rate=stage.learning_rate,
        warmup_steps=stage.warmup,
        weight_decay=stage.weight_decay,
        bf16=flags.precision == "bfloat16",
        fp16=flags.precision == "float16",
        logging_steps=10,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    loss = RankNetLoss(model, mini_batch_size=mini_batch)
    trainer = CrossEncoderTrainer(model=model, args=arguments, train_dataset=Dataset.from_dict(columns), loss=loss)
    return trainer.train  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
