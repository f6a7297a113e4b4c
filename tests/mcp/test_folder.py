"""No name leads an agent out of the folder."""

import gzip
import os

import pytest

from rrarank.errors import RrarankError
from rrarank.mcp.folder import Folder


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "secret.txt").write_text("1 0 a 1\n")
    inner = tmp_path / "data"
    (inner / "deep").mkdir(parents=True)
    (inner / "run.txt").write_text("x")
    return Folder.of(inner)


def test_files_of_the_folder_are_found(folder):
    (folder.root / "link.txt").symlink_to("run.txt")
    assert {folder.file(name) for name in ("run.txt", "./run.txt", "deep/../run.txt", "link.txt")} == {
        folder.root / "run.txt"
    }
    assert folder.file(str(folder.root / "run.txt")) == folder.root / "run.txt"


@pytest.mark.parametrize(
    "name", ["../secret.txt", "deep/../../secret.txt", "/etc/passwd", "link.txt", "linked/secret.txt"]
)
def test_nothing_outside_is_read(name, folder):
    (folder.root / "link.txt").symlink_to("../secret.txt")
    (folder.root / "linked").symlink_to("..")
    with pytest.raises(RrarankError, match="lies outside the folder that the tools may read"):
        folder.file(name)


@pytest.mark.parametrize("name", ["absent", "deep", ".", "pipe", "a\0b", "loop", "x" * 5000, "~/run.txt"])
def test_what_is_no_file_is_refused(name, folder):
    os.mkfifo(folder.root / "pipe")
    (folder.root / "loop").symlink_to("loop")
    with pytest.raises(RrarankError):
        folder.file(name)


def test_a_huge_file_is_refused(folder):
    with open(folder.root / "huge", "wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(RrarankError, match="huge: 268,435,457 bytes, expected at most 268,435,456"):
        folder.file("huge")


def test_a_packed_file_that_unpacks_to_a_huge_one_is_refused(folder):
    with gzip.open(folder.root / "bomb.trec.gz", "wb", 1) as file:
        for _ in range(257):
            file.write(bytes(2**20))
    with pytest.raises(RrarankError, match=r"bomb\.trec\.gz: over 268,435,456 bytes when unpacked"):
        folder.file("bomb.trec.gz")
    (folder.root / "broken.gz").write_bytes(b"\x1f\x8b\x08xx")
    assert folder.file("broken.gz").name == "broken.gz"  # its reader says what is wrong


def test_an_index_with_a_part_outside_is_refused(folder):
    (folder.root / "index").mkdir()
    (folder.root / "index" / "segments_1").write_text("x")
    assert folder.index("index") == folder.root / "index"
    (folder.root / "index" / "_0.cfs").symlink_to("../../secret.txt")
    with pytest.raises(RrarankError, match="index: lies outside"):
        folder.index("index")
    with pytest.raises(RrarankError, match=r"run\.txt: no such index in the folder"):
        folder.index("run.txt")


def test_messages_do_not_say_where_the_folder_lies(folder):
    assert folder.without_root(f"{folder.root}/run.txt:3: not in {folder.root}") == "run.txt:3: not in "


def test_the_folder_must_exist(tmp_path):
    with pytest.raises(RrarankError, match="--folder .*absent: no such folder"):
        Folder.of(tmp_path / "absent")


def test_an_index_whose_sidecar_lies_outside_is_refused(folder):
    (folder.root / "index").mkdir()
    (folder.root / "index.json").symlink_to("../secret")
    with pytest.raises(RrarankError, match="index: lies outside the folder"):
        folder.index("index")
    with pytest.raises(RrarankError, match=r"\.: the whole folder, expected an index in it"):
        folder.index(".")
