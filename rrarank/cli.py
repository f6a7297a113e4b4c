"""What every verb shares: one-line errors, exit codes, flags that stand for nothing heavy."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence

from rrarank.errors import RrarankError

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
