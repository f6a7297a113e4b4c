"""Several models under names in one server."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from server_process import serving  # type: ignore[import-not-found]  # pytest finds it beside this file
from sleeper import SleepyPairs  # type: ignore[import-not-found]  # and this one too

from rrarank.engine.reranker import RerankerConfig
from rrarank.serve.__main__ import main
from rrarank.serve.queue import Worker
from rrarank.serve.scoring import Asked

SLEEPER = Path(__file__).with_name("sleeper.py")
ASKED: dict[str, Any] = {"query": "q", "documents": ["a", "bb ccc", "a cat is a cat"]}
TABLES = """
[words]
reranker = "sleepy-pairs"

["letters v2"]
reranker = "sleeper"

[calibrated]
model = "{folder}"
calibration = "{folder}/calibration.json"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    shipped = Path(__file__).resolve().parents[2] / "prebuilt" / "rra-bert-mini"
    (folder / "models.toml").write_text(TABLES.format(folder=shipped))
    with serving(folder, "--models", folder / "models.toml", "--threads", "1", command=[SLEEPER]) as server:
        yield server


def scores(server, model, path="/v1/rerank"):
    reply = server.post(ASKED | ({"model": model} if model else {}), path).json()
    return {one["index"]: one["score"] for one in reply["results"]}


def test_each_request_is_answered_by_the_model_that_it_names_and_by_the_first_without_a_name(server):
    words, letters = {0: 1.0, 1: 2.0, 2: 5.0}, {0: 1.0, 1: 6.0, 2: 14.0}
    assert [scores(server, name) for name in ("words", None, "letters v2")] == [words, words, letters]
    assert server.post(ASKED | {"model": "letters v2"}, "/v2/rerank").json()["model"] == "letters v2"
    pair = {"model": "letters v2", "text_1": "q", "text_2": ["a"]}
    assert server.post(pair, "/v1/score").json()["model"] == "letters v2"
    texts = {"model": "letters v2", "query": "q", "texts": ASKED["documents"], "raw_scores": True}
    assert [one["score"] for one in server.post(texts, "/rerank").json()] == [14.0, 6.0, 1.0]


def test_each_model_has_its_own_calibration(server):
    kinds = {
        name: server.post(ASKED | {"model": name}).json()["meta"]["relevance_score"] for name in ("words", "calibrated")
    }
    assert kinds == {"words": "sigmoid", "calibrated": "calibrated"}
    assert server.post(ASKED | {"model": "calibrated", "min_relevance": 0}).status_code == 200
    assert server.post(ASKED | {"model": "words", "min_relevance": 0}).status_code == 422


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank", "/score", "/v1/score"])
def test_an_unknown_model_is_refused_with_the_names_there_are(server, path):
    shapes: dict[str, dict[str, Any]] = {"/rerank": {"query": "q", "texts": ["a"]}}
    shapes["score"] = {"text_1": "a", "text_2": "b"}
    body = shapes.get(path) or (shapes["score"] if path.endswith("score") else ASKED)
    reply = server.post(body | {"model": "letters"}, path)
    said = "model: no 'letters'; did you mean 'letters v2'? (known: 'words', 'letters v2', 'calibrated')"
    assert (reply.status_code, reply.json()["message"]) == (404, said)


def test_models_are_listed_and_counted_by_name(server):
    listed = [one["id"] for one in server.get("/v1/models").json()["data"]]
    assert listed == ["words", "letters v2", "calibrated"]
    assert server.get("/health").json()["models"] == listed
    before = server.metric(r'rrarank_pairs_total\{model="letters v2"\}')
    scores(server, "letters v2")
    assert server.metric(r'rrarank_pairs_total\{model="letters v2"\}') == before + 3
    assert 'rrarank_requests_total{handler="/v1/rerank",model="letters v2",status="200"}' in server.get("/metrics").text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no table; expected one for each name"),
        ('mini = "folder"', "mini: 'folder', expected a table of settings such as [mini]"),
        ('[mini]\nmodle = "x"', "mini: no setting 'modle'; did you mean 'model'?"),
        ('[mini]\nthreads = "many"', "mini: threads many: input should be a valid integer"),
        ('[mini]\nreranker = "rra-brt"', "no reranker named 'rra-brt'; did you mean 'rra-bert'?"),
        ('[mini]\nmodel = "/nowhere/at-all"', "model 'mini': /nowhere/at-all"),
    ],
)
def test_a_file_of_models_that_cannot_be_served_is_one_line(tmp_path, capsys, content, said):
    file = tmp_path / "models.toml"
    file.write_text(content)
    assert main(["--port", "0", "--models", str(file)]) in (2, 4)
    assert said in capsys.readouterr().err


class Slow(SleepyPairs):  # type: ignore[misc]
    """A model of half the speed."""

    def score(self, batch):
        time.sleep(0.02 * len(batch))
        return super().score(batch)


def test_a_flood_for_one_model_does_not_starve_another():
    worker = Worker({"fast": SleepyPairs(RerankerConfig()), "slow": Slow(RerankerConfig())}, limit=10_000)
    flooding, fast = threading.Event(), []

    def flood():
        while not flooding.is_set():
            fast.append(worker.submit(Asked("q", ["one two"]), "fast"))
            time.sleep(0.015)  # faster than they are scored

    thread = threading.Thread(target=flood)
    thread.start()
    time.sleep(0.3)
    slow = worker.submit(Asked("q", [f"text {number}" for number in range(6)]), "slow")
    assert len(slow.result(20).order) == 6
    assert not fast[-1].done()
    flooding.set()
    thread.join()
    worker.close()
