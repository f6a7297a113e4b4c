"""Is this machine ready? One line a check, and what to do where it is not. `python -m rrarank.doctor`"""

from __future__ import annotations

import argparse
import getpass
import io
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rrarank.cli.flags import Parser
from rrarank.cli.verbs import Arguments, run_verb, say
from rrarank.doctor import checks, machine
from rrarank.doctor.checks import FAIL, WARN, Check, Look
from rrarank.errors import MissingPrerequisite
from rrarank.storage.model_folders import SHIPPED

LOOKS: dict[str, Look] = {
    "python": checks.python,
    "packages": checks.packages,
    "extras": checks.extras,
    "java": checks.java,
    "anserini": checks.anserini,
    f"model {SHIPPED}": checks.shipped_model,
    "bi-encoder": checks.bi_encoder,
    "model hub": checks.hub,
    "ir_datasets home": machine.data_sets,
    "LLM endpoint": checks.llm_key,
    "cores": machine.cores,
    "threads": machine.threads,
    "torch": machine.torch,
    "memory": machine.memory,
    "disks": machine.disks,
    "numba cache": machine.numba_cache,
    "encoding": machine.encoding,
    "leftovers": machine.leftovers,
}
ONLINE: dict[str, Look] = {"model hub answers": checks.hub_answers}
SECRET = re.compile("KEY|TOKEN|SECRET|PASS|CREDENTIAL", re.IGNORECASE)  # in the names of variables


def main(arguments: Arguments = None) -> int:
    return run_verb(_doctor, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("doctor", "Check this machine; exit 3 if something that rrarank needs is missing.")
    parser.add_argument(
        "--online", action="store_true", help="ask the model hub, once; off: nothing leaves the machine"
    )
    parser.add_argument("--json", action="store_true", help="a list of {check, state, seen, todo}, for programs")
    return parser


def _doctor(flags: argparse.Namespace) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 is one of the things to report
    found = []
    for check in examine(LOOKS | ONLINE if flags.online else LOOKS):
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


def examine(looks: Mapping[str, Look]) -> Iterator[Check]:
    """What the checks saw; one that breaks is a failure by its name, and the rest go on."""
    for name, look in looks.items():
        try:
            for check in look():
                yield _private(check)
        except Exception as error:  # whatever a damaged machine makes a library raise
            reason = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
            todo = "a damaged installation, or a bug: report it with this line"
            yield _private(Check(name, FAIL, f"the check itself broke ({reason})", todo))


# -- what a report may be shown to others without ---------------------------------------------------------------------


def _private(check: Check) -> Check:
    return replace(check, seen=private(check.seen), todo=private(check.todo))


def private(text: str) -> str:
    """Without secrets, the path of the home folder, and the names of user and host in other paths."""
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 8:  # a shorter one would blank out common words
            text = text.replace(value, "***")
    text = re.sub(r"://[^/@\s]+@", "://***@", text)  # as of a proxy
    if len(home := str(Path.home())) > 1:
        text = re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w.-])", "~", text)
    for name, placeholder in {_user(): "USER", platform.node(): "HOST"}.items():
        if name:
            text = re.sub(rf"(?<=/){re.escape(name)}(?![\w.-])", placeholder, text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in passwd
        return ""


if __name__ == "__main__":
    sys.exit(main())
