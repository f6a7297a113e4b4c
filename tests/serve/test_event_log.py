"""The log's files: whole lines, new files by size and day, nothing acknowledged that is not written."""

import errno
import os
import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime

import pytest

from rrarank.data.ubi import LoggedEvent, LoggedQuery
from rrarank.data.ubi_files import read_log
from rrarank.errors import RrarankError
from rrarank.serve import event_log
from rrarank.serve.event_log import EventLog

QUERY = LoggedQuery("i", "u", "2026-01-31T12:00:00Z")


def event(number):
    return LoggedEvent("click", "2026-01-31T12:00:00Z", f"q{number}", "u")


@pytest.fixture
def log(tmp_path):
    log = EventLog(tmp_path / "log", 10**6)
    log.add([QUERY]).result(10)
    yield log
    log.close()


def test_what_is_done_is_in_the_file(log, tmp_path):
    for number in range(3):
        log.add([event(number)]).result(10)
        assert len(read_log(tmp_path / "log").events) == number + 1


def test_many_threads_write_whole_lines(log, tmp_path):
    done: list[Future[None]] = []
    threads = [
        threading.Thread(target=lambda n=n: done.extend(log.add([event(1000 * n + i)]) for i in range(200)))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait(done, 30)
    assert len({one.query_id for one in read_log(tmp_path / "log").events}) == 1_600


def test_a_new_file_begins_beyond_the_size_and_after_a_restart(tmp_path):
    for _ in range(2):
        log = EventLog(tmp_path, 300)
        log.add([QUERY]).result(10)
        for number in range(10):
            log.add([event(number)]).result(10)
        log.close()
    sizes = [file.stat().st_size for file in tmp_path.glob("ubi_events*")]
    assert len(sizes) > 4
    assert max(sizes) < 400
    found = read_log(tmp_path)
    assert (len(found.queries), len(found.events), found.repeated) == (1, 10, 11)  # the query and 10 events came twice


def test_a_new_file_begins_when_somebody_deleted_the_one_in_use(log, tmp_path):
    """Otherwise what comes next would be acknowledged, and be in no file."""
    log.add([event(0)]).result(10)
    for file in (tmp_path / "log").glob("ubi_events*"):
        file.unlink()
    log.add([event(1)]).result(10)
    assert [one.query_id for one in read_log(tmp_path / "log").events] == ["q1"]


def test_a_folder_that_is_gone_is_told(log, tmp_path):
    log.add([event(0)]).result(10)
    shutil.rmtree(tmp_path / "log")
    with pytest.raises(FileNotFoundError):
        log.add([event(1)]).result(10)


def test_a_new_file_begins_each_day(tmp_path, monkeypatch):
    days = iter([1, 1, 2])
    monkeypatch.setattr(event_log, "utc_now", lambda: datetime(2026, 1, next(days), tzinfo=UTC))
    log = EventLog(tmp_path, 10**6)
    for number in range(3):
        log.add([event(number)]).result(10)
    log.close()
    assert sorted(file.name.split(".")[1][:8] for file in tmp_path.glob("ubi_events*")) == ["20260101", "20260102"]


def test_a_full_disk_is_told_and_leaves_whole_lines(log, tmp_path, monkeypatch):
    write = os.write

    def half(file, content):
        write(file, content[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log.add([event(1)]).result(10)
    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space left"):
        log.add([event(2)]).result(10)
    monkeypatch.setattr(os, "write", write)
    log.add([event(3)]).result(10)
    assert [one.query_id for one in read_log(tmp_path / "log").events] == ["q1", "q3"]


def test_only_the_owner_reads_the_files(log, tmp_path):
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "log").iterdir()} == {0o600}


def test_a_query_has_one_name_in_a_log_and_another_in_the_next(log, tmp_path):
    assert log.name_of("What is  it?") == log.name_of("what is it?") != log.name_of("what is that?")
    again, other = EventLog(tmp_path / "log", 10**6), EventLog(tmp_path / "other", 10**6)
    assert again.name_of("q") == log.name_of("q") != other.name_of("q")
    again.close()
    other.close()


def test_all_processes_have_the_same_whole_key(tmp_path):
    """A process that reads the key while another one makes it would name the queries by less of it, or by none."""
    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            folder = tmp_path / str(number)
            folder.mkdir()
            keys = set(pool.map(event_log._key, [folder] * 8))
            assert [len(key) for key in keys] == [event_log.KEY_BYTES]
            assert [file.name for file in folder.iterdir()] == [event_log.KEY]


@pytest.mark.parametrize("size", [0, 100])
def test_a_key_that_was_not_written_whole_is_refused(tmp_path, size):
    (tmp_path / event_log.KEY).write_bytes(b"x" * size)
    with pytest.raises(RrarankError, match=rf"query-key: {size} bytes, expected 32; delete it"):
        EventLog(tmp_path, 1)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RrarankError, match=r"--log .*/file/log: cannot be written \(Not a directory\)"):
        EventLog(tmp_path / "file" / "log", 1)
