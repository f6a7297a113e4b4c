"""The command `rrarank`: one sub-command a verb. Only the verb that is asked for is imported. `python -m rrarank`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from rrarank.cli import VERBS
from rrarank.cli.parser import Parser


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and given[0] in VERBS:
        return int(_verb(given[0]).main(given[1:]))
    flags = parser().parse_args(given)  # ends the process on --help, --version and errors
    print(_completion(flags.print_completion) if flags.print_completion else parser().format_help(), end="")
    return 0


def parser() -> argparse.ArgumentParser:
    parser = Parser(description="Re-rank first-stage runs with small models distilled from LLMs, and evaluate them.")
    parser.epilog = f"`{parser.prog} VERB --help` explains a verb."
    _add_flags(parser)
    verbs = parser.add_subparsers(metavar="VERB", title="verbs")
    for verb, promise in VERBS.items():
        verbs.add_parser(verb, help=promise, add_help=False)
    return parser


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    script = "print a completion script for bash or zsh, to be sourced by the shell"
    parser.add_argument("--print-completion", choices=["bash", "zsh"], help=script)


class _Version(argparse.Action):
    def __call__(self, *_: object) -> None:
        import rrarank

        print(f"rrarank {rrarank.__version__}")
        sys.exit(0)


def _verb(name: str) -> ModuleType:
    """The module of a verb: `rrarank.fuse`, or `rrarank.train.__main__` where the verb is a folder."""
    spec = find_spec(f"rrarank.{name}")
    is_folder = spec is not None and spec.submodule_search_locations is not None
    return import_module(f"rrarank.{name}.__main__" if is_folder else f"rrarank.{name}")


def _completion(shell: str) -> str:
    """A script that completes verbs, flags, choices and file names."""
    import shtab

    complete = Parser(prog="rrarank")
    _add_flags(complete)
    verbs = complete.add_subparsers()
    for verb, promise in VERBS.items():
        verbs.add_parser(verb, help=promise, add_help=False, parents=[_verb(verb).parser()])
    for action in _actions(complete):
        if action.nargs != 0 and action.choices is None and action.type is None:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # read by shtab
    return str(shtab.complete(complete, shell))


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found = []
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            found += [inner for one in action.choices.values() for inner in _actions(one)]
    return found


if __name__ == "__main__":
    sys.exit(main())
