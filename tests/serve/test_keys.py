"""Limits of a key, and keys that share a server."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from server_process import serving  # type: ignore[import-not-found]  # pytest finds it beside this file
from sleeper import SleepyPairs  # type: ignore[import-not-found]  # and this one too

from rrarank.engine.reranker import RerankerConfig
from rrarank.errors import RrarankError
from rrarank.serve.intake import LargeBodies
from rrarank.serve.keys import Key, read_keys
from rrarank.serve.queue import Full, Worker
from rrarank.serve.scoring import Asked

SLEEPER = Path(__file__).with_name("sleeper.py")
ONE, TWO, THREE = "the-first-of-our-keys", "the-second-of-our-keys", "the-third-of-our-keys"
FLOODS, CALM = Key(1), Key(2)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (f"{ONE}\n{TWO} queue=2 documents=50\n{THREE}", [Key(1), Key(2, queue=2, documents=50), Key(3)]),
        (f"{ONE} max-bytes=9\n{ONE} queue=1", [Key(1, queue=1, max_bytes=9)]),
        (f"{ONE} {TWO}\tqueue=5", [Key(1), Key(2, queue=5)]),
    ],
)
def test_a_key_has_the_limits_that_stand_behind_it(tmp_path, text, keys):
    (tmp_path / "keys").write_text(text)
    read = read_keys(str(tmp_path / "keys"))
    found = [read.find(key.encode()) for key in (ONE, TWO, THREE)]
    assert [key for key in found if key] == keys


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{ONE} queu=2", "key 1: queu=2; expected a limit from 1 (known: queue=N, documents=N, max-bytes=N)"),
        (f"{ONE}\n{TWO} queue=0", "key 2: queue=0; expected a limit"),
        (f"queue=2 {ONE}", "key 1 has 7 characters"),
    ],
)
def test_a_limit_that_is_none_is_named_without_its_key(tmp_path, text, said):
    (tmp_path / "keys").write_text(text)
    with pytest.raises(RrarankError) as raised:
        read_keys(str(tmp_path / "keys"))
    assert said in str(raised.value)
    assert ONE not in str(raised.value)


def test_beyond_its_own_limits_a_key_is_refused_and_another_is_not(tmp_path):
    (tmp_path / "keys").write_text(f"{ONE} queue=1 documents=3 max-bytes=500\n{TWO}\n")

    def ask(key, *documents):
        return server.post({"query": "q", "documents": documents}, headers={"x-api-key": key})

    flags = ("--keys", tmp_path / "keys", "--reranker", "sleeper")
    with serving(tmp_path, *flags, command=[SLEEPER]) as server, ThreadPoolExecutor(2) as pool:
        gate = tmp_path / "gate"
        held = pool.submit(ask, TWO, f"hold {gate}")
        wait_for(Path(f"{gate}.begun").exists)
        waits = pool.submit(ask, ONE, "a", "b")
        wait_for(lambda: server.metric("rrarank_waiting", headers={"x-api-key": ONE}) == 1)
        many, more, large = ask(ONE, "a"), ask(ONE, "a", "b", "c", "d"), ask(ONE, "a" * 500)
        others = pool.submit(ask, TWO, "a" * 500)
        gate.touch()
        assert [one.result().status_code for one in (held, waits, others)] == [200] * 3
        said = "1 requests of this key are waiting; try again in 1 s"
        assert [many.status_code, many.headers["retry-after"], many.json()["message"]] == [429, "1", said]
        assert [more.status_code, more.json()["message"]] == [413, "4 documents, expected at most 3 with this key"]
        assert [large.status_code, large.json()["message"]] == [
            413,
            "the body has more than 500 bytes; send less",
        ]
        assert server.stop() == 0
        assert '"key": 1' in server.log.read_text()


def wait_for(holds, seconds=60.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


class Held(SleepyPairs):  # type: ignore[misc]
    """Waits before each round until it is released; `rounds` holds their texts."""

    def __init__(self):
        super().__init__(RerankerConfig())
        self.gate, self.rounds = threading.Semaphore(0), []

    def score(self, batch):
        self.gate.acquire()
        self.rounds.append([" ".join(pair["input_ids"]) for pair in batch])
        return super().score(batch)


@pytest.fixture
def held():
    """A reranker that waits, and its queue of at most four requests; one of them is being scored."""
    reranker = Held()
    worker = Worker({"": reranker}, limit=4)
    worker.submit(Asked("q", ["begun"]), key=FLOODS)
    wait_for(lambda: not worker.waiting)
    yield reranker, worker
    for _ in range(1_000):
        reranker.gate.release()
    worker.close()


def test_in_a_full_queue_a_key_takes_the_place_of_the_one_that_floods_it(held):
    _, worker = held
    flood = [worker.submit(Asked("q", [f"flood {number}"]), key=FLOODS) for number in range(4)]
    calm = [worker.submit(Asked("q", [f"calm {number}"]), key=CALM) for number in range(2)]
    assert [one.done() for one in flood] == [False, False, True, True]
    with pytest.raises(Full):
        flood[3].result()
    for key in (FLOODS, CALM):  # both have as many now
        with pytest.raises(Full):
            worker.submit(Asked("q", ["one more"]), key=key)
    assert not any(one.done() for one in calm)


def test_what_is_left_of_a_request_that_was_accepted_is_taken_though_the_queue_is_full(held):
    """/score asks for its queries one after the other."""
    reranker, worker = held
    few = Key(3, queue=1)
    waiting = [worker.submit(Asked("q", ["waits"]), key=key) for key in (FLOODS, FLOODS, CALM, few)]
    with pytest.raises(Full):
        worker.submit(Asked("q", ["new"]), key=few)
    left = worker.submit(Asked("q", ["left"]), key=few, begun=True)
    for _ in range(1_000):
        reranker.gate.release()
    assert [len(one.result(10).order) for one in (*waiting, left)] == [1] * 5


def test_documents_that_wait_are_counted_by_key(held):
    _, worker = held
    few = Key(3, documents=5)
    first = worker.submit(Asked("q", ["a", "b", "c"]), key=few)
    with pytest.raises(Full, match="3 documents of this key are waiting"):
        worker.submit(Asked("q", ["d", "e", "f"]), key=few)
    first.cancel()
    worker.submit(Asked("q", ["d", "e", "f"]), key=few)


def test_keys_take_turns_though_one_floods_with_small_requests():
    reranker = SleepyPairs(RerankerConfig())
    worker, stop = Worker({"": reranker}, limit=64), threading.Event()
    answers: list[Any] = []

    def flood():
        while not stop.is_set():
            try:
                answers.append(worker.submit(Asked("q", [f"small {len(answers)}"]), key=FLOODS))
            except Full:
                time.sleep(0.01)

    thread = threading.Thread(target=flood)
    thread.start()
    wait_for(lambda: worker.waiting > 50)
    before = sum(one.done() and not one.exception() for one in answers)
    large = worker.submit(Asked("q", [f"large {number}" for number in range(100)]), key=CALM)
    assert len(large.result(60).order) == 100
    served = sum(one.done() and not one.exception() for one in answers) - before
    stop.set()
    thread.join()
    assert 20 < served < 400  # each key about every second round, though the flood's requests are all smaller
    worker.close()


def test_of_several_keys_none_holds_more_than_half_of_the_memory_for_bodies():
    bodies = LargeBodies(100, shared=True)
    assert [bodies.has_room(FLOODS, count) for count in (50, 51)] == [True, False]
    bodies.held[FLOODS] += 50
    assert [bodies.has_room(key, 1) for key in (FLOODS, CALM)] == [False, True]
    assert LargeBodies(100).has_room(FLOODS, 100)
