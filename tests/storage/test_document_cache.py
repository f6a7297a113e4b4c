import hashlib

import numpy as np
import pytest

from rrarank import RrarankError
from rrarank.storage.document_cache import DocumentCache

ASKED: list[list[str]] = []


def encode(texts):
    """As many rows as the text has letters; `asked` lists the calls."""
    ASKED.append(list(texts))
    return [{"rows": np.full((len(text), 2), len(text), np.float32), "ids": np.arange(len(text))} for text in texts]


def tried(call):
    """(result, message): one of them is empty."""
    try:
        return call(), ""
    except RrarankError as error:
        return None, str(error)


@pytest.fixture(autouse=True)
def asked():
    ASKED.clear()
    return ASKED


def lengths(entries):
    return [(len(entry["rows"]), len(entry["ids"]), entry["rows"].sum()) for entry in entries]


def test_each_text_is_encoded_once_whoever_asks(tmp_path, asked):
    cache = DocumentCache(tmp_path, {"model": "a"})
    expected = [(1, 1, 2.0), (3, 3, 18.0), (0, 0, 0.0), (1, 1, 2.0)]
    assert lengths(cache.entries(["x", "cat", "", "x"], encode)) == expected
    assert lengths(DocumentCache(tmp_path, {"model": "a"}).entries(["x", "cat", "", "x"], encode)) == expected
    assert asked == [["x", "cat", ""]]
    cache.entries(["cat", "tea"], encode)
    assert asked[1:] == [["tea"]]
    assert len(DocumentCache(tmp_path, {"model": "a"})) == 4


def test_another_model_has_a_folder_of_its_own(tmp_path, asked):
    folders = {DocumentCache(tmp_path, {"model": name}).folder for name in ("a", "b")}
    assert len(folders) == 2
    for name in ("a", "b"):
        DocumentCache(tmp_path, {"model": name}).entries(["x"], encode)
    assert len(asked) == 2


def test_segments_are_named_by_their_content(tmp_path):
    cache = DocumentCache(tmp_path, {"model": "a"})
    cache.entries(["x", "cat"], encode)
    [segment] = cache.folder.glob("*.safetensors")
    assert segment.stem == hashlib.sha256(segment.read_bytes()).hexdigest()


def test_what_a_stopped_job_left_is_used(tmp_path, asked):
    def stopped(texts):
        raise KeyboardInterrupt

    cache = DocumentCache(tmp_path, {"model": "a"})
    cache.entries(["x"], encode)
    with pytest.raises(KeyboardInterrupt):
        cache.entries(["cat"], stopped)
    assert len(DocumentCache(tmp_path, {"model": "a"})) == 1


def test_a_broken_segment_is_one_line(tmp_path):
    cache = DocumentCache(tmp_path, {"model": "a"})
    cache.entries(["x", "cat"], encode)
    [segment] = cache.folder.glob("*.safetensors")
    segment.write_bytes(segment.read_bytes()[:-8])
    with pytest.raises(RrarankError, match=r"a broken segment .*; remove it, its documents are encoded again"):
        DocumentCache(tmp_path, {"model": "a"})


def test_no_flipped_bit_of_a_segment_changes_an_entry(tmp_path):
    texts = ["cat", "houses", "", "tea!"]
    cache = DocumentCache(tmp_path, {"model": "a"})
    expected = lengths(cache.entries(texts, encode))
    [segment] = cache.folder.glob("*.safetensors")
    content, refused = segment.read_bytes(), 0
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        segment.write_bytes(flipped)
        found, said = tried(lambda: lengths(DocumentCache(tmp_path, {"model": "a"}).entries(texts, encode)))
        assert found == expected or "a broken segment" in said
        refused += bool(said)
        for path in set(cache.folder.glob("*.safetensors")) - {segment}:
            path.unlink()
    assert refused > len(content) * 0.9


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RrarankError, match=r"cache=.*/file: Not a directory; give a folder that you can write to"):
        DocumentCache(tmp_path / "file", {"model": "a"})
