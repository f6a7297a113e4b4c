"""The README's first program is the one that is measured, and it gives the output that the README shows."""

import contextlib
import io
import re

import pytest

from benchmarks.speed.door import PROGRAMS, README, disk, order


def test_the_readmes_five_lines_are_those_that_are_measured_and_print_what_it_shows():
    program, shown = re.search("```python\n(.*?)```\n```text\n(.*?)```", README.read_text(), re.DOTALL).groups()
    assert program == PROGRAMS["rrarank"]
    assert sum(bool(line.strip()) for line in program.splitlines()) <= 5
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(program, {})
    assert said.getvalue() == shown
    assert order(shown) == ["A paper", "Bread needs", "Trains to"]


def test_disk_counts_the_library_what_it_requires_and_the_model(tmp_path):
    alone = disk("rerankers", tmp_path)
    assert alone > 200  # its extra brings torch
    (tmp_path / "model.safetensors").write_bytes(bytes(3_000_000))
    assert disk("rerankers", tmp_path) - alone == pytest.approx(3)
