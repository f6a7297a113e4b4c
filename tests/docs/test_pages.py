"""What the pages show: each command is run by `make docs-check` or marked, and docs/check.py tells what is wrong."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("docs_check", ROOT / "docs" / "check.py")
assert _spec is not None
assert _spec.loader is not None
check = importlib.util.module_from_spec(_spec)
sys.modules["docs_check"] = check  # dataclasses look their module up
_spec.loader.exec_module(check)


def page(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def faults(*lines: str) -> list[str]:
    return list(check.faults("page.md", page(*lines)))


@pytest.mark.parametrize("name", check.pages())
def test_a_page_shows_only_commands_files_and_extras_that_are_there(name):
    assert list(check.faults(name, (ROOT / name).read_text(encoding="utf-8"))) == []


def test_an_unknown_flag_is_found_even_where_the_command_is_not_run():
    found = faults("<!-- not run: needs a GPU -->", "```sh", "python -m rrarank.rerank --run a --dept 3", "```")
    assert len(found) == 1
    assert found[0].startswith("page.md:2: rrarank rerank: ")
    assert "--dept" in found[0]


def test_both_ways_to_type_a_command_are_understood():
    text = page(
        "for m in a b; do python -m rrarank.rerank --run $m \\", "   --depth 3; done  # a comment; rrarank nothing",
        "rrarank merge x.trec y.trec > z.trec | cat && accelerate launch -m rrarank.train --output o",
    )  # fmt: skip
    assert list(check.commands(text)) == [
        ("rerank", ["--run", "$m", "--depth", "3"]),
        ("merge", ["x.trec", "y.trec"]),
        ("train", ["--output", "o"]),
    ]


def test_flags_in_a_variable_leave_the_other_flags_checked():
    assert faults("```sh", 'rerank() { python -m rrarank.rerank --topics t "$@"; }', "```") == []
    assert "unknown --topic" in faults("```sh", "python -m rrarank.rerank --topic t $FLAGS", "```")[0]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["```sh", "python -m rrarank.rerun --run x", "```"], "no such verb"),
        (["```sh", "make nonsense", "```"], "no such target"),
        (["```sh", "python -m benchmarks speed of_light", "```"], "no benchmark speed of_light"),
        (["```console", "ls", "```"], "a block of 'console'"),
        (["pip install 'rrarank[jawa]'"], "no extra jawa"),
        (["see `tests/test_nothing.py`"], "no such file in the repository"),
        (["give `--dept 3`"], "no verb has the flag --dept"),
        (["type `python -m rrarank.rerank --run x`"], "put a command into a block"),
        (["<!-- run by: tests/test_nothing.py -->", "```sh", "ls", "```"], "no such test"),
    ],
)
def test_what_is_wrong_on_a_page_is_found(lines, fault):
    assert any(fault in found for found in faults(*lines)), faults(*lines)


def test_a_block_knows_its_marks_and_its_output():
    first, second, third = check.blocks(
        "page.md",
        page(
            "```sh", "ls", "```", "```text", "a.txt", "```", "", "<!-- setup: touch x -->", "<!-- not run: slow -->",
            "```python", "print(1)", "```", "1. in a list", "   ```sh", "   pwd", "   ```",
        ),
    )  # fmt: skip
    assert (first.is_run, first.output) == (True, "a.txt")
    assert (second.is_run, second.marks) == (False, {"setup": "touch x", "not run": "slow"})
    assert (third.is_run, third.text, third.line) == (True, "pwd", 14)


def run(tmp_path: Path, monkeypatch, *lines: str) -> list[str]:
    (tmp_path / "page.md").write_text(page(*lines))
    monkeypatch.setattr(check, "ROOT", tmp_path)
    for name in ("made", "here"):
        (tmp_path / name).mkdir()
    for name in ("passages.jsonl", "topics.tsv", "qrels.txt"):
        (tmp_path / "made" / name).write_text("")
    return list(check.run_page("page.md", tmp_path / "made", tmp_path / "here"))


def test_a_command_that_fails_or_prints_something_else_is_named(tmp_path, monkeypatch):
    (failed,) = run(tmp_path, monkeypatch, "```sh", "echo said; exit 3", "```")
    assert failed.startswith("page.md:1: exit 3\n")
    assert "said" in failed


def test_output_is_compared_and_dots_stand_for_anything(tmp_path, monkeypatch):
    shown = ("```sh", "echo took 3 s", "```", "```text", "took ... s", "```")
    (other,) = run(tmp_path, monkeypatch, *shown, "```python", "print('b')", "```", "```text", "a", "```")
    assert other.startswith("page.md:7: other output than shown\n")


def test_blocks_share_a_folder_and_setup_comes_first(tmp_path, monkeypatch):
    lines = ("<!-- setup: echo hidden > made-before -->", "```sh", "cat made-before > after; cat topics.tsv", "```")
    assert (
        run(
            tmp_path, monkeypatch, *lines, "```python", "print(open('after').read())", "```", "```text", "hidden", "```"
        )
        == []
    )


def test_a_server_that_ends_by_itself_is_named(tmp_path, monkeypatch):
    lines = ("<!-- background -->", "```sh", "exit 3", "```")
    assert run(tmp_path, monkeypatch, *lines) == ["page.md:2: the server ended by itself, exit 3"]
