"""What every verb shares: one-line errors, exit codes, flags that stand for nothing heavy."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence

from rrarank import registry
from rrarank.errors import RrarankError

BACKENDS = ("torch", "onnx", "openvino", "auto")
PRECISIONS = ("fp32", "bf16", "fp16", "int8")

Arguments = Sequence[str] | None

INTERRUPTED = 130  # 128 + SIGINT, as shells say it
CLOSED_PIPE = 141  # 128 + SIGPIPE


def run_verb(verb: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser, arguments: Arguments) -> int:
    """Parse and run; what a user can cause becomes one line and an exit code, a bug keeps its traceback."""
    try:
        verb(parser.parse_args(arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
    except RrarankError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted; nothing is half-written")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing left to flush into the closed pipe
        return CLOSED_PIPE
    except OSError as error:
        say(f"error: {error.filename or 'system'}: {error.strerror or str(error).splitlines()[0]}")
        return RrarankError.exit_code
    return 0


def say(line: str) -> None:
    """News goes to stderr; stdout is for results."""
    print(line, file=sys.stderr)


class _Defaults(argparse.ArgumentDefaultsHelpFormatter):
    """Defaults in the help, but only those that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        unsaid = action.default in (None, False, "") or "(default:" in (action.help or "")
        return action.help if unsaid else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """argparse with one-line usage errors, defaults in the help, and no abbreviated flags."""

    def __init__(self, verb: str, description: str) -> None:
        super().__init__(
            prog=f"python -m rrarank.{verb}",
            description=description,
            formatter_class=_Defaults,
            allow_abbrev=False,
        )

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def positive(text: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text) or not 1 <= int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number from 1 to 2147483647")
    return int(text)


def add_threads(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: the library's own)")


def add_reranker(parser: argparse._ActionsContainer) -> None:
    """All that `reranker_settings` reads, and --reranker itself."""
    add = parser.add_argument
    add("--reranker", default=registry.DEFAULT, metavar="NAME", help="a registered name")
    add("--model", metavar="PATH_OR_ID", help="folder or hub id (default: the reranker's own)")
    add("--allow-pickle", action="store_true", help="read weights that are there as a pickle only; off: safetensors")
    add("--max-length", type=positive, help="tokens per pair (default: the model's maximum)")
    add("--device", help="cpu, cuda, cuda:1, … (default: cuda if there is one)")
    add("--batch-size", type=positive, help="most pairs scored at once (default: as many as fit)")
    add("--backend", choices=BACKENDS, default="torch", help="what runs the model; auto: see which is fastest")
    add("--precision", choices=PRECISIONS, help="of its matrix products (default: fp32)")
    option = "a setting of the reranker's own; repeatable"
    add("--option", action="append", default=[], metavar="KEY=VALUE", help=option)
    add_threads(parser)


def refuse_reranker(flags: argparse.Namespace) -> None:
    """Raise what can be said against the flags of `add_reranker` before anything is loaded."""
    registry.refuse_unknown(flags.reranker)
    if flags.backend == "auto" and flags.precision:
        raise RrarankError("--precision with --backend auto: auto chooses both; give one of the two")


def reranker_settings(flags: argparse.Namespace) -> dict[str, object]:
    """The flags of `add_reranker` as settings for `registry.load_reranker`."""
    names = ("model", "device", "threads", "batch_size", "max_length", "backend", "precision", "allow_pickle")
    return {name: getattr(flags, name) for name in names} | registry.parse_options(flags.reranker, flags.option)
