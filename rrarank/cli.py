"""What every verb shares: one-line errors, exit codes, flags that stand for nothing heavy."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rrarank import registry
from rrarank.errors import RrarankError
from rrarank.files import FULL, remove_leftovers
from rrarank.journal import Journal, journal_path
from rrarank.sidecar import sidecar_path

BACKENDS = ("torch", "onnx", "openvino", "auto")
PRECISIONS = ("fp32", "bf16", "fp16", "int8")

Arguments = Sequence[str] | None

INTERRUPTED = 130  # 128 + SIGINT, as shells say it
CLOSED_PIPE = 141  # 128 + SIGPIPE
TERMINATED = 143  # 128 + SIGTERM


class Terminated(KeyboardInterrupt):
    """SIGTERM, as schedulers send it: ends a job as Ctrl-C does."""


def run_verb(verb: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser, arguments: Arguments) -> int:
    """Parse and run; what a user can cause becomes one line and an exit code, a bug keeps its traceback."""
    try:
        with _terminable():
            verb(parser.parse_args(arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
    except RrarankError as error:
        say(f"error: {error}")
        return error.exit_code
    except Terminated:
        say("terminated; nothing is half-written")
        return TERMINATED
    except KeyboardInterrupt:
        say("interrupted; nothing is half-written")
        return INTERRUPTED
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # as with 2>&1; nothing is left to flush into the closed pipe
            os.dup2(nowhere, stream.fileno())
        return CLOSED_PIPE
    except OSError as error:
        what = error.strerror or str(error).splitlines()[0]
        todo = "; make room there, or write elsewhere, and type the command again" if error.errno in FULL else ""
        say(f"error: {error.filename or 'system'}: {what}{todo}")
        return RrarankError.exit_code
    return 0


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises `Terminated`, where signals can be handled: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def keeping(output: str | Path, what: str) -> Iterator[Journal]:
    """The journal of a job that makes `output`, which says how to go on; gone again if nothing is in it.

    Args:
        what: its records are, such as `answers`.
    """
    with Journal(journal_path(output)) as journal:
        remove_leftovers(output, sidecar_path(output))
        if len(journal):
            say(f"going on from {journal.path}, which holds {len(journal):,} {what}")
        try:
            yield journal
        except (KeyboardInterrupt, OSError):
            if len(journal):
                say(f"{journal.path} keeps {len(journal):,} {what}; the same command goes on from there")
            raise
        finally:
            if journal.is_empty:
                journal.remove()


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
