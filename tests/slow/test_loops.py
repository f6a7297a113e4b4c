"""Pass/fail loops, short: jobs killed at random moments, odd inputs, PyTerrier beside our commands.

Each loop is a program of its own in this folder, which takes larger numbers by its flags.
"""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


def loop(name, *flags):
    command = [sys.executable, str(HERE / f"{name}.py"), *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parents[1], timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_labelling_job_killed_twice_makes_the_same_set_and_asks_nothing_again():
    said = loop("label_kills", "--queries", 20, "--kills", 2)
    assert said.startswith("2 kills; ")
    assert "; 0 asked though on record; the set is identical" in said


def test_a_reranking_job_killed_at_random_moments_writes_the_same_run():
    assert "8 kills" in loop("rerank_kills", "--kills", 8, "--copies", 2)


def test_odd_inputs_neither_crash_nor_hang_nor_leave_half_a_file():
    loop("fuzz", "--inputs", 500)


def test_pyterrier_gives_the_same_scores_and_figures(shared_data):
    pytest.importorskip("pyterrier")
    loop("neighbours", "--data", shared_data / "dl19", "--queries", 5, "--depth", 20)
