"""Packed files and pipes are read as what they hold; a file in another encoding gets a command that converts it."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import shlex
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable

import pytest
from backports import zstd

from rrarank.errors import RrarankError
from rrarank.storage.files import find, read_lines

PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}


@pytest.mark.parametrize("name", ["f.tsv{}", "f"], ids=["by suffix", "by first bytes"])
@pytest.mark.parametrize("suffix", PACK)
def test_lines_of_a_packed_file(suffix, name, tmp_path):
    path = tmp_path / name.format(suffix)
    path.write_bytes(PACK[suffix]("\ufeffa\n東\n".encode()) * 2)  # two streams, as `cat` joins them
    assert list(read_lines(path)) == ["a\n", "東\n", "\ufeffa\n", "東\n"]


@pytest.mark.parametrize("suffix", PACK)
def test_a_packed_file_that_breaks_off_is_never_half_read_in_silence(suffix, tmp_path):
    content = b"".join(os.urandom(40).hex().encode() + b"\n" for _ in range(2000))
    whole = PACK[suffix](content)
    for share in (0.5, 0.999):
        (tmp_path / f"f{suffix}").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(RrarankError, match=r"the (gzip|bzip2|xz|zstd) stream breaks off after line \d+; copy the"):
            list(read_lines(tmp_path / f"f{suffix}"))


@pytest.mark.parametrize("suffix", PACK)
def test_a_suffix_that_is_not_true(suffix, tmp_path):
    (tmp_path / f"f{suffix}").write_bytes(b"1 Q0 a 1 9 bm25, and no packed stream at all\n")
    with pytest.raises(RrarankError, match=f"f{suffix}: (cannot be read|the .* stream breaks off)"):
        list(read_lines(tmp_path / f"f{suffix}"))


# -- other encodings --------------------------------------------------------------------------------------------------

TEXT = "1\tcafé\n2\tthé\n"


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize(
    ("codec", "content"),
    [
        ("UTF-16", TEXT.encode("utf-16")),
        ("UTF-16", b"\xfe\xff" + TEXT.encode("utf-16-be")),
        ("UTF-32", TEXT.encode("utf-32")),
        ("UTF-16LE", TEXT.encode("utf-16-le")),
        ("UTF-16BE", TEXT.encode("utf-16-be")),
        ("UTF-32LE", TEXT.encode("utf-32-le")),
        ("UTF-32BE", TEXT.encode("utf-32-be")),
        ("LATIN1", TEXT.encode("latin-1")),
    ],
    ids=["mark-le", "mark-be", "utf-32", "16-le", "16-be", "32-le", "32-be", "latin-1"],
)
@pytest.mark.parametrize("name", ["t.tsv", "my topics.tsv"])
def test_the_command_that_converts_a_file_does_so_when_typed(name, codec, content, suffix, tmp_path):
    (tmp_path / f"{name}{suffix}").write_bytes(PACK.get(suffix, bytes)(content))
    with pytest.raises(RrarankError, match=f"UTF-8.* type: .*iconv -f {codec} -t UTF-8") as error:
        list(read_lines(tmp_path / f"{name}{suffix}"))
    command = str(error.value).partition("type: ")[2]
    subprocess.run(["bash", "-euc", command], check=True)
    assert "".join(read_lines(tmp_path / f"utf8-{name}")) == TEXT


def in_zip(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.tsv", content)
    return file.getvalue()


def in_tar(content):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("t.tsv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", ["t.txt", "my topics"])
@pytest.mark.parametrize(("pack", "kind"), [(in_zip, "zip archive"), (in_tar, "tar archive")])
def test_an_archive_is_named_and_the_command_that_unpacks_it_does_so(pack, kind, name, suffix, tmp_path):
    content = PACK.get(suffix, bytes)(pack(TEXT.encode()))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RrarankError, match=f"{name}: a {kind}, expected text; unpack it and give a file") as error:
        list(read_lines(tmp_path / name))
    python, command = sys.executable, str(error.value).partition("file of it: python ")[2]
    if suffix and pack is in_zip:
        return  # a packed zip archive has to be unpacked twice
    subprocess.run(["bash", "-euc", f"{shlex.quote(python)} {command}"], check=True, cwd=tmp_path)
    assert "".join(read_lines(tmp_path / "t.tsv")) == TEXT


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PAR1\x15\x04\x15", "a Parquet file"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
        (b"SQLite format 3\0\x10", "an SQLite database"),
        (pickle.dumps({"1": {"a": 1.0}}), "a pickle"),
        (b"\x93NUMPY\x01\0", "a NumPy array"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7z archive"),
        (lzma.compress(b"a" * 99, format=lzma.FORMAT_ALONE), "packed by lzma"),
        (b"\x04\x22\x4d\x18\x64\x40\xa7", "packed by lz4"),
    ],
)
def test_other_kinds_of_files_are_named(content, kind, tmp_path):
    (tmp_path / "t.tsv").write_bytes(content)
    with pytest.raises(RrarankError, match=rf"t.tsv: {kind}, expected text; (write its texts as JSON lines|unpack it)"):
        list(read_lines(tmp_path / "t.tsv"))


def test_no_encoding_is_guessed_of_what_is_no_text(tmp_path):
    (tmp_path / "t.tsv").write_bytes(b"1\tcaf\xe9 \x01\x02\n")
    with pytest.raises(RrarankError, match=r"t.tsv:1: not UTF-8 \(byte 0xe9\), and not text of another .*unpacked"):
        list(read_lines(tmp_path / "t.tsv"))


def test_of_stdin_too(tmp_path):
    (tmp_path / "r.trec").write_bytes("1 Q0 a 1 2 x\n".encode("utf-16"))
    convert = f"'{sys.executable}' -m rrarank.convert --run - --output -"
    done = subprocess.run(f"{convert} < r.trec", shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    through = done.stderr.partition("pipe it through: ")[2].strip()
    assert through == "iconv -f UTF-16 -t UTF-8"
    typed = subprocess.run(f"{through} < r.trec | {convert}", shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert typed.stdout == "1 Q0 a 1 2.0 x\n"


# -- pipes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", ["--run <(cat r.trec)", "--run <(cat r.trec.gz)", "--run /dev/stdin < r.trec.gz", "--run - < r.trec.zst"]
)
def test_a_pipe_is_read_packed_or_not(given, tmp_path):
    (tmp_path / "r.trec").write_bytes(content := b"1 Q0 a 1 2.0 x\n")
    for suffix, pack in PACK.items():
        (tmp_path / f"r.trec{suffix}").write_bytes(pack(content))
    command = f"'{sys.executable}' -m rrarank.convert {given} --output out.trec"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.trec").read_bytes() == content


def test_every_input_of_a_job_may_be_a_pipe(tmp_path):
    """The sidecar leaves them out, as nobody can read them again."""
    (tmp_path / "r.trec").write_text("1 Q0 a 1 2 x\n1 Q0 b 2 1 x\n")
    (tmp_path / "t.tsv").write_text("1\tcats\n")
    (tmp_path / "d.jsonl").write_text('{"id": "a", "text": "dogs"}\n{"id": "b", "text": "cats"}\n')
    flags = "--run <(cat r.trec) --topics <(cat t.tsv) --collection <(cat d.jsonl) --reranker bm25 --output out.trec"
    command = f"'{sys.executable}' -m rrarank.rerank {flags}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "out.trec\n"), done.stderr
    assert [line.split()[2] for line in (tmp_path / "out.trec").read_text().splitlines()] == ["a", "b"]
    again = [sys.executable, "-m", "rrarank.rerank", "--run", "out.trec", "--output", "again.trec"]
    done = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "type: python -m rrarank.rerank --run out.trec --topics TOPICS.tsv --collection" in done.stderr


def test_judgments_and_texts_of_a_report_come_through_pipes(tmp_path):
    (tmp_path / "r.trec").write_text("1 Q0 a 1 2 x\n1 Q0 b 2 1 x\n")
    (tmp_path / "q.txt").write_text("1 0 b 1\n")
    (tmp_path / "t.tsv").write_text("1\twhy cats\n")
    (tmp_path / "d.jsonl").write_text('{"id": "a", "text": "on dogs"}\n{"id": "b", "text": "on cats"}\n')
    flags = "--runs r.trec --qrels <(cat q.txt) --topics <(cat t.tsv) --collection <(cat d.jsonl) --output r.html"
    command = f"'{sys.executable}' -m rrarank.report {flags}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "r.html").read_text()
    assert all(text in page for text in ("why cats", "on dogs", "on cats", "a pipe"))


def test_a_pipe_is_found_and_a_folder_is_not(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert find(tmp_path / "pipe") == tmp_path / "pipe"
    with pytest.raises(RrarankError, match="is a folder"):
        find(tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        "rerank --run <(cat r.trec) --reranker bm25 --topics q.tsv --collection d.tsv",
        "retrieve --topics <(cat q.tsv) --index index --collection d.tsv",
        "label --run <(cat r.trec) --topics q.tsv --collection d.tsv --teacher bm25",
    ],
    ids=lambda command: command.split()[0],
)
def test_a_pipe_without_output_is_refused_before_anything_is_made(command, tmp_path):
    (tmp_path / "r.trec").write_text("1 Q0 a 1 2.0 x\n")
    (tmp_path / "q.tsv").write_text("1\ttea\n")
    (tmp_path / "d.tsv").write_text("a\ttea\n")
    typed = f"'{sys.executable}' -m rrarank {command}"
    done = subprocess.run(["bash", "-c", typed], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.endswith("a pipe, after which no output can be named; give --output FILE")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.tsv", "q.tsv", "r.trec"]
