"""Several processes behind one port."""

import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from server_process import serving  # type: ignore[import-not-found]  # pytest finds it beside this file

from rrarank.serve.__main__ import main
from rrarank.serve.models import ModelSettings

SLEEPER = Path(__file__).with_name("sleeper.py")
ASKED = {"query": "what is a cat", "documents": ["the dog sat", "a cat is a cat", "tea and bread", "the cat sat"]}


def wait_for(holds, seconds=120.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def workers_of(server):
    children = [one for one in psutil.Process(server.process.pid).children() if runs(one.pid)]
    return [one.pid for one in children if "resource_tracker" not in " ".join(one.cmdline())]


def ask(server, **more):
    """On a connection of its own, which any worker may accept."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        return client.post("/v1/rerank", json=ASKED | more)


def test_workers_count_together_and_replace_one_that_is_killed(tmp_path):
    with serving(tmp_path, "--workers", "2", "--reranker", "sleepy-pairs", command=[SLEEPER]) as server:
        first, second = workers_of(server)
        answers = {str(ask(server).json()["results"]) for _ in range(6)}
        # A round is counted just after its answers leave: a worker killed in between does not count its last one.
        wait_for(lambda: server.metric("rrarank_pairs_total") == 6 * len(ASKED["documents"]))
        os.kill(first, signal.SIGKILL)
        answers.add(str(ask(server).json()["results"]))
        assert len(answers) == 1
        wait_for(lambda: f"worker {first} died (SIGKILL); worker " in server.log.read_text())
        assert server.metric("rrarank_pairs_total") == 7 * len(ASKED["documents"])
        assert {*workers_of(server)} > {second}
        assert server.stop() == 0
    log = server.log.read_text()
    assert log.count('"route": "/v1/rerank", "status": 200') == 7
    assert log.count("every accepted request is answered") == 1
    assert "loaded on " in log
    assert "loaded on MainThread" not in log  # OpenMP would keep threads for it that slow scoring down


def test_on_sighup_new_workers_take_over_and_no_request_is_lost(tmp_path):
    with serving(tmp_path, "--workers", "2", "--reranker", "sleepy-pairs", command=[SLEEPER]) as server:
        before, statuses, stop = workers_of(server), [], threading.Event()

        def client():
            while not stop.is_set():
                statuses.append(ask(server).status_code)

        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(client) for _ in range(4)]
            try:
                server.process.send_signal(signal.SIGHUP)
                wait_for(lambda: len(workers_of(server)) == 2 and not {*workers_of(server)} & {*before})
            finally:
                stop.set()
            for one in clients:
                one.result()
        assert {*statuses} == {200}
        assert server.metric("rrarank_pairs_total") == len(statuses) * len(ASKED["documents"])
        assert server.stop() == 0


def test_on_sighup_the_old_workers_stay_if_the_new_model_is_broken(tmp_path):
    broken = tmp_path / "broken"
    flags = ("--workers", "2", "--reranker", "sleepy-pairs")
    with serving(tmp_path, *flags, command=[SLEEPER], SLEEPER_BROKEN=str(broken)) as server:
        before = workers_of(server)
        broken.touch()
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "error: the model is broken" in server.log.read_text())
        wait_for(lambda: workers_of(server) == before)
        assert ask(server).status_code == 200
        broken.unlink()
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(workers_of(server)) == 2 and not {*workers_of(server)} & {*before})
        assert ask(server).status_code == 200


def test_on_sigterm_every_worker_answers_what_it_has_accepted(tmp_path):
    with serving(tmp_path, "--workers", "2", "--reranker", "sleeper", command=[SLEEPER]) as server:
        gates = [tmp_path / "first", tmp_path / "second"]
        with ThreadPoolExecutor(2) as pool:
            jobs = []
            for gate in gates:
                jobs.append(pool.submit(ask, server, documents=[f"hold {gate}"]))
                begun = Path(f"{gate}.begun")
                wait_for(lambda: begun.exists() or server.metric("rrarank_waiting") == 1)  # noqa: B023
            server.process.terminate()
            for gate in gates:
                gate.touch()
            assert [job.result().status_code for job in jobs] == [200, 200]
        assert server.process.wait(60) == 0


def test_workers_that_cannot_start_say_why_once(capfd):
    assert main(["--port", "0", "--workers", "2", "--model", "/nowhere/at-all"]) == 4
    assert capfd.readouterr().err.strip() == "error: /nowhere/at-all: no such folder, and no hub id (owner/name)"


@pytest.mark.parametrize(("given", "workers", "threads"), [(None, 2, 4), (None, 16, 1), (3, 2, 3), (None, 1, None)])
def test_workers_share_the_processors_unless_threads_are_given(monkeypatch, given, workers, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert ModelSettings(settings={"threads": given}).shared_by(workers).settings["threads"] == threads


@pytest.mark.slow
def test_workers_give_equal_answers_to_the_last_bit(tmp_path):
    with serving(tmp_path, "--workers", "2", "--device", "cpu", "--threads", "1") as server:
        first, second = workers_of(server)
        answers = set()
        for other in (first, second):
            os.kill(other, signal.SIGSTOP)  # the other one accepts what comes
            answers.add(str(ask(server).json()["results"]))
            os.kill(other, signal.SIGCONT)
        assert len(answers) == 1


@pytest.mark.slow
def test_a_worker_killed_under_load_loses_no_request_of_another(tmp_path):
    """Only clients whose connection that worker had accepted see an error; a second try succeeds."""
    with serving(tmp_path, "--workers", "3", "--reranker", "sleepy-pairs", command=[SLEEPER]) as server:
        outcomes: Counter[Any] = Counter()
        stop = threading.Event()

        def client():
            while not stop.is_set():
                try:
                    outcomes[ask(server).status_code] += 1
                except httpx.TransportError:
                    outcomes["lost"] += 1
                    assert ask(server).status_code == 200

        with ThreadPoolExecutor(12) as pool:
            clients = [pool.submit(client) for _ in range(12)]
            try:
                for dead in range(1, 4):
                    before = outcomes[200]
                    wait_for(lambda: outcomes[200] > before + 20)  # noqa: B023
                    os.kill(workers_of(server)[0], signal.SIGKILL)
                    wait_for(lambda: server.log.read_text().count("takes its place") >= dead)  # noqa: B023
            finally:
                stop.set()
            for one in clients:
                one.result()
        assert set(outcomes) <= {200, "lost"}
        assert outcomes["lost"] <= 3 * 12  # at most what was in flight in the workers that died
        left = workers_of(server)
        server.process.kill()  # and workers without their parent end too
        wait_for(lambda: not any(runs(pid) for pid in left))


def runs(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
