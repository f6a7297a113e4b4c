"""Run every command that README.md and docs/ show, on the embedded sample: `make docs-check`.

A fenced block of `sh` or `python` is run, page by page and from the top, in a folder that holds a part of the sample as
passages.jsonl, topics.tsv and qrels.txt. A `text` block right below it is its output, in which `...` stands for
anything. HTML comments on the lines above a block change that:

    <!-- not run: needs an endpoint -->   it is listed instead; its flags are checked all the same
    <!-- run by: tests/test_x.py -->      a test runs it
    <!-- background -->                   it is a server: started here, stopped at the end of the page
    <!-- setup: cp $MADE/bm25.trec* . --> run this first; $MADE holds the first stage of the part of the sample, and
                                          $ROOT is the checkout
"""

from __future__ import annotations

import argparse
import contextlib
import doctest
import io
import os
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from rrarank.errors import RrarankError

ROOT = Path(__file__).resolve().parents[1]
RUN = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
SHOWN = {*RUN, "text", "toml", "json", "yaml", "sql", "bibtex", "latex"}  # languages of blocks
QUERIES = 4  # of the sample, in the folder of a page
PORT = "8080"  # on the pages; a free one is used
SECONDS = 900  # most for one block: a busy machine is slow
MARK = re.compile(r"<!--\s*(not run|run by|background|setup):?\s*(.*?)\s*-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block, its marks, and the output that is shown below it (None: none is)."""

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str]
    output: str | None = None

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_run(self) -> bool:
        return self.language in RUN and not self.marks.keys() & {"not run", "run by"}


# -- reading pages ----------------------------------------------------------------------------------------------------


def pages() -> list[str]:
    return ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]


def blocks(page: str, markdown: str) -> list[Block]:
    """The fenced blocks of a page, top to bottom; blocks in lists may be indented."""
    found: list[Block] = []
    fence = re.compile(r"^(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.M | re.S)
    end = 0
    for match in fence.finditer(markdown):
        between, end = markdown[end : match.start()], match.end()
        text = "\n".join(line.removeprefix(match["indent"]) for line in match["body"].splitlines())
        if match["language"] == "text" and found and not between.strip():
            last = found.pop()
            found.append(Block(last.page, last.line, last.language, last.text, last.marks, text))
            continue
        tail = re.search(r"(?:<!--(?:(?!-->).)*-->\s*)+\Z", between, re.S)
        marks = {mark[1]: mark[2] for mark in MARK.finditer(tail[0] if tail else "")}
        line = markdown.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, match["language"], text, marks))
    return found


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """(verb, its arguments) of each `python -m rrarank.VERB …` and `rrarank VERB …` of a block of shell."""
    text = re.sub(r"(^|\s)#.*", "", text.replace("\\\n", " "))
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";|&()<>\n")
    lexer.whitespace = " \t"
    lexer.whitespace_split = True
    words: list[str] = []
    for token in [*lexer, ";"]:
        if set(token) <= set(";|&()<>\n"):
            yield from _command(words)
            words = []
        else:
            words.append(token)


def _command(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    for place, word in enumerate(words):
        if word == "-m" and place + 1 < len(words) and words[place + 1].startswith("rrarank."):
            yield words[place + 1].removeprefix("rrarank."), list(words[place + 2 :])
            return
    if words[:1] == ["rrarank"] and len(words) > 1 and not words[1].startswith("-"):
        yield words[1], list(words[2:])


# -- what needs no running --------------------------------------------------------------------------------------------


def faults(page: str, markdown: str) -> Iterator[str]:
    """What is wrong on a page: a command that its parser refuses, an extra or a file of the repository that is not
    there, a flag that no verb has, a command outside a block, a block in a language that is not known."""
    for block in blocks(page, markdown):
        if block.language not in SHOWN:
            yield f"{block.where}: a block of {block.language!r}, expected one of {', '.join(sorted(SHOWN))}"
        if block.language == "sh":
            for verb, arguments in commands(block.text):
                if fault := refusal(verb, arguments):
                    yield f"{block.where}: rrarank {verb}: {fault}"
            for target in re.findall(r"^make ([\w-]+)", block.text, re.M):
                if not re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M):
                    yield f"{block.where}: make {target}: the Makefile has no such target"
            for group, name in re.findall(r"-m benchmarks (\w+) (\w+)", block.text):
                if not (ROOT / "benchmarks" / group / f"{name}.py").is_file():
                    yield f"{block.where}: no benchmark {group} {name}"
        if (test := block.marks.get("run by")) and not (ROOT / test.split("::")[0].split(" ")[0]).exists():
            yield f"{block.where}: run by {test}: no such test"
    for number, line in enumerate(markdown.splitlines(), start=1):
        for extra in re.findall(r"'(?:rrarank|\.)\[([\w,]+)\]'", line):
            if unknown := set(extra.split(",")) - extras():
                yield f"{page}:{number}: no extra {', '.join(sorted(unknown))}"
        for place in re.findall(r"(?<![\w/.$])(?:tests|benchmarks|recipes|examples|rrarank|prebuilt)/[\w./*-]+", line):
            if not any(ROOT.glob(place.rstrip("./"))):
                yield f"{page}:{number}: {place}: no such file in the repository"
        for flag in re.findall(r"`(--[a-z][\w-]+)[^`]*`", line):
            if flag not in all_flags() and not page.startswith("docs/results/"):
                yield f"{page}:{number}: no verb has the flag {flag}"
        if found := re.search(r"`((?:python -m )?rrarank[. ][a-z]+ [^`]*--?\w[^`]*)`", line):
            yield f"{page}:{number}: `{found[1]}`: put a command into a block of sh, so that it is run or marked"


def refusal(verb: str, arguments: Sequence[str]) -> str:
    """What the verb's parser says against the arguments; empty if it takes them."""
    try:
        parser = parser_of(verb)
    except ImportError:
        return "no such verb"
    if any(
        re.fullmatch(r"\$(@|\w+)", word) for word in arguments
    ):  # flags in a variable: only the names can be checked
        known = {name for one in (parser, *_acts(parser)) for action in one._actions for name in action.option_strings}
        unknown = [word for word in arguments if word.startswith("--") and word.partition("=")[0] not in known]
        return f"unknown {', '.join(unknown)}" if unknown else ""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parser.parse_args(arguments)
    except SystemExit as end:
        return said.getvalue().strip() if end.code else ""
    except RrarankError as error:  # a file of settings that the page makes is not here
        return "" if "cannot be read" in str(error) else str(error)
    return ""


@cache
def parser_of(verb: str) -> argparse.ArgumentParser:
    home = f"rrarank.{verb}.__main__" if (ROOT / "rrarank" / verb).is_dir() else f"rrarank.{verb}"
    return import_module(home).parser()  # type: ignore[no-any-return]


@cache
def all_flags() -> set[str]:
    """Those of every verb, its acts and `rrarank` itself."""
    parsers = [import_module("rrarank.__main__").parser(), *map(parser_of, import_module("rrarank.cli").VERBS)]
    every = [act for parser in parsers for act in (parser, *_acts(parser))]
    return {name for parser in every for action in parser._actions for name in action.option_strings}


def _acts(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


@cache
def extras() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


# -- running ----------------------------------------------------------------------------------------------------------


def run_page(page: str, made: Path, folder: Path) -> Iterator[str]:
    """Run a page's blocks in `folder`; what went wrong, and nothing further of that page."""
    port = _free_port()
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MADE": str(made),
        "ROOT": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",  # two pages are run at once
        "PYTHONWARNINGS": "ignore",
    }
    for name in ("passages.jsonl", "topics.tsv", "qrels.txt"):
        (folder / name).write_bytes((made / name).read_bytes())
    servers: list[subprocess.Popen[str]] = []
    try:
        for block in blocks(page, (ROOT / page).read_text(encoding="utf-8")):
            if not block.is_run:
                continue
            typed = [*RUN[block.language], block.text.replace(PORT, port)]
            if setup := block.marks.get("setup"):
                code, printed = _run([*RUN["sh"], setup], folder, environment)
                if code:
                    yield f"{block.where}: setup: exit {code}\n{printed[-2000:]}"
                    return
            if "background" in block.marks:
                servers.append(_start(typed, folder, environment, port))
                if (code := servers[-1].poll()) is not None:
                    yield f"{block.where}: the server ended by itself, exit {code}"
                    return
                continue
            started = time.monotonic()
            code, printed = _run(typed, folder, environment)
            print(f"{time.monotonic() - started:6.1f} s  {block.where}", flush=True)
            if code:
                yield f"{block.where}: exit {code}\n{block.text}\n{printed[-2000:]}"
                return
            if block.output is not None and not same(block.output, printed):
                yield f"{block.where}: other output than shown\n--- shown\n{block.output}\n--- printed\n{printed}"
                return
    finally:
        for server in (server for server in servers if server.poll() is None):
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def _run(typed: Sequence[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """The exit code, and all that was printed."""
    with subprocess.Popen(
        typed, cwd=folder, env=environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            printed, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return -1, f"not done after {SECONDS} s"
        return process.returncode, printed


def same(shown: str, printed: str) -> bool:
    """Equal but for spaces at the ends of lines; `...` stands for anything."""
    wanted, seen = ("\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n" for text in (shown, printed))
    return doctest.OutputChecker().check_output(wanted, seen, doctest.ELLIPSIS)


def _start(typed: Sequence[str], folder: Path, environment: dict[str, str], port: str) -> subprocess.Popen[str]:
    server = subprocess.Popen(typed, cwd=folder, env=environment, text=True, start_new_session=True)
    for _ in range(SECONDS):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
            break
        if server.poll() is not None:
            break
        time.sleep(1)
    return server


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def make_sample(folder: Path) -> None:
    """A part of the sample, as if it were a reader's own, and its first stage."""
    sample = ROOT / "prebuilt" / "sample"
    (folder / "passages.jsonl").write_bytes((sample / "collection.jsonl").read_bytes())
    topics = (sample / "topics.tsv").read_text(encoding="utf-8").splitlines()[:QUERIES]
    qids = {line.partition("\t")[0] for line in topics}
    judged = (ROOT / "qrels" / "sample.txt").read_text().splitlines()
    (folder / "topics.tsv").write_text("\n".join(topics) + "\n", encoding="utf-8")
    (folder / "qrels.txt").write_text("\n".join(line for line in judged if line.split()[0] in qids) + "\n")
    typed = (
        "-m rrarank.retrieve --index index --collection passages.jsonl --topics topics.tsv --output bm25.trec --hits 30"
    )
    subprocess.run([sys.executable, *typed.split()], cwd=folder, check=True, capture_output=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run the commands of README.md and docs/ on the sample.")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="only these, such as docs/quickstart.md")
    parser.add_argument("--list", action="store_true", help="list what is not run, and stop")
    flags = parser.parse_args(arguments)
    wanted = flags.pages or pages()
    texts = {page: (ROOT / page).read_text(encoding="utf-8") for page in wanted}
    every = [block for page, text in texts.items() for block in blocks(page, text) if block.language in RUN]
    wrong = [fault for page, text in texts.items() for fault in faults(page, text)]
    started = time.monotonic()
    if not flags.list:
        with TemporaryDirectory() as scratch:
            made = Path(scratch, "made")
            made.mkdir()
            make_sample(made)

            def check(page: str) -> list[str]:
                folder = Path(scratch, page.replace("/", "-"))
                folder.mkdir()
                return list(run_page(page, made, folder))

            with ThreadPoolExecutor(2) as pool:
                wrong += [fault for found in pool.map(check, wanted) for fault in found]
    for block in every:
        for mark in ("not run", "run by"):
            if mark in block.marks:
                print(f"{mark}  {block.where}: {block.marks[mark]}")
    for fault in wrong:
        print(f"error: {fault}", file=sys.stderr)
    run, used = sum(block.is_run for block in every), resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{run} blocks run in {time.monotonic() - started:.0f} s ({used.ru_utime + used.ru_stime:.0f} s of one core), "
        f"{len(every) - run} marked, {len(wrong)} wrong"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
