"""What every verb shares: one-line errors, exit codes, flags that stand for nothing heavy."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from rrarank.errors import RrarankError

INTERRUPTED = 130  # 128 + SIGINT, as shells say it


def run_verb(verb: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Run a verb; what a user can cause becomes one line and an exit code, a bug keeps its traceback."""
    try:
        verb(arguments)
        sys.stdout.flush()
    except RrarankError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted; what was finished is kept, the same command goes on from there")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing left to flush into the closed pipe
        return 1
    except OSError as error:
        say(f"error: {error.filename or 'system'}: {error.strerror or error}")
        return RrarankError.exit_code
    return 0


def say(line: str) -> None:
    """News goes to stderr; stdout is for results."""
    print(line, file=sys.stderr)


class Parser(argparse.ArgumentParser):
    """argparse with one-line usage errors, defaults in the help, and no abbreviated flags."""

    def __init__(self, verb: str, description: str) -> None:
        super().__init__(
            prog=f"python -m rrarank.{verb}",
            description=description,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number from 1")
    return int(text)


def add_threads(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: the library's own)")


Arguments = Sequence[str] | None
