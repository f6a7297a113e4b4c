"""Distillation sets in, a student model out. `python -m rrarank.train --config rra-bert --sets SET --output FOLDER`"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb


def main(arguments: Arguments = None) -> int:
    return run_verb(_train, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        "train", "Train a re-ranker on distillation sets. A stopped training continues by the same command."
    )
    parser.add_argument("--config", default="rra-bert", metavar="NAME_OR_YAML", help="preset, or a YAML file")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="distillation sets (default: the configuration's)")
    parser.add_argument(
        "--base", metavar="PATH_OR_ID", help="encoder or student to start from (default: the configuration's)"
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="the model folder to write")
    parser.add_argument("--seed", type=int, help="of new heads, order and dropout (default: the configuration's)")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: the library's own)")
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="processes that tokenise ahead of a GPU (default: none)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model")
    return parser


def _train(flags: argparse.Namespace) -> None:
    from rrarank.train.job import TrainJob, train_model

    job = TrainJob(
        output=Path(flags.output),
        config=flags.config,
        sets=flags.sets or (),
        base=flags.base or "",
        seed=flags.seed,
        threads=flags.threads or 0,
        workers=flags.workers or 0,
        overwrite=flags.overwrite,
    )
    print(train_model(job))


if __name__ == "__main__":
    sys.exit(main())
