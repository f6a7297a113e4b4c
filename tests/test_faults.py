"""What happens to a job from outside: signals, a full disk, a reader that goes away, a second writer."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rrarank.rerank import job as rerank_job
from rrarank.rerank.__main__ import main
from rrarank.rerank.pairs import pairs_of

SLOW = """
import sys, time
from rrarank.rerank import __main__ as rerank
from rrarank.rerankers.cross_encoder import CrossEncoder
finish = CrossEncoder._finish
def slowly(self, queries, pairs):
    time.sleep(.3)
    return finish(self, queries, pairs)
CrossEncoder._finish = slowly
sys.exit(rerank.main(sys.argv[1:]))
"""


@pytest.fixture
def job(make_job):
    """Flags of a job of eight blocks, which has one thread in this process and in others: the bits hang on that."""
    import torch

    threads = torch.get_num_threads()
    yield [*make_job(60), "--threads", "1"]
    torch.set_num_threads(threads)


@pytest.fixture
def whole(job):
    """What an undisturbed job writes."""
    assert main([*job, "--output", "whole.trec"]) == 0
    return Path("whole.trec").read_bytes()


def start(flags, **more):
    """The job, made slow so that there is time to disturb it."""
    return subprocess.Popen([sys.executable, "-c", SLOW, *flags], stderr=subprocess.PIPE, text=True, **more)


def wait_for_blocks(journal, blocks):
    end = time.monotonic() + 60
    while not journal.is_file() or journal.read_bytes().count(b"\n") < blocks:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("end", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_leaves_a_journal_and_says_how_to_go_on(job, whole, end, code, word, capsys):
    with start([*job, "--output", "out.trec"]) as process:
        wait_for_blocks(Path("out.trec.journal"), 2)
        process.send_signal(end)
        said = process.stderr.read()
    assert process.returncode == code
    assert f"{word}; nothing is half-written\n" in said
    assert "out.trec.journal keeps " in said
    assert "finished blocks of 8 queries; the same command goes on from there" in said
    assert "Traceback" not in said
    assert not [path.name for path in Path().iterdir() if path.name.startswith((".", "out.trec.json"))]
    assert main([*job, "--output", "out.trec"]) == 0
    assert "going on from out.trec.journal" in capsys.readouterr().err
    assert Path("out.trec").read_bytes() == whole


def test_a_second_writer_gets_one_line_and_the_first_is_not_disturbed(job, whole):
    with start([*job, "--output", "out.trec"]) as first:
        wait_for_blocks(Path("out.trec.journal"), 1)
        second = subprocess.run(
            [sys.executable, "-m", "rrarank.rerank", *job, "--output", "out.trec"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        first.communicate()
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == (
        "error: out.trec.journal: another job is at work on it; wait for that, or give another --output\n"
    )
    assert first.returncode == 0
    assert Path("out.trec").read_bytes() == whole


def limit_files(bytes_):
    """The disk of a process that has so much room in a file: a real fault of the system's, EFBIG."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))

    return limit


def test_a_job_stopped_between_its_run_and_its_sidecar_goes_on_by_the_same_command(job, whole, monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr("rrarank.rerank.job._describe", stopped)
        assert main([*job, "--output", "out.trec"]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert main([*job, "--output", "out.trec"]) == 0
    assert Path("out.trec").read_bytes() == whole
    assert Path("out.trec.json").is_file()
    assert not Path("out.trec.journal").exists()
    assert main([*job, "--output", "out.trec"]) == 2  # it is done: now it needs --overwrite


def test_what_another_job_wrote_meanwhile_is_not_replaced(job, whole, monkeypatch, capsys):
    def meanwhile(inputs, depth):
        Path("out.trec").write_text("precious\n")
        return pairs_of(inputs, depth)

    monkeypatch.setattr(rerank_job, "pairs_of", meanwhile)
    assert main([*job, "--output", "out.trec"]) == 2
    assert "out.trec: exists already" in capsys.readouterr().err
    assert Path("out.trec").read_text() == "precious\n"


def test_a_full_disk_keeps_what_is_finished(job, whole, capsys):
    with start([*job, "--output", "out.trec"], preexec_fn=limit_files(5_000)) as process:
        said = process.stderr.read()
    assert process.returncode == 2
    assert "error: out.trec" in said  # the journal, or the run as it is put away
    assert "(File too large); make room" in said or ": File too large; make room" in said
    assert "the same command goes on from " in said
    assert "Traceback" not in said
    assert not Path("out.trec").exists()
    finished = Path("out.trec.journal").read_bytes().count(b"\n")
    assert finished >= 1
    assert main([*job, "--output", "out.trec"]) == 0
    assert f"holds {finished} finished blocks" in capsys.readouterr().err
    assert Path("out.trec").read_bytes() == whole


def test_a_disk_that_fills_while_the_run_is_written_leaves_the_old_run(job, whole):
    Path("out.trec").write_text("precious\n")
    flags = [*job, "--reranker", "bm25", "--output", "out.trec", "--overwrite"]
    room = len(whole) // 2
    code = "import sys; from rrarank.rerank import __main__ as rerank; from rrarank.storage.journal import Journal; "
    code += "Journal.add = lambda *_: None; "
    done = subprocess.run(
        [sys.executable, "-c", f"{code} sys.exit(rerank.main(sys.argv[1:]))", *flags],
        check=False, capture_output=True, text=True, preexec_fn=limit_files(room),
    )  # fmt: skip
    assert done.returncode == 2
    assert "File too large; make room there, or write elsewhere, and type the command again" in done.stderr
    assert Path("out.trec").read_text() == "precious\n"
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith(".")) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_device_is_one_line(job):
    done = subprocess.run(
        [sys.executable, "-m", "rrarank.rerank", *job, "--output", "/dev/full"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "No space left on device; make room there" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("pipe", ["stdout", "both"])
def test_a_reader_that_goes_away_ends_the_job_quietly(job, pipe):
    command = f"{sys.executable} -m rrarank.rerank {' '.join(job)} --reranker bm25 --output -"
    shell = f"({command}{' 2>&1' if pipe == 'both' else ''}; echo $? >code) | head -1"
    done = subprocess.run(["bash", "-c", shell], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("0 Q0 d1 1 ")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert Path("code").read_text() in ("141\n", "0\n")


@pytest.mark.slow
def test_a_job_killed_at_three_moments_ends_byte_identical(job, whole, capsys):
    for blocks in (1, 3, 5):
        with start([*job, "--output", "out.trec"]) as process:
            wait_for_blocks(Path("out.trec.journal"), blocks)
            process.kill()
    assert main([*job, "--output", "out.trec"]) == 0
    assert "going on from out.trec.journal" in capsys.readouterr().err
    assert Path("out.trec").read_bytes() == whole
    assert not list(Path().glob(".*"))
