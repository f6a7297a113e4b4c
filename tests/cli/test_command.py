"""The command `rrarank`: verbs, suggestions, completion, messages."""

import logging
import os
import subprocess
import sys

import pytest

from rrarank.__main__ import main
from rrarank.cli import VERBS
from rrarank.cli.parser import Parser
from rrarank.cli.verbs import run_verb
from rrarank.errors import say

SCRIPT = "import sys; sys.argv[0] = '/usr/bin/rrarank'; from rrarank.__main__ import main; sys.exit(main())"


def command(*flags, script=True, **more):
    start = ["-c", SCRIPT] if script else ["-m", "rrarank"]
    return subprocess.run([sys.executable, *start, *flags], capture_output=True, text=True, **more)


def refusal(call, capsys):
    with pytest.raises(SystemExit) as stopped:
        call()
    assert stopped.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


# -- verbs ------------------------------------------------------------------------------------------------------------


def test_every_verb_stands_on_one_line_of_the_help(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([]) == 0
    alone = capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert (stopped.value.code, capsys.readouterr().out) == (0, alone)
    for verb, promise in VERBS.items():
        assert any(line.split(maxsplit=1) == [verb, promise] for line in alone.splitlines()), verb


def test_help_imports_nothing_heavy():
    code = "import sys\nfrom rrarank.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('numpy', 'torch', 'tqdm', 'rrarank.engine', 'rrarank.storage') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_verb_runs_as_its_module_does(tmp_path):
    (tmp_path / "a.trec").write_text("1 Q0 a 1 2 x\n1 Q0 b 2 1 x\n")
    flags = ["--run", "a.trec", "--hits", "1", "--output", "-"]
    done = command("convert", *flags, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "1 Q0 a 1 2.0 x\n")
    module = [sys.executable, "-m", "rrarank.convert", *flags]
    assert subprocess.run(module, cwd=tmp_path, capture_output=True, text=True).stdout == done.stdout


def test_the_usage_shows_the_command_as_it_was_typed():
    assert command("trec").stderr.endswith("; see rrarank trec --help\n")
    assert command("trec", script=False).stderr.endswith("; see python -m rrarank trec --help\n")
    assert command("sets", "show").stderr.endswith("; see rrarank sets show --help\n")
    module = subprocess.run([sys.executable, "-m", "rrarank.trec"], capture_output=True, text=True)
    assert module.stderr.endswith("; see python -m rrarank.trec --help\n")


def test_the_version(capsys):
    import rrarank

    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert (stopped.value.code, capsys.readouterr().out) == (0, f"rrarank {rrarank.__version__}\n")


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("rernk", "did you mean 'rerank'? See "),
        ("--versoin", "did you mean '--version'? See "),
        ("fuse --run x", "unrecognized arguments: --run; did you mean '--runs'? See "),
        ("fuse --runs a b --metod rrf", "unrecognized arguments: --metod; did you mean '--method'? See "),
        ("fuse --runs a b --method=rff", "did you mean 'rrf'? See "),
        ("sets shwo x", "did you mean 'show'? See "),
        ("sets show x --query 3", "did you mean '--queries'? See "),
        ("rerank -run x", "unrecognized arguments: -run; did you mean '--run'? See "),
        ("fuse --zzz", "unrecognized arguments: --zzz; see "),
    ],
)
def test_a_misspelt_verb_flag_or_choice_gets_the_nearest(given, hint, capsys):
    assert hint in refusal(lambda: main(given.split()), capsys)


def test_a_value_that_looks_like_a_flag_is_none(capsys):
    parser = Parser("x")
    parser.add_argument("--text")
    parser.add_argument("rest", nargs="*")
    assert parser.parse_args(["--text", "--a b"]).text == "--a b"
    assert parser.parse_args(["--", "--other"]).rest == ["--other"]


def test_no_help_text_shows_an_empty_default():
    import rrarank.__main__ as command

    for verb in VERBS:
        text = " ".join(command._verb(verb).parser().format_help().split())
        for empty in ("(default: [])", "(default: ())", "(default: {})", "(default: ((", "(default: (0.0"):
            assert empty not in text, verb


# -- completion -------------------------------------------------------------------------------------------------------


def test_bash_completes_verbs_flags_choices_and_files(tmp_path):
    (tmp_path / "bm25.trec").touch()
    (tmp_path / "rrarank.bash").write_text(command("--print-completion", "bash").stdout)
    lines = "source rrarank.bash\n"
    for words in ("rer", "rerank --backe", "rerank --backend open", "sets sta", "rerank --run bm"):
        count = len(words.split())
        lines += (
            f"COMP_WORDS=(rrarank {words}); COMP_CWORD={count}; COMPREPLY=(); _shtab_rrarank; echo ${{COMPREPLY[*]}}\n"
        )
    done = subprocess.run(["bash", "-c", lines], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["rerank", "--backend", "openvino", "statistics", "bm25.trec"]


def test_zsh_gets_a_script_of_its_own(capsys):
    assert main(["--print-completion", "zsh"]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#compdef rrarank")
    assert all(f"{verb}:" in script for verb in VERBS)


# -- messages ---------------------------------------------------------------------------------------------------------


def test_messages_reach_stderr_in_a_command_and_nothing_in_python(capsys):
    assert run_verb(lambda _: say("in a command"), Parser("x"), []) == 0
    say("in Python")
    assert capsys.readouterr().err == "in a command\n"
    assert logging.getLogger("rrarank").handlers == []


def test_python_callers_may_listen(caplog):
    with caplog.at_level(logging.INFO, logger="rrarank"):
        say("a line")
    assert caplog.messages == ["a line"]


@pytest.mark.parametrize("closing", ["2>&-", "2>/dev/full"])
def test_a_closed_stderr_is_no_fault(closing, tmp_path):
    (tmp_path / "a.trec").write_text("1 Q0 a 1 2 x\n")
    convert = f"'{sys.executable}' -m rrarank.convert --run a.trec --output - {closing}"
    done = subprocess.run(["bash", "-c", convert], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 Q0 a 1 2.0 x\n", "")
    bad = subprocess.run(["bash", "-c", convert.replace("a.trec", "no.trec")], cwd=tmp_path, stdout=subprocess.PIPE)
    assert (bad.returncode, bad.stdout) == (2, b"")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_the_last_print_names_the_output_whatever_the_encoding(encoding, tmp_path):
    (tmp_path / "a.trec").write_text("1 Q0 a 1 2 x\n")
    command = [sys.executable, "-m", "rrarank.convert", "--run", "a.trec", "--output", "결과.trec"]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "결과.trec\n".encode(), b"")
    assert (tmp_path / "결과.trec").is_file()


# -- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        RuntimeError("can't start new thread"),
        ImportError("libopenblas.so: failed to map segment from shared object"),
    ],
)
def test_too_little_memory_is_one_line(error, capsys):
    def verb(flags):
        raise error

    assert run_verb(verb, Parser("convert"), []) == 2
    assert capsys.readouterr().err == (
        "error: not enough memory for this; give smaller inputs, or type the command where more memory is free\n"
    )


def test_another_runtime_error_keeps_its_traceback():
    def verb(flags):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run_verb(verb, Parser("convert"), [])


LIMITED = """
import resource, sys
from importlib import import_module
from rrarank.data import run_files, trec
from rrarank.measures import values
main = import_module("rrarank.__main__").main
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 40_000_000, -1))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux says there how much memory is used")
@pytest.mark.parametrize(
    "flags",
    [
        ["convert", "--run", "big.json", "--output", "out.trec"],
        ["evaluate", "--runs", "big.json", "--qrels", "big.json"],
        ["fuse", "--runs", "big.json", "small.trec", "--output", "out.trec"],
        ["report", "--runs", "big.json", "--qrels", "big.json", "--output", "out.html"],
    ],
    ids=lambda flags: flags[0],
)
def test_an_input_that_does_not_fit_into_memory_is_one_line(flags, tmp_path):
    (tmp_path / "small.trec").write_text("1 Q0 d1 1 2 x\n")
    scores = ", ".join(f'"document-{number}": {number}.5' for number in range(600_000))
    (tmp_path / "big.json").write_text(f'{{"1": {{{scores}}}}}')
    done = subprocess.run([sys.executable, "-c", LIMITED, *flags], cwd=tmp_path, capture_output=True, text=True)
    [line] = done.stderr.splitlines()
    assert line.startswith("error: not enough memory for this; give smaller inputs")
    assert done.returncode == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big.json", "small.trec"]
