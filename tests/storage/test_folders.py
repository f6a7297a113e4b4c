"""A folder appears whole or not at all, whenever its writer is stopped."""

import os
import sys
from pathlib import Path

import pytest

from rrarank.errors import RrarankError
from rrarank.storage import folders, leftovers
from rrarank.storage.folders import replace_folder
from rrarank.storage.locks import lock

NAMES = ("config", "weights")


def fill(folder, word):
    for name in NAMES:
        (folder / name).write_text(word)


def held(folder):
    """The word that every file of it holds; empty if there is no folder."""
    if not folder.exists():
        return ""
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    [word] = {path.read_text() for path in folder.iterdir()}
    return word


@pytest.fixture
def old(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    fill(folder, "old")
    return folder


def replace(folder, word="new"):
    with replace_folder(folder, overwrite=True) as made:
        fill(made, word)


def no_exchange(monkeypatch):
    monkeypatch.setattr(folders, "_exchange", lambda *_: False)


def test_a_new_folder_appears_when_the_block_ends(tmp_path):
    folder = tmp_path / "below" / "model"
    with replace_folder(folder) as made:
        fill(made, "new")
        assert not folder.exists()
    assert held(folder) == "new"
    assert list(folder.parent.iterdir()) == [folder]
    mask = os.umask(0)
    os.umask(mask)
    assert folder.stat().st_mode & 0o777 == 0o777 & ~mask


@pytest.mark.parametrize("exchange", [True, False])
def test_an_old_folder_is_replaced_whole(old, exchange, monkeypatch):
    if not exchange:
        no_exchange(monkeypatch)
    (old / "extra").write_text("old")
    replace(old)
    assert held(old) == "new"
    assert list(old.parent.iterdir()) == [old]


def test_a_block_that_fails_leaves_the_old_folder_and_nothing_else(old):
    with pytest.raises(ZeroDivisionError), replace_folder(old, overwrite=True) as made:
        fill(made, "new")
        raise ZeroDivisionError
    assert held(old) == "old"
    assert list(old.parent.iterdir()) == [old]


def test_without_overwrite_an_existing_folder_is_kept(old):
    with pytest.raises(RrarankError, match="exists already; give --overwrite"), replace_folder(old):
        pass
    assert held(old) == "old"


def test_a_file_of_that_name_is_kept(tmp_path):
    (tmp_path / "model").write_text("precious")
    with (
        pytest.raises(RrarankError, match="is a file, expected a folder"),
        replace_folder(tmp_path / "model", overwrite=True),
    ):
        pass
    assert (tmp_path / "model").read_text() == "precious"


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_made_meanwhile_is_kept(tmp_path, overwrite):
    folder = tmp_path / "model"
    with (
        pytest.raises(RrarankError, match="made by someone else meanwhile and is kept"),
        replace_folder(folder, overwrite=overwrite) as made,
    ):
        fill(made, "new")
        folder.mkdir()
    assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == [folder]


def test_two_jobs_cannot_write_one_folder(tmp_path):
    folder = tmp_path / "model"
    with lock(folder), pytest.raises(RrarankError, match="another job is at work on it"), replace_folder(folder):
        pass


def test_a_linked_folder_is_replaced_where_it_points(old):
    link = old.with_name("link")
    link.symlink_to(old)
    replace(link)
    assert link.is_symlink()
    assert held(old) == "new"


def stop_at(step, stop, *modules):
    """Call `stop` before the `step`-th line of these modules that runs."""
    files = {module.__file__ for module in modules}
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            lines += 1
            if lines == step:
                stop()
        return trace

    sys.settrace(trace)


def interrupt():
    sys.settrace(None)
    raise KeyboardInterrupt


@pytest.mark.parametrize("exchange", [True, False])
def test_an_interrupt_at_any_line_leaves_a_whole_folder(old, exchange, monkeypatch):
    if not exchange:
        no_exchange(monkeypatch)
    steps = 0
    while True:
        steps += 1
        stop_at(steps, interrupt, folders)
        try:
            replace(old, f"new {steps}")
        except KeyboardInterrupt:
            assert held(old)
        else:
            break
        finally:
            sys.settrace(None)
    assert steps > 30
    assert held(old) == f"new {steps}"
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_kill_at_any_line_leaves_a_folder_that_the_next_job_finds_whole(old, exchange, monkeypatch):
    if not exchange:
        no_exchange(monkeypatch)
    steps = 0
    gone = False
    while not gone:
        steps += 1
        if not (child := os.fork()):
            stop_at(steps, lambda: os._exit(9), folders, leftovers)
            replace(old, f"new {steps}")
            os._exit(0)
        gone = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with pytest.raises(ZeroDivisionError), replace_folder(old, overwrite=True):  # a next job, which fails
            raise ZeroDivisionError
        assert held(old)
        assert [path for path in old.parent.iterdir() if path.suffix == ".tmp"] == []
    assert steps > 30
    assert held(old) == f"new {steps}"


def test_a_missing_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RrarankError, match="cannot be written"), replace_folder(Path(tmp_path, "file", "model")):
        pass
