"""All checks of this machine; reports contain no secrets and no personal paths."""

from __future__ import annotations

import getpass
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rrarank.doctor import checks, machine
from rrarank.doctor.checks import FAIL, Check, Look
from rrarank.storage.model_folders import SHIPPED

LOOKS: dict[str, Look] = {
    "python": checks.python,
    "packages": checks.packages,
    "extras": checks.extras,
    "java": checks.java,
    "anserini": checks.anserini,
    f"model {SHIPPED}": checks.shipped_model,
    "bi-encoder": checks.bi_encoder,
    "ir_datasets home": machine.data_sets,
    "threads": machine.threads,
    "torch": machine.torch,
    "memory": machine.memory,
    "disks": machine.disks,
    "leftovers": machine.leftovers,
}
ONLINE: dict[str, Look] = {"model hub answers": checks.hub_answers}
SECRET = re.compile("KEY|TOKEN|SECRET|PASS|CREDENTIAL", re.IGNORECASE)  # in the names of variables


def check_machine(*, online: bool = False) -> Iterator[Check]:
    """Each check as it is done. One that breaks is reported as a failure, and the rest go on.

    Args:
        online: ask the model hub once; otherwise nothing leaves the machine.
    """
    for name, look in (LOOKS | ONLINE if online else LOOKS).items():
        try:
            for check in look():
                yield _private(check)
        except Exception as error:  # a damaged installation can raise anything
            reason = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
            todo = "a damaged installation, or a bug: report it with this line"
            yield _private(Check(name, FAIL, f"the check itself broke ({reason})", todo))


def _private(check: Check) -> Check:
    return replace(check, seen=private(check.seen), todo=private(check.todo))


def private(text: str) -> str:
    """Replace secrets, the path of the home folder, and the names of user and host in other paths."""
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 8:  # a shorter one would blank out common words
            text = text.replace(value, "***")
    text = re.sub(r"://[^/@\s]+@", "://***@", text)  # such as a proxy's
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
