"""Files: found by bare name, read whatever their dress, written whole or not at all."""

import errno
import gzip
import os
import tracemalloc
from pathlib import Path

import pytest

from rrarank.errors import RrarankError
from rrarank.storage.files import atomic_write, find, read_lines, read_text, sha256, stem

# -- find --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    return tmp_path


def test_bare_name_is_found_here_then_in_runs_then_in_the_package(here):
    assert find("bm25.trec", "runs").read_text().startswith("1 Q0 ")  # ships with the package
    Path("runs/bm25.trec").write_text("in runs")
    assert find("bm25.trec", "runs").read_text() == "in runs"
    Path("bm25.trec").write_text("here")
    assert find("bm25.trec", "runs").read_text() == "here"


def test_a_folder_of_that_name_is_no_file(here):
    Path("mine.trec").mkdir()
    Path("runs/mine.trec").write_text("run")
    assert find("mine.trec", "runs") == Path("runs/mine.trec")


def test_qrels_have_their_own_place(here):
    Path("runs/only.txt").write_text("run")
    assert find("sample.txt", "qrels").read_text().startswith("1 0 ")
    with pytest.raises(RrarankError):
        find("only.txt", "qrels")


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("no.trec", "runs", "no.trec: no such file (looked in ./, ./runs/ and the package)"),
        ("no.txt", "qrels", "no.txt: no such file (looked in ./, ./qrels/ and the package)"),
        ("sub/bm25.trec", "runs", "sub/bm25.trec: no such file"),
        ("/bm25.trec", "runs", "/bm25.trec: no such file"),
        ("bm25.trec", "", "bm25.trec: no such file"),
    ],
)
def test_a_file_not_found_says_where_it_was_looked_for(here, name, folder, message):
    with pytest.raises(RrarankError) as error:
        find(name, folder)
    assert str(error.value) == message


# -- read_lines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"a\nb", ["a\n", "b"]),
        (b"\xef\xbb\xbfa\nb\n", ["a\n", "b\n"]),
        (b"a\r\nb\r\n", ["a\r\n", "b\r\n"]),
        ("é\u2028\u0085x\n".encode(), ["é\u2028\u0085x\n"]),  # only \n ends a line
    ],
    ids=["empty", "no-last-newline", "bom", "crlf", "unicode-line-ends"],
)
def test_lines_of_a_file(tmp_path, pack, content, lines):
    path = tmp_path / ("f.gz" if pack is gzip.compress else "f")
    path.write_bytes(pack(content))
    assert list(read_lines(path)) == lines


@pytest.mark.parametrize(("before", "number"), [(b"", 1), (b"a\n", 2), ("é\n\n".encode() * 5000, 10001)])
def test_not_utf8_names_the_line_and_the_byte(tmp_path, before, number):
    path = tmp_path / "f"
    path.write_bytes(before + b"caf\xe9 au lait\n")
    with pytest.raises(RrarankError, match=rf"{path}:{number}: not UTF-8 \(byte 0xe9\); convert it.*iconv"):
        list(read_lines(path))


def test_truncated_gzip_says_after_which_line(tmp_path):
    lines = [os.urandom(40).hex() + "\n" for _ in range(2000)]
    packed = gzip.compress("".join(lines).encode())
    path = tmp_path / "f.gz"
    path.write_bytes(packed[: len(packed) // 2])
    read = []
    with pytest.raises(RrarankError) as error:
        for line in read_lines(path):
            read.append(line)
    assert str(error.value) == f"{path}: the gzip stream breaks off after line {len(read)}; copy the file again"
    assert read == lines[: len(read)]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("absent", None, "No such file or directory"), ("plain.gz", b"1 Q0 a 1 9 bm25\n", "Not a gzipped file")],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, name, content, reason):
    path = tmp_path / name
    if content:
        path.write_bytes(content)
    with pytest.raises(RrarankError, match=f"{path}: cannot be read .{reason}"):
        list(read_lines(path))


# -- atomic_write ------------------------------------------------------------------------------------------------------


def test_nothing_is_at_the_path_until_the_block_ends(tmp_path):
    path = tmp_path / "new" / "out"
    with atomic_write(path) as file:
        file.write("é\n")
        assert not path.exists()
    assert path.read_bytes() == "é\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_the_old_content_and_nothing_else(tmp_path, stop):
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(stop), atomic_write(path) as file:
        file.write("half of the new")
        file.flush()
        raise stop
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_has_the_mode_that_the_umask_grants(tmp_path):
    mask = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "out") as file:
            file.write("x")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640


def test_dash_writes_to_stdout(capsys, here):
    with atomic_write("-") as file:
        file.write("result\n")
    assert capsys.readouterr().out == "result\n"
    assert not Path("-").exists()


def test_a_path_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RrarankError, match="file/out: cannot be written"), atomic_write(tmp_path / "file" / "out"):
        pass


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/bm25.trec.gz", "bm25"),
        ("bm25.k1=0.9.trec", "bm25.k1=0.9"),
        ("a.jsonl", "a"),
        ("a.tsv.gz", "a"),
        ("bm25", "bm25"),
        ("runs/.trec", "run"),
        ("-", "stdin"),
    ],
)
def test_stem_is_the_name_of_a_run_in_a_table(path, name):
    assert stem(path) == name


def test_sha256_is_of_the_bytes(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_folder_cannot_be_written_and_a_device_stays_one(tmp_path):
    with pytest.raises(RrarankError, match="is a folder, expected a file"), atomic_write(tmp_path):
        pass
    pipe = tmp_path / "device"
    pipe.symlink_to("/dev/null")
    with atomic_write(pipe) as file:
        file.write("gone\n")
    assert Path("/dev/null").is_char_device()
    assert pipe.is_symlink()


def test_a_linked_output_is_written_where_it_points(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with atomic_write(tmp_path / "link") as file:
        file.write("new")
    assert (tmp_path / "target").read_text() == "new"


def test_folders_say_so(tmp_path):
    with pytest.raises(RrarankError, match="is a folder, expected a file"):
        find(tmp_path)


def test_an_error_of_fsync_names_the_file(tmp_path, monkeypatch):
    def broken(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error") as error, atomic_write(tmp_path / "out") as file:
        file.write("x")
    assert error.value.filename == str(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_packed_line_of_any_length_is_refused_before_it_is_held(tmp_path):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"1 Q0 a 1 9 t\n" + b"a" * 2**27))
    lines = read_lines(tmp_path / "bomb.gz")
    assert next(lines) == "1 Q0 a 1 9 t\n"
    tracemalloc.start()
    with pytest.raises(RrarankError, match=r"bomb.gz:2: a line of over 67,108,864 bytes"):
        next(lines)
    assert tracemalloc.get_traced_memory()[1] < 2**28
    tracemalloc.stop()


def test_content_that_is_held_whole_has_a_limit(tmp_path):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"a\n" * 1000))
    assert len(read_text(tmp_path / "bomb.gz", 2000)) == 2000
    with pytest.raises(RrarankError, match="bomb.gz: more than 1,999 characters"):
        read_text(tmp_path / "bomb.gz", 1999)
