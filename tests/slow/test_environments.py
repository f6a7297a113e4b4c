"""Each integration in an environment of its own: the packages of this one, and its extra from the registry on top."""

import os
import re
import subprocess
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNREACHABLE = re.compile("No matching distribution|Could not find a version|Connection|Temporary failure|Max retries")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("extra", ["haystack", "langchain", "llamaindex"])
def test_an_integration_with_what_its_extra_installs(extra, tmp_path):
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    [own] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # `addsitedir` also reads the .pth files there, by which an editable install is found.
    (own / "shared.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    command = [python, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), *wanted]
    installed = subprocess.run(command, capture_output=True, text=True)
    if installed.returncode and UNREACHABLE.search(installed.stderr):
        pytest.skip(f"the registry has no {wanted} for this machine: {installed.stderr.splitlines()[-1]}")
    assert installed.returncode == 0, installed.stderr
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/integrations/test_{extra}.py"]
    done = subprocess.run(tests, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout, done.stdout
    example = [python, f"examples/{extra}_rerank.py"]
    said = subprocess.run(example, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split(" ", 1)[1][:11] for line in said] == ["Boil an egg", "Eggs keep f"]
