"""The server under three minutes of mixed hostile load; the program `serve_attacks.py` takes other numbers."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_other_clients_do_not_notice_attacks_and_memory_is_flat(steady_folder):
    """With a tiny model, so that the times are the server's; the program's default is the model that ships."""
    program = str(Path(__file__).with_name("serve_attacks.py"))
    numbers = ["--seconds", "40", "--rounds", "3", "--flags", "--threads", "1"]
    command = [sys.executable, program, *numbers, "--reranker", "cross-encoder", "--model", str(steady_folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
