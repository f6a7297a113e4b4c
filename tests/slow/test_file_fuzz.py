"""YAML settings and sidecars with any bytes in them: an answer or one line, at once."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rrarank.errors import RrarankError
from rrarank.storage.sidecar import read_sidecar, sidecar_path, write_sidecar
from rrarank.storage.yaml_settings import read_yaml

pytestmark = pytest.mark.slow
MANY = settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PIECES = [
    "a: ",
    "- ",
    "? ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "!!set ",
    "|\n",
    ">-\n",
    "'",
    '"',
    "#",
]
PIECES += ["\n", "  ", "yes", "0x", "9" * 400, "1:2:3", "2026-99-99", "\0", "\t", "%YAML 1.1\n", "---\n", "é", "\ud800"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["/dev/zero", ".."]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@contextmanager
def at_once() -> Iterator[None]:
    """Within five seconds of processor time: a stalled disk is no fault of ours."""
    before = time.process_time()
    with suppress(RrarankError):
        yield
    assert time.process_time() - before < 5


@MANY
@given(pieces=st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=200))
def test_any_yaml_is_read_or_refused(pieces, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_bytes("".join(pieces).encode("utf-8", "surrogatepass"))
    with at_once():
        assert isinstance(read_yaml(path), dict)


@MANY
@given(change=st.tuples(st.sampled_from(["format", "output", "inputs", "topics", "path", "sha256", "id"]), JSON))
def test_any_sidecar_is_read_or_refused(change, tmp_path):
    # Deep, so that a path of `..` names a small folder and not all that other tests have written beside this one.
    folder = tmp_path / "1" / "2" / "3" / "4"
    folder.mkdir(parents=True, exist_ok=True)
    run, topics = folder / "r.trec", folder / "t.tsv"
    run.write_text("x")
    topics.write_text("x")
    write_sidecar(run, inputs={"topics": topics})
    content = json.loads(sidecar_path(run).read_text())
    name, value = change
    inner = content["inputs"]["topics"]
    (content if name in content else content["inputs"] if name == "topics" else inner)[name] = value
    sidecar_path(run).write_text(json.dumps(content))
    with at_once():
        sidecar = read_sidecar(run)
        assert sidecar is not None
        found = sidecar.input("topics")
        assert found is None or isinstance(found, str) or Path(found).resolve() == topics
