"""The parser of every command: one-line errors that suggest the nearest flag, and no abbreviated flags."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from rrarank.errors import did_you_mean


class Parser(argparse.ArgumentParser):
    """An argparse parser with defaults in the help, one-line usage errors and "did you mean".

    Args:
        verb: shown in the usage as the user called it: `rrarank VERB` or `python -m rrarank.VERB`.
        prog: used instead of `verb`, by argparse for the parsers of sub-commands.
    """

    def __init__(self, verb: str = "", description: str | None = None, *, prog: str | None = None, **more: Any) -> None:
        super().__init__(prog or called(verb), None, description, formatter_class=_Defaults, allow_abbrev=False, **more)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        given = sys.argv[1:] if args is None else list(args)
        if not {"-h", "--help"} & set(given):
            before_verb = takewhile(lambda argument: argument.startswith("-"), given)
            self._check_flags(list(before_verb) if self._subparsers else given)
        return super().parse_known_args(given, namespace)

    def _check_flags(self, given: Sequence[str]) -> None:
        """Name a misspelt flag before argparse complains about the required flag it was meant to be."""
        for argument in given[: given.index("--") if "--" in given else None]:
            flag = argument.partition("=")[0]
            if re.fullmatch(r"--\S*|-[A-Za-z]\S+", flag) and flag not in self._option_string_actions:
                near = did_you_mean(f"--{flag.lstrip('-')}", self._option_string_actions)
                self.error(f"unrecognized arguments: {argument}{near}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += did_you_mean(str(value), map(str, action.choices or ()))
            raise

    def error(self, message: str) -> None:  # type: ignore[override]
        link = " See" if message.endswith("?") else "; see"
        self.exit(2, f"error: {message}{link} {self.prog} --help\n")


class _Defaults(argparse.ArgumentDefaultsHelpFormatter):
    """Show a default in the help unless it is empty, zero or already explained."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default, text = action.default, action.help or ""
        if isinstance(default, list | tuple):
            said = " ".join(map(str, default)) if any(default) else ""
            return f"{text} (default: {said})" if said and "(default:" not in text else text
        return text if not default or "(default:" in text else super()._get_help_string(action)


def called(verb: str) -> str:
    """The command as the user typed it: by the script `rrarank`, by `python -m rrarank`, or by the verb's module."""
    script = Path(sys.argv[0]) if sys.argv else Path()
    if script.stem == "rrarank":
        return f"rrarank {verb}".strip()
    if script.parts[-2:] == ("rrarank", "__main__.py"):
        return f"python -m rrarank {verb}".strip()
    return f"python -m rrarank.{verb}" if verb else "rrarank"


def positive(text: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text) or not 1 <= int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number from 1 to 2147483647")
    return int(text)
