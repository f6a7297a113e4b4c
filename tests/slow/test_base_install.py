"""The base install in an environment of its own: what it weighs, what it does, and what each extra's absence says."""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from rrarank.cli import VERBS
from rrarank.extras import EXTRA_OF
from tests.test_extras import CASES, write_inputs

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
PACKAGES, GIGABYTES = 75, 1.5


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of a new environment into which pip installed the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("base")
    left_out = shutil.ignore_patterns(".*", "build", "demo", "*.egg-info", "__pycache__")
    source = shutil.copytree(ROOT, folder / "source", ignore=left_out)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run([*pip, *wheel], check=True, cwd=folder)
    shutil.rmtree(source)
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    [built] = folder.glob("*.whl")
    install = ["--python", str(python), "install", "-c", str(ROOT / "constraints.txt"), str(built)]
    subprocess.run([*pip, *install], check=True, cwd=folder)
    return python


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def run(python, *arguments, cwd):
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "JAVA_HOME")}
    command = [str(python), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True)


def printed(python, *arguments, cwd):
    done = run(python, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_small(python, tmp_path):
    listed = "from importlib import metadata; print(*{one.metadata['Name'] for one in metadata.distributions()})"
    assert len(set(printed(python, "-c", listed, cwd=tmp_path).split()) - {"rrarank"}) <= PACKAGES
    if "None" in printed(python, "-c", "import torch; print(torch.version.cuda)", cwd=tmp_path):
        files = (path for path in python.parent.parent.rglob("*") if path.is_file() and not path.is_symlink())
        assert sum(path.stat().st_size for path in files) <= GIGABYTES * 1e9


def test_it_reranks_and_evaluates(python, tmp_path):
    assert printed(python, "-m", "rrarank.rerank", "--run", "bm25.trec", cwd=tmp_path) == "bm25.rra-bert.trec\n"
    flags = ["--qrels", "sample.txt", "--runs", "bm25.trec", "bm25.rra-bert.trec"]
    assert "20 queries" in printed(python, "-m", "rrarank.evaluate", *flags, cwd=tmp_path)
    run(python, "-m", "rrarank.trec", "check", "bm25.rra-bert.trec", cwd=tmp_path)
    ranked = "import rrarank; print(rrarank.rank('why do cats purr', ['Dogs bark.', 'Cats purr when content.'])[0].id)"
    assert printed(python, "-c", ranked, cwd=tmp_path) == "1\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, python, tmp_path):
    assert printed(python, "-m", "rrarank", verb, "--help", cwd=tmp_path).startswith("usage: ")


@pytest.mark.parametrize(("module", "command"), CASES)
def test_every_extra_is_named(module, command, python, folder):
    if module == "httpx2":
        pytest.skip("huggingface-hub brings httpx2")
    done = run(python, "-m", "rrarank", *command.split(), cwd=folder)
    assert done.returncode == 3, done.stderr
    line = done.stderr.splitlines()[-1]
    # What is missing first is named: training with adapters needs the extra `train` too, and `lora` brings it.
    extras = {EXTRA_OF[module], *(name for name in ("openvino", "train") if name in command)}
    assert set(re.findall(r"pip install 'rrarank\[(\w+)\]'$", line)) <= extras
    assert "not installed; " in line
