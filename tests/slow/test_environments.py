"""Each integration in an environment of its own: the packages of this one, and its extra from the registry on top."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from registry import make_environment  # type: ignore[import-not-found]  # pytest finds it beside this file

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("extra", ["haystack", "langchain", "llamaindex"])
def test_an_integration_with_what_its_extra_installs(extra, tmp_path):
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    python = make_environment(tmp_path / "venv", ["-c", str(ROOT / "constraints.txt"), *wanted])
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/integrations/test_{extra}.py"]
    done = subprocess.run(tests, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout, done.stdout
    example = [python, f"examples/{extra}_rerank.py"]
    said = subprocess.run(example, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split(" ", 1)[1][:11] for line in said] == ["Boil an egg", "Eggs keep f"]
