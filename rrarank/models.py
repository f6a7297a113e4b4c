"""Fetch a model once and verify it, so that later jobs need no network. `python -m rrarank.models pull NAME`"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rrarank.cli.parser import Parser
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.errors import RrarankError, say
from rrarank.storage.files import read_json
from rrarank.storage.model_folders import fingerprint, locate
from rrarank.storage.weights import verify_weights


def main(arguments: Arguments = None) -> int:
    return run_verb(_models, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("models", "Fetch a model from the hub and verify it; print its folder.")
    parser.add_argument("what", choices=["pull"], help="fetch what is not on disk, and check that it is whole")
    parser.add_argument("model", metavar="NAME", help="hub id, such as cross-encoder/ms-marco-MiniLM-L6-v2")
    parser.add_argument("--allow-pickle", action="store_true", help="accept weights that exist only as a pickle")
    return parser


def _models(flags: argparse.Namespace) -> None:
    print(pull_model(flags.model, allow_pickle=flags.allow_pickle))


def pull_model(model: str, *, allow_pickle: bool = False) -> Path:
    """The folder of a model, downloaded if it is not on disk, and verified.

    What it and its modules need is there, no code of its own, every safetensors file is as long as its header says, and
    every JSON file can be read.

    Raises:
        MissingResource: the hub does not give it.
        RrarankError: a file is missing or torn, or the model needs code of its own.
    """
    if not model.strip():
        raise RrarankError("no model; give a hub id, such as cross-encoder/ms-marco-MiniLM-L6-v2")
    folder = locate(model, allow_pickle=allow_pickle)
    tensors = verify_weights(folder)
    for path in sorted(folder.rglob("*.json")):
        if read_json(path) is None:
            raise RrarankError(f"{path}: holds no JSON; remove it and fetch it again")
    say(f"{model}: {tensors:,} tensors, sha256 {fingerprint(folder)[:16]} of weights, tokenizer and configuration")
    return folder


if __name__ == "__main__":
    sys.exit(main())
