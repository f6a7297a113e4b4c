"""The journal: what was added survives, what a crash tore is done again."""

import os
import subprocess
import sys

import pytest

from rrarank.errors import RrarankError
from rrarank.storage.journal import Journal, note_key, work_key


def test_a_value_survives_reopening(tmp_path):
    values = {"a": [["d1", 0.1], ["d2", 1e-45]], "b": None, "c": "é\n東", "d": {"x": [1, True]}}
    journal = Journal(tmp_path / "j")
    for key, value in values.items():
        journal.add(key, value)
        assert journal[key] == value
    journal.close()
    again = Journal(tmp_path / "j")
    assert {key: again[key] for key in reversed(values)} == values
    assert len(again) == 4
    assert "a" in again
    assert "e" not in again
    with pytest.raises(KeyError):
        again["e"]


def test_an_added_value_survives_a_process_killed_right_after(tmp_path):
    code = "import os, sys; from rrarank.storage.journal import Journal; from pathlib import Path; "
    code += "Journal(Path(sys.argv[1])).add('a', 1); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "j")], check=False).returncode == 9
    assert Journal(tmp_path / "j")["a"] == 1


def written(path, **values):
    """The bytes of a journal with these records."""
    with Journal(path) as journal:
        for key, value in values.items():
            journal.add(key, value)
    return path.read_bytes()


LAST = len('rrarank.journal/2 0123456789abcdef 24 {"key": "b", "value": 22}\n')


@pytest.mark.parametrize("torn", range(1, LAST))
def test_a_torn_last_line_is_dropped_and_adding_after_it_works(tmp_path, torn):
    path = tmp_path / "j"
    path.write_bytes(written(path, a="x", b=22)[:-torn])
    journal = Journal(path)
    assert journal.damaged == []
    assert ("b" in journal) == (torn == 1)  # only its line end is gone
    journal.add("b", 3)
    journal.add("c", 4)
    assert [journal[key] for key in "abc"] == ["x", 3, 4]
    journal.close()
    again = Journal(path)
    assert [again[key] for key in "abc"] == ["x", 3, 4]


@pytest.mark.parametrize("length", range(1, LAST - 1))
def test_a_journal_torn_in_its_first_line_is_begun_anew(tmp_path, length):
    path = tmp_path / "j"
    path.write_bytes(written(path, b=22)[:length])
    assert Journal(path).is_empty
    assert path.read_bytes() == b""


@pytest.mark.parametrize("tail", [b"\0" * 40, b"\0\n", b'{"value": 1}\n', b"[1]\n", b"7\n", b"\n", b'"\xff"\n'])
def test_a_tail_that_is_no_record_is_skipped(tmp_path, tail):
    path = tmp_path / "j"
    path.write_bytes(written(path, a=1) + tail)
    journal = Journal(path)
    journal.add("b", 2)
    assert (len(journal), journal["a"], journal["b"]) == (2, 1, 2)
    assert journal.damaged == ([2] if tail.endswith(b"\n") else [])


def test_any_flipped_bit_costs_at_most_its_own_record(tmp_path):
    path = tmp_path / "j"
    values = {"a": [["d1", 0.5]], "b": "é", "c": 22}
    whole = written(path, **values)
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with Journal(path) as journal:
            found = {key: journal[key] for key in values if key in journal}
            if again := bit % 9 == 0:
                journal.add("d", 4)
        assert found.items() <= values.items()
        at_a_line_end = whole[bit // 8] == ord("\n")
        assert len(found) == (3 if at_a_line_end else 2)
        if again:
            with Journal(path) as journal:
                assert {key: journal[key] for key in (*found, "d")} == found | {"d": 4}
                assert journal.damaged or at_a_line_end


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"key": "a", "value": 1}\n', "j: was begun by an earlier version .* finish the job with that version, or"),
        (b'{"ke', "was begun by an earlier version"),
        (
            b'rrarank.journal/3 0 0 {"key": "a"}\n',
            "j: format 'rrarank.journal/3', expected 'rrarank.journal/2'; update",
        ),
        (b"my diary\n", "j: exists and is not a journal; move it, or give another --output"),
        (b"\0" * 40, "is not a journal"),
    ],
)
def test_a_file_that_holds_no_record_of_ours_is_refused_and_kept(tmp_path, content, said):
    path = tmp_path / "j"
    path.write_bytes(content)
    with pytest.raises(RrarankError, match=said):
        Journal(path)
    assert path.read_bytes() == content


def test_of_a_key_added_twice_the_last_value_counts(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.add("a", 1)
    journal.add("a", 2)
    assert (len(journal), journal["a"]) == (1, 2)
    journal.close()
    assert Journal(tmp_path / "j")["a"] == 2


def test_a_second_job_is_refused_while_the_first_holds_it(tmp_path):
    journal = Journal(tmp_path / "j")
    with pytest.raises(RrarankError, match="j: another job is at work on it"):
        Journal(tmp_path / "j")
    journal.add("a", 1)
    journal.close()
    with Journal(tmp_path / "j") as again:
        assert len(again) == 1
    journal.remove()  # it is another job's by now
    assert [path.name for path in tmp_path.iterdir()] == ["j"]


def test_a_finished_journal_is_removed(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.add("a", 1)
    journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_journal_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(RrarankError, match=f"{tmp_path}: cannot be written .Is a directory"):
        Journal(tmp_path)


def test_a_key_changes_with_each_determinant():
    texts = [["d1", "text"], ["d2", "text"]]
    keys = [
        work_key("q", texts, {"depth": 100}),
        work_key("q", texts, {"depth": 10}),
        work_key("q2", texts, {"depth": 100}),
        work_key("q", texts[::-1], {"depth": 100}),
        work_key("q", [["d1", "textd2"], ["", "text"]], {"depth": 100}),
        work_key(["q", texts, {"depth": 100}]),
    ]
    assert len(set(keys)) == len(keys)
    assert work_key("q", texts, {"depth": 100}) == keys[0]


def test_a_key_is_the_same_in_another_process():
    code = "from rrarank.storage.journal import work_key; print(work_key('é', 1, [None]))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    out = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert out.stdout.strip() == work_key("é", 1, [None])


def test_a_note_is_kept_and_is_no_finished_work(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.add(note_key("pace", "model"), [1.0])
    journal.add(work_key("a"), 1)
    journal.close()
    again = Journal(tmp_path / "j")
    assert (len(again), again[note_key("pace", "model")]) == (1, [1.0])
    assert note_key("pace", "model") != note_key("pace", "other")
