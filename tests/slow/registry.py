"""An environment of its own for a test: the packages of this one, and others from the registry on top."""

import re
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

UNREACHABLE = re.compile("No matching distribution|Could not find a version|Connection|Temporary failure|Max retries")


def make_environment(folder: Path, *steps: list[str]) -> str:
    """The path of its python. Each step is what one `pip install` is given.

    The test is skipped where the registry is not reachable.
    """
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    [own] = (folder / "lib").glob("python*/site-packages")
    # `addsitedir` also reads the .pth files there, by which an editable install is found.
    (own / "shared.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    for wanted in steps:
        command = [python, "-m", "pip", "install", "--quiet", *wanted]
        installed = subprocess.run(command, capture_output=True, text=True)
        if installed.returncode and UNREACHABLE.search(installed.stderr):
            pytest.skip(f"the registry has no {wanted} for this machine: {installed.stderr.splitlines()[-1]}")
        assert installed.returncode == 0, installed.stderr
    return python
