"""Two jobs, one output: the second is refused; a job that was killed locks nobody out."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from rrarank.errors import RrarankError
from rrarank.storage.locks import lock

HOLD = """
import sys, time
from pathlib import Path
from rrarank.storage.locks import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock on `x`."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout.readline() == "held\n"
        yield job
        job.kill()


def test_while_another_process_is_at_work_there_is_one_line(holder, tmp_path):
    said = "x: another job is at work on it; wait for that, or give another --output"
    with pytest.raises(RrarankError, match=said), lock(tmp_path / "x"):
        pass


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_goes_with_its_process(holder, tmp_path, end):
    os.kill(holder.pid, end)
    holder.wait()
    with lock(tmp_path / "x"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_fails_inside_leaves_no_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), lock(tmp_path / "x"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_lock_may_be_let_go_by_another_thread(tmp_path):
    held = lock(tmp_path / "x")
    held.__enter__()
    thread = threading.Thread(target=held.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    with lock(tmp_path / "x"):
        pass


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RrarankError, match="cannot be written"), lock(tmp_path / "file" / "x"):
        pass
