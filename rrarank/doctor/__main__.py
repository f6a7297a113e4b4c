"""Is this machine ready? One line a check, and what to do where it is not. `python -m rrarank.doctor`"""

from __future__ import annotations

import argparse
import io
import json
import sys

from rrarank.cli.parser import Parser
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.doctor.checks import FAIL, WARN, Check
from rrarank.doctor.job import check_machine
from rrarank.errors import MissingPrerequisite, say


def main(arguments: Arguments = None) -> int:
    return run_verb(_doctor, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("doctor", "Check this machine; exit 3 if something that rrarank needs is missing.")
    parser.add_argument("--online", action="store_true", help="ask the model hub once; off: nothing leaves the machine")
    parser.add_argument("--json", action="store_true", help="a list of {check, state, seen, todo}, for programs")
    return parser


def _doctor(flags: argparse.Namespace) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # paths may hold what the terminal cannot show
    found = []
    for check in check_machine(online=flags.online):
        found.append(check)
        if not flags.json:
            print(check, flush=True)
    if flags.json:
        print(json.dumps([_entry(check) for check in found], indent=2))
    if failed := [check.name for check in found if check.state == FAIL]:
        raise MissingPrerequisite(f"{len(failed)} of {len(found)} checks failed: {', '.join(failed)}")
    warned = [check.name for check in found if check.state == WARN]
    say(f"{len(found)} checks, none failed, {len(warned)} with a warning{': ' if warned else ''}{', '.join(warned)}")


def _entry(check: Check) -> dict[str, str]:
    return {"check": check.name, "state": check.state, "seen": check.seen, "todo": check.todo}


if __name__ == "__main__":
    sys.exit(main())
