"""What a killed job left is found, named and removed; what a running job writes is left alone."""

import logging
import subprocess
import sys

import pytest

from rrarank.storage.files import atomic_write
from rrarank.storage.leftovers import is_abandoned, remove_leftovers, temporary_folder

WRITE = """
import sys, time
from rrarank.storage.files import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write("half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is in the middle of writing `run`."""
    command = [sys.executable, "-c", WRITE, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def test_a_running_writer_is_left_alone_and_a_killed_ones_file_is_named_and_removed(writer, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    [temporary] = tmp_path.iterdir()
    assert not is_abandoned(temporary)
    with atomic_write(tmp_path / "run") as file:
        file.write("whole")
    assert temporary.exists()
    assert caplog.text == ""
    writer.kill()
    writer.wait()
    assert is_abandoned(temporary)
    with atomic_write(tmp_path / "run") as file:
        file.write("again")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert f"removing what a killed job left: '{temporary.name}'" in caplog.text


def test_leftovers_are_those_of_the_output_and_of_no_other(tmp_path):
    (tmp_path / ".run.abcd1234.tmp").mkdir()  # of --submission
    (tmp_path / ".run.abcd1234.tmp" / "run").touch()
    (tmp_path / ".run.json.abcd1234.tmp").touch()
    others = [tmp_path / name for name in (".run.v2.abcd1234.tmp", ".run.lock", "run", "run.json")]
    for other in others:
        other.touch()
    remove_leftovers(tmp_path / "run", tmp_path / "run.json")
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_folder_in_use_is_held(tmp_path):
    with temporary_folder(tmp_path / "model") as work:
        assert not is_abandoned(work)
        remove_leftovers(tmp_path / "model")
        assert work.is_dir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [".mine.tmp", "run.abcd1234.tmp", ".run.abcd1234.bak", ".run.ABCD1234.tmp"])
def test_other_names_are_not_ours(tmp_path, name):
    (tmp_path / name).touch()
    assert not is_abandoned(tmp_path / name)
