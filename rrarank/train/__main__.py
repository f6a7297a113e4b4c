"""Distillation sets in, a saved student out. `python -m rrarank.train --config rra-bert --sets SET --output FOLDER`"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rrarank.cli.flags import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb, say
from rrarank.measures.figures import training_curves
from rrarank.storage.locks import lock

if TYPE_CHECKING:
    from rrarank.train.config import TrainConfig


def main(arguments: Arguments = None) -> int:
    return run_verb(_train, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("train", "Train a re-ranker from distillation sets; the same command goes on where it was stopped.")
    parser.add_argument("--config", default="rra-bert", metavar="NAME_OR_YAML", help="preset, or a file of settings")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="distillation sets (default: as the config says)")
    parser.add_argument("--base", metavar="PATH_OR_ID", help="encoder or student to start from (default: the config's)")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="the model to write")
    parser.add_argument("--seed", type=int, help="of new heads, order and dropout (default: the config's)")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: the library's own)")
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="processes that tokenise ahead of a GPU (default: none)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model")
    return parser


def _train(flags: argparse.Namespace) -> None:
    from rrarank.train.config import load_config

    output = Path(flags.output)
    config = _with_flags(load_config(flags.config), flags)
    from accelerate import PartialState

    from rrarank.rerankers.cross_encoder import longest_input
    from rrarank.storage.model_folders import quiet
    from rrarank.train.card import model_card, recipe
    from rrarank.train.saved_model import check_output_folder, save_model
    from rrarank.train.trainer import read_logs, train_model

    check_output_folder(output, flags.overwrite)
    work = output.with_name(f"{output.name}.work")
    first = os.environ.get("RANK", "0") == "0"  # of several processes, it holds the lock for all
    with lock(work) if first else nullcontext():
        with quiet(), _telling_how_to_go_on(work):
            student, tokenizer = train_model(
                config, work, threads=flags.threads or 0, workers=flags.workers or 0, follow=_say
            )
        if not PartialState().is_main_process:
            return
        facts, logs = recipe(config), read_logs(work)
        files = {
            "README.md": model_card(output.name, facts, longest_input(tokenizer, student.base.config)),
            "training.jsonl": "".join(f"{json.dumps(entry)}\n" for log in logs for entry in log),
            "training.svg": training_curves(logs),
        }
        save_model(
            student.classifier(),
            tokenizer,
            output,
            facts={"recipe": facts},
            files=files,
            head=getattr(student, "language_head", None),
            overwrite=flags.overwrite,
        )
        shutil.rmtree(work)
    print(output)


@contextmanager
def _telling_how_to_go_on(work: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if any(work.glob("stage-*/checkpoint-*/trainer_state.json")):  # written last
            say(f"{work}: holds checkpoints; the same command goes on from the last one")
        raise


def _with_flags(config: TrainConfig, flags: argparse.Namespace) -> TrainConfig:
    if flags.sets:
        config = replace(config, stages=tuple(replace(stage, sets=tuple(flags.sets)) for stage in config.stages))
    given = {name: getattr(flags, name) for name in ("base", "seed") if getattr(flags, name) is not None}
    return replace(config, **given)


def _say(entry: Mapping[str, Any]) -> None:
    if "selected" in entry:
        return say(f"selected: {entry['selected']}")
    facts = [f"{name} {value:.4g}" for name, value in entry.items() if name not in ("step", "steps", "epoch")]
    say(f"step {entry['step']:,} of {entry['steps']:,}: {', '.join(facts)}")


if __name__ == "__main__":
    sys.exit(main())
