"""The README's first program is the one that is measured, and it gives the output that the README shows."""

import contextlib
import io
import re

from benchmarks.speed.door import PROGRAMS, README, closure, order


def test_the_readmes_five_lines_are_those_that_are_measured_and_print_what_it_shows():
    program, shown = re.search("```python\n(.*?)```\n```text\n(.*?)```", README.read_text(), re.DOTALL).groups()
    assert program == PROGRAMS["rrarank"]
    assert sum(bool(line.strip()) for line in program.splitlines()) <= 5
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(program, {})
    assert said.getvalue() == shown
    assert order(shown) == ["A paper", "Bread needs", "Trains to"]


def test_what_a_library_requires_is_followed_without_extras():
    found = closure("sentence-transformers")
    assert {"sentence-transformers", "transformers", "torch", "numpy"} <= found
    assert "pytest" not in found
