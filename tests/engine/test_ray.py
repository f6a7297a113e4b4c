"""Workers of Ray on this machine: the bits of one process, also where a worker is killed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rrarank.cli.flags import add_engine, check_engine_flags, ray_config
from rrarank.cli.parser import Parser
from rrarank.data.types import Candidate, Query, Ranking
from rrarank.engine.ray import RayBlocks, RayConfig, _packed, _unpacked
from rrarank.errors import MissingPrerequisite, RrarankError
from rrarank.label.__main__ import main as label
from rrarank.rerank.__main__ import main


@pytest.fixture
def job(make_job):
    return [*make_job(60), "--threads", "1"]


def test_a_block_comes_as_it_was_sent():
    block = [Ranking(Query("q", "é"), (Candidate("d", "東\n", 0.1 + 0.2), Candidate("e", "", 5e-324)))]
    assert _unpacked(_packed(block)) == block


def flags_of(*given):
    parser = Parser("rerank", "")
    add_engine(parser)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device")
    return parser.parse_args(given)


def test_one_process_needs_no_ray_and_its_flags_need_it():
    check_engine_flags(flags_of())
    assert ray_config(flags_of()) is None
    for odd in (["--workers", "2"], ["--address", "auto"]):
        with pytest.raises(RrarankError, match=f"{odd[0]} without --engine ray: give both or neither"):
            check_engine_flags(flags_of(*odd))


def test_each_worker_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    for flags, threads in (([], 4), (["--workers", "3"], 2), (["--workers", "20"], 1), (["--threads", "5"], 5)):
        assert ray_config(flags_of("--engine", "ray", *flags)).threads == threads
    assert ray_config(flags_of("--engine", "ray", "--address", "auto")).threads == 1


def test_a_worker_sees_one_gpu_whichever_was_named():
    for device, gpus, seen in (("cuda:1", 1.0, "cuda"), ("cpu", 0.0, "cpu")):
        assert ray_config(flags_of("--engine", "ray", "--device", device)).gpus == gpus
        assert RayBlocks("bm25", {"device": device}, RayConfig(gpus=gpus))._settings["device"] == seen


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPrerequisite, match=r"pip install 'rrarank\[ray\]'"):
        check_engine_flags(flags_of("--engine", "ray"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--budget-ms", "5"], "--engine ray with --budget-ms"),
        (["--output", "-"], "--engine ray keeps finished blocks beside the run; give --output FILE"),
    ],
)
def test_what_ray_cannot_do_is_refused(job, flags, said, capsys):
    assert main([*job, "--reranker", "bm25", "--engine", "ray", *flags]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_two_workers_write_the_bytes_of_one_process_and_skip_what_is_done(job, capsys):
    job += ["--max-length", "13"]
    assert main([*job, "--output", "whole.trec"]) == 0
    assert main([*job, "--output", "ray.trec", "--engine", "ray", "--workers", "2"]) == 0
    assert Path("ray.trec").read_bytes() == Path("whole.trec").read_bytes()
    one, two = (json.loads(Path(f"{name}.trec.json").read_text()) for name in ("whole", "ray"))
    assert one["config"] == two["config"]
    assert one["cut"] == two["cut"] > 0
    assert one["threads"] == two["threads"] == 1
    assert not list(Path().glob("*.journal"))


@pytest.mark.slow
def test_labels_are_those_of_one_process(make_job, cross_encoder_folder):
    make_job(20)
    wanted = ["--run", "bm25.trec", "--topics", "topics.tsv", "--collection", "texts.jsonl", "--threads", "1"]
    wanted += ["--preranker", "bi-encoder", "--teacher", "cross-encoder", "--model", str(cross_encoder_folder)]
    wanted += ["--device", "cpu", "--k-top", "2", "--k-bottom", "1"]
    assert label([*wanted, "--output", "whole.jsonl"]) == 0
    assert label([*wanted, "--output", "ray.jsonl", "--engine", "ray", "--workers", "2"]) == 0
    assert Path("ray.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_the_job_completes(job, tmp_path):
    """Each worker is slow, so that there is time; the first that scores is killed."""
    (tmp_path / "slowly.py").write_text(
        "import os, time\n"
        "from rrarank.rerankers.cross_encoder import CrossEncoder as Fast\n"
        "class CrossEncoder(Fast):\n"
        "    def prepare_block(self, queries):\n"
        "        finish = super().prepare_block(queries)\n"
        "        def slowly():\n"
        "            with open(os.environ['PIDS'], 'a') as file:\n"
        "                file.write(f'{os.getpid()}\\n')\n"
        "            time.sleep(0.5)\n"
        "            return finish()\n"
        "        return slowly\n"
    )
    assert main([*job, "--output", "whole.trec"]) == 0
    code = (
        "import sys; from rrarank.engine import ray; from rrarank.rerank import __main__ as rerank; import slowly;"
        "ray.load_reranker = lambda name, **settings: slowly.CrossEncoder(slowly.CrossEncoder.Config("
        "**{key: value for key, value in settings.items() if value is not None}));"
        "sys.exit(rerank.main(sys.argv[1:]))"
    )
    pids = tmp_path / "pids"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PIDS": str(pids)}
    flags = [*job, "--output", "ray.trec", "--engine", "ray", "--workers", "2"]
    killed = []

    def kill_one():
        while not pids.is_file() or len(lines := pids.read_text().split()) < 2:
            time.sleep(0.05)
        killed.append(int(lines[0]))
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    done = subprocess.run(
        [sys.executable, "-c", code, *flags], check=False, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert killed
    assert len(set(pids.read_text().split())) >= 3  # another took its place
    assert Path("ray.trec").read_bytes() == Path("whole.trec").read_bytes()


@pytest.mark.slow
def test_what_a_worker_raises_for_users_is_one_line(job, tmp_path, capsys):
    (tmp_path / "broken").mkdir()
    assert main([*job, "--reranker", "cross-encoder", "--model", "absent/model", "--engine", "ray"]) == 4
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*job, "--reranker", "bm25", "--engine", "ray", "--address", "127.0.0.1:1", "--output", "x.trec"]) == 4
    assert "error: no Ray cluster at 127.0.0.1:1" in capsys.readouterr().err


@pytest.fixture
def cluster(tmp_path):
    """The address of a cluster that runs, and the token it asks for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    flags = ["--head", "--block", f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=1"]
    command = [str(Path(sys.executable).with_name("ray")), "start", *flags, "--include-dashboard=false"]
    with open(tmp_path / "ray.log", "w+") as log:
        head = subprocess.Popen(command, env=os.environ | token, stdout=log, stderr=subprocess.STDOUT)
    try:
        while "Ray runtime started" not in (tmp_path / "ray.log").read_text():
            assert head.poll() is None, (tmp_path / "ray.log").read_text()
            time.sleep(0.1)
        yield f"127.0.0.1:{port}", token
    finally:
        head.terminate()
        head.wait(60)


@pytest.mark.slow
def test_a_cluster_that_runs_works_for_those_who_have_its_token(job, cluster):
    address, token = cluster
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    flags = [*job, "--engine", "ray", "--workers", "1", "--address", address, "--output", "ray.trec"]

    def rerank(more):
        command = [sys.executable, "-m", "rrarank.rerank", *flags]
        return subprocess.run(command, check=False, env=environment | more, capture_output=True, text=True, timeout=200)

    refused = rerank({})
    assert (refused.returncode, Path("ray.trec").exists()) == (4, False)
    assert re.search(f"error: no Ray cluster at {address} .*set RAY_AUTH_MODE=token", refused.stderr.splitlines()[-1])
    done = rerank(token)
    assert done.returncode == 0, done.stderr
    assert main([*job, "--output", "whole.trec"]) == 0
    assert Path("ray.trec").read_bytes() == Path("whole.trec").read_bytes()
