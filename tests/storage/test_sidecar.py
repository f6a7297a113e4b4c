"""The sidecar: what an output was made from, trusted only while the bytes are the same."""

import json
import os
import shutil
from pathlib import Path

import pytest

from rrarank.errors import RrarankError
from rrarank.storage.files import sha256
from rrarank.storage.sidecar import (
    FORMAT,
    RecordedId,
    check_output,
    fingerprint,
    read_sidecar,
    sidecar_path,
    versions,
    write_sidecar,
)


@pytest.fixture
def made(tmp_path):
    """A run in `runs/`, its topics beside that folder, and the sidecar that says so."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "topics.tsv").write_text("1\tq\n")
    run = tmp_path / "runs" / "bm25.trec"
    run.write_text("1 Q0 a 1 9 bm25\n")
    write_sidecar(run, inputs={"topics": tmp_path / "topics.tsv", "dataset": "msmarco-passage"}, config={"hits": 10})
    return run


def test_the_sidecar_lies_beside_its_output(made):
    assert sidecar_path(made) == made.parent / "bm25.trec.json"
    assert sorted(path.name for path in made.parent.iterdir()) == ["bm25.trec", "bm25.trec.json"]


def test_it_describes_output_inputs_versions_and_facts(made, tmp_path):
    content = json.loads(sidecar_path(made).read_text())
    assert list(content) == ["format", "output", "inputs", "config", "versions"]
    assert content["format"] == FORMAT
    assert content["output"] == {"path": "bm25.trec", "sha256": sha256(made)}
    assert content["inputs"] == {
        "topics": {"path": "../topics.tsv", "sha256": sha256(tmp_path / "topics.tsv")},
        "dataset": {"id": "msmarco-passage"},
    }
    assert content["config"] == {"hits": 10}
    assert content["versions"].keys() >= {"python", "rrarank", "numpy"}
    assert versions().items() <= content["versions"].items()


def test_it_names_no_host_and_no_absolute_path(made, tmp_path):
    assert str(tmp_path) not in sidecar_path(made).read_text()


def test_inputs_come_back_as_paths_and_ids(made, tmp_path):
    sidecar = read_sidecar(made)
    assert sidecar is not None
    assert sidecar.input("topics") == tmp_path / "topics.tsv"
    assert sidecar.input("dataset") == "msmarco-passage"
    assert sidecar.input("index") is None
    assert [sidecar.recorded(name) for name in ("topics", "dataset", "index")] == [
        "../topics.tsv",
        "msmarco-passage",
        "",
    ]


def test_a_moved_tree_still_finds_its_inputs(made, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("runs", "topics.tsv"):
        shutil.move(tmp_path / name, moved / name)
    sidecar = read_sidecar(moved / "runs" / "bm25.trec")
    assert sidecar is not None
    assert sidecar.input("topics") == moved / "topics.tsv"


def test_it_is_found_from_the_folder_of_the_output(made, monkeypatch):
    monkeypatch.chdir(made.parent)
    sidecar = read_sidecar(Path("bm25.trec"))
    assert sidecar is not None
    assert sidecar.input("topics") == Path("../topics.tsv")


def test_an_input_that_is_gone_is_none(made, tmp_path):
    (tmp_path / "topics.tsv").unlink()
    sidecar = read_sidecar(made)
    assert sidecar is not None
    assert sidecar.input("topics") is None


def test_a_changed_input_is_refused(made, tmp_path):
    (tmp_path / "topics.tsv").write_text("1\tanother\n")
    sidecar = read_sidecar(made)
    assert sidecar is not None
    with pytest.raises(RrarankError) as error:
        sidecar.input("topics")
    assert str(error.value) == (
        f"{tmp_path / 'topics.tsv'} is not the file that {sidecar_path(made)} names (sha256 differs); "
        "give --topics yourself"
    )


def test_an_output_without_sidecar_has_none(tmp_path):
    assert read_sidecar(tmp_path / "bm25.trec") is None


def test_a_changed_output_is_refused(made):
    made.write_text("1 Q0 b 1 9 bm25\n")
    with pytest.raises(RrarankError) as error:
        read_sidecar(made)
    assert str(error.value) == (
        f"{made} is not what {sidecar_path(made)} describes (sha256 differs); remake it, or remove the sidecar"
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "{}", '{"format": "x"}', '{"a": 1}', '{"output": {}}'])
def test_another_programs_json_is_refused(made, content):
    sidecar_path(made).write_text(content)
    with pytest.raises(RrarankError, match="bm25.trec.json: not a sidecar of rrarank; move it away, then give"):
        read_sidecar(made)


def test_a_later_format_is_refused(made):
    content = json.loads(sidecar_path(made).read_text()) | {"format": "rrarank.sidecar/9"}
    sidecar_path(made).write_text(json.dumps(content))
    with pytest.raises(
        RrarankError, match="format 'rrarank.sidecar/9', this version reads 'rrarank.sidecar/1'; update"
    ):
        read_sidecar(made)


def test_an_index_is_known_by_its_segments_file(tmp_path):
    index = tmp_path / "index"
    index.mkdir()
    (index / "segments_2").write_text("one")
    (index / "_0.cfs").write_text("x")
    before = fingerprint(index)
    assert before == sha256(index / "segments_2")
    (index / "write.lock").write_text("")
    assert fingerprint(index) == before
    (index / "segments_2").write_text("two")
    assert fingerprint(index) != before


def test_an_input_is_found_through_a_linked_folder(made, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(made.parent)
    sidecar = read_sidecar(tmp_path / "elsewhere" / "link" / made.name)
    assert sidecar is not None
    assert sidecar.input("topics") == tmp_path / "topics.tsv"


def test_a_sidecar_without_its_parts_is_not_ours(made):
    sidecar_path(made).write_text(json.dumps({"format": "rrarank.sidecar/1", "output": {"sha256": ""}}))
    with pytest.raises(RrarankError, match="not a sidecar of rrarank"):
        read_sidecar(made)


def test_an_index_folder_without_segments_is_one_line(tmp_path):
    with pytest.raises(RrarankError, match="a folder, but no index"):
        fingerprint(tmp_path)


# -- what an output may not replace ------------------------------------------------------------------------------------


def test_existing_output_is_refused_unless_overwritten(tmp_path):
    path = tmp_path / "out"
    check_output(path, False, [])
    path.write_text("old")
    check_output(path, True, [])
    with pytest.raises(RrarankError, match=f"{path}: exists already; give --overwrite to replace it, or another"):
        check_output(path, False, [])


@pytest.mark.parametrize("taken", ["out", "out.json"])
def test_an_input_is_never_replaced_not_even_on_demand(taken, tmp_path):
    (tmp_path / taken).write_text("precious")
    with pytest.raises(RrarankError, match="would replace the input"):
        check_output(tmp_path / "out", True, ["an id", tmp_path / taken])


def test_a_file_that_is_no_sidecar_is_never_replaced_by_one(made, tmp_path):
    (tmp_path / "out.json").write_text('{"mine": 1}')
    with pytest.raises(RrarankError, match=r"out.json: exists and is not a sidecar"):
        check_output(tmp_path / "out", True, [])
    check_output(made, True, [])  # its own


@pytest.mark.parametrize("output", ["-", "/dev/null"])
def test_stdout_and_devices_are_free(output, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-").write_text("a file of that name")
    check_output(output, False, [])


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_never_takes_the_place_of_another_files_sidecar(made, overwrite):
    sidecar_path(made).unlink()
    with pytest.raises(RrarankError, match=f"is the place of the sidecar of {made}"):
        check_output(sidecar_path(made), overwrite, [])


def test_an_output_that_says_it_is_packed_must_be(tmp_path):
    with pytest.raises(RrarankError, match="leave .gz out"):
        check_output(tmp_path / "run.trec.gz", False, [])
    check_output(tmp_path / "set.jsonl.gz", False, [], packed=True)


# -- sidecars that others wrote ----------------------------------------------------------------------------------------


UP = "../" * 20


def forged(made, name, entry):
    path = sidecar_path(made)
    content = json.loads(path.read_text())
    content["inputs"][name] = entry
    path.write_text(json.dumps(content))
    sidecar = read_sidecar(made)
    assert sidecar is not None
    return sidecar


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return "../pipe"


@pytest.mark.parametrize(
    "place", ["/dev/zero", "../" * 20 + "dev/zero", "/etc/passwd", "../" * 20 + "proc/version", "link"]
)
def test_a_device_or_a_path_from_the_root_is_refused_at_once(made, place):
    (made.parent / "link").symlink_to("/dev/zero")
    sidecar = forged(made, "topics", {"path": place, "sha256": "0" * 64})
    with pytest.raises(RrarankError, match="which is no data file; give --topics yourself"):
        sidecar.input("topics")


def test_a_pipe_is_refused_at_once(made, pipe):
    with pytest.raises(RrarankError, match="names '../pipe', which is no data file"):
        forged(made, "topics", {"path": pipe, "sha256": "0" * 64}).input("topics")
    with pytest.raises(RrarankError, match="pipe: is a pipe or a device, expected a file"):
        sha256(made.parent / pipe)
    (made.parent / "index").mkdir()
    os.mkfifo(made.parent / "index" / "segments_1")
    with pytest.raises(RrarankError, match="segments_1: is a pipe or a device"):
        forged(made, "index", {"path": "index", "sha256": "0" * 64}).input("index")


@pytest.mark.parametrize("name", ["run", "collection", "requests"])
def test_an_id_where_a_file_belongs_is_refused_for_its_bytes_would_go_unchecked(made, name):
    with pytest.raises(RrarankError, match=f"its {name} is an id, expected a file; give --"):
        forged(made, name, {"id": "/etc/passwd"}).input(name)


def test_an_id_is_known_to_be_nobodys_wish(made):
    sidecar = read_sidecar(made)
    assert sidecar is not None
    assert isinstance(sidecar.input("dataset"), RecordedId)


def test_names_that_are_not_utf8_are_described_and_found_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, topics = Path(os.fsdecode(b"r\xe9.trec")), Path(os.fsdecode(b"t\xe9.tsv"))
    for path in (run, topics):
        path.write_text("x")
    write_sidecar(run, inputs={"topics": topics})
    sidecar = read_sidecar(run)
    assert sidecar is not None
    assert sidecar.input("topics") == topics
