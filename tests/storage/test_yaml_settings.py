"""Settings in YAML: whatever the file holds, an answer comes at once."""

import time
from dataclasses import dataclass

import pytest

from rrarank.errors import RrarankError
from rrarank.storage.yaml_settings import MOST_CHARACTERS, checked, read_yaml

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.fixture
def settings(tmp_path):
    def write(text):
        (tmp_path / "s.yaml").write_text(text)
        return tmp_path / "s.yaml"

    return write


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "s.yaml:2: a YAML alias; write the value itself"),
        ("a: &a [*a]", "s.yaml:1: a YAML alias"),
        ("a: 1\nb: {c: 1,\n c: 2}", "s.yaml:3: c stands twice; keep one of the two"),
        ("a: &a {x: 1}\nb: {<<: *a}", "s.yaml:2: a YAML alias"),
        ("a: " + "[" * 450, "s.yaml:1: nested more than 20 levels deep"),
        ("a: " + "{" * 900, "nested more than 20 levels deep"),
        ("? " * 400, "nested more than 20 levels deep"),
        ("- " * 450, "nested more than 20 levels deep"),
        ("a: " + "9" * 5000, "YAML with a value that Python cannot hold"),
        ("a: 2026-99-99", "YAML with a value that Python cannot hold (month"),
        ("a: !!python/object/apply:os.getcwd []", "s.yaml:1: not YAML (could not determine a constructor"),
        ("a: !!int ''", "YAML with a value that Python cannot hold"),
        ("a: \0", "s.yaml: not YAML (unacceptable character"),
        ("x" * (MOST_CHARACTERS + 1), "more than 1,048,576 characters"),
        ("[1, 2]", "a YAML list, expected keys"),
    ],
)
def test_a_file_that_would_hold_a_job_up_is_one_line_at_once(settings, text, said):
    started = time.perf_counter()
    with pytest.raises(RrarankError) as error:
        read_yaml(settings(text))
    assert said in str(error.value)
    assert len(str(error.value)) < 300
    assert time.perf_counter() - started < 5


def test_settings_of_usual_depth_are_read(settings):
    text = "a: {b: {c: [[1, {d: yes}]]}}\ntext: |\n  yes and no\n"
    assert read_yaml(settings(text)) == {"a": {"b": {"c": [[1, {"d": "yes"}]]}}, "text": "yes and no\n"}


@dataclass(frozen=True)
class Settings:
    name: str = ""


@pytest.mark.parametrize("value", ["0x" + "f" * 8000, ":".join(["59"] * 3000), "[" + "1, " * 3000 + "1]"])
def test_a_message_shows_the_start_of_a_long_value_only(settings, value):
    with pytest.raises(RrarankError) as error:
        checked(Settings, read_yaml(settings(f"name: {value}")), "s.yaml")
    assert str(error.value).startswith("s.yaml: name is ")
    assert len(str(error.value)) < 200
