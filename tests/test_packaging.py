"""The wheel and a plug-in, each installed where the source tree is not on the path."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PLUGIN = '''\
"""Re-ranks by the length of the text: the shortest plug-in there is."""

from rrarank import Reranker, reorder


class Longest(Reranker):
    def rerank_block(self, queries):
        return [reorder(ranking, [len(c.text) for c in ranking.candidates]) for ranking in queries]
'''
PLUGIN_PROJECT = """\
[project]
name = "rrarank-longest"
version = "1"
[project.entry-points."rrarank.rerankers"]
longest = "rrarank_longest:Longest"
"""


def run(*command, cwd):
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(source, environment, cwd):
    """Build `source` without downloads and install it, without its dependencies, into an environment."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", cwd / "wheels", source, cwd=cwd)
    [wheel] = (cwd / "wheels").glob("*.whl")
    run(*pip, "--python", environment, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=cwd)


@pytest.fixture
def environment(tmp_path):
    """The Python of an empty environment that sees this one's libraries, but not this source tree."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    [site_packages] = folder.glob("lib/python*/site-packages")
    (site_packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")  # its .pth files are not read
    return folder / "bin" / "python"


def test_the_wheel_reranks_outside_the_tree(environment, tmp_path):
    left_out = shutil.ignore_patterns(".*", "build", "demo", "*.egg-info", "__pycache__")
    install(shutil.copytree(ROOT, tmp_path / "source", ignore=left_out), environment, tmp_path)
    home = run(environment, "-c", "import rrarank; print(rrarank.__file__)", cwd=tmp_path)
    assert str(tmp_path) in home
    flags = ["--run", "bm25.trec", "--reranker", "bm25"]
    assert run(environment, "-m", "rrarank.rerank", *flags, cwd=tmp_path) == "bm25.bm25.trec\n"
    assert len((tmp_path / "bm25.bm25.trec").read_text().splitlines()) == 1292
    table = run(environment, "-m", "rrarank.evaluate", "--qrels", "sample.txt", "--runs", "bm25.trec", cwd=tmp_path)
    assert "20 queries" in table
    files = (
        "import rrarank; from pathlib import Path; print(*Path(rrarank.model_path('rra-bert-tiny')).rglob('*.json'))"
    )
    assert "/rra-bert-tiny/1_SpladePooling/config.json" in run(environment, "-c", files, cwd=tmp_path)
    script = environment.with_name("rrarank")
    assert run(script, "--version", cwd=tmp_path).startswith("rrarank ")
    assert run(script, "rerank", *flags, "--output", "again.trec", cwd=tmp_path) == "again.trec\n"
    shipped = "from rrarank.storage.yaml_settings import shipped"
    shipped += "; from rrarank.generate.writer import load_query_prompt as load"
    told = run(environment, "-c", f"{shipped}; print(shipped('prompts'), bool(load()))", cwd=tmp_path)
    assert (
        told == "['rank-all', 'rank-all-ko', 'reasons', 'relevant-only', 'relevant-only-ko', 'verdict-reason'] True\n"
    )


def test_a_plugin_reranks_by_its_name(environment, tmp_path):
    project = tmp_path / "plugin"
    project.mkdir()
    (project / "rrarank_longest.py").write_text(PLUGIN)
    (project / "pyproject.toml").write_text(PLUGIN_PROJECT)
    assert len((PLUGIN + PLUGIN_PROJECT).splitlines()) <= 15
    install(project, environment, tmp_path)
    [site_packages] = environment.parent.parent.glob("lib/python*/site-packages")
    (site_packages / "rrarank").symlink_to(ROOT / "rrarank")
    (tmp_path / "r.trec").write_text("1 Q0 a 1 2 x\n1 Q0 b 2 1 x\n")
    (tmp_path / "t.tsv").write_text("1\tquery\n")
    (tmp_path / "c.tsv").write_text("a\tshort\nb\tlonger\n")
    flags = ["--run", "./r.trec", "--topics", "t.tsv", "--collection", "c.tsv", "--reranker", "longest"]
    run(environment, "-m", "rrarank.rerank", *flags, cwd=tmp_path)
    assert [line.split()[2] for line in (tmp_path / "r.longest.trec").read_text().splitlines()] == ["b", "a"]
