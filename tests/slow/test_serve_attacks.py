"""The server under four minutes of mixed hostile load; the program `serve_attacks.py` takes other numbers."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_other_clients_do_not_notice_attacks_and_memory_is_flat():
    command = [sys.executable, str(Path(__file__).with_name("serve_attacks.py")), "--seconds", "60", "--rounds", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
