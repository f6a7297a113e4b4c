"""The tools as an agent calls them: the SDK's own client, in this process, over stdio and over HTTP."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import rrarank
from rrarank.errors import MissingPrerequisite
from rrarank.mcp.__main__ import main
from rrarank.mcp.job import McpJob, tools_server

pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
from mcp import Client, StdioServerParameters

RUN = "1 Q0 a 1 3 one\n1 Q0 b 2 2 one\n2 Q0 a 1 3 one\n2 Q0 b 2 2 one\n"
PASSAGES = ["the dog sat", "what is tea", "cats and dogs"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "secret.trec").write_text(RUN)
    data = tmp_path / "data"
    data.mkdir()
    (data / "one.trec").write_text(RUN)
    (data / "two.trec").write_text(RUN.replace(" a 1 3", " a 1 1").replace("one", "two"))
    (data / "qrels.txt").write_text("1 0 b 1\n2 0 b 1\n")
    (data / "out.trec").symlink_to("../secret.trec")
    return data


def call(server, name, **arguments):
    async def asked():
        async with Client(server) as client:
            return await client.call_tool(name, arguments)

    return asyncio.run(asked())


def message(result):
    assert result.is_error
    return result.content[0].text


@contextmanager
def over_http(folder, model):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    typed = [sys.executable, "-m", "rrarank.mcp", "--folder", folder, "--model", model, "--port", str(port)]
    process = subprocess.Popen(typed, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(20)


def over_stdio(folder, model):
    flags = ["-m", "rrarank.mcp", "--folder", str(folder), "--model", str(model)]
    return StdioServerParameters(command=sys.executable, args=flags, env={"PATH": os.environ["PATH"]})


# -- what they do ------------------------------------------------------------------------------------------------------


def test_the_schemas_state_the_limits(folder):
    async def listed():
        async with Client(tools_server(McpJob(str(folder)))) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(listed())}
    assert [*tools] == ["search", "rerank", "evaluate"]
    assert tools["rerank"].input_schema["properties"]["passages"]["maxItems"] == 1000
    assert tools["search"].input_schema["properties"]["hits"]["maximum"] == 1000
    assert tools["evaluate"].input_schema["required"] == ["runs", "qrels"]
    assert all(tool.annotations.read_only_hint and tool.description for tool in tools.values())


def test_reranking_gives_places_and_the_scores_of_rank(folder, cross_encoder_folder):
    result = call(
        tools_server(McpJob(str(folder), str(cross_encoder_folder))), "rerank", query="tea", passages=PASSAGES, top_n=2
    )
    expected = rrarank.rank("tea", PASSAGES, model=cross_encoder_folder, top_k=2)
    assert result.structured_content["result"] == [{"index": int(one.id), "score": one.score} for one in expected]


def test_an_empty_passage_comes_last_without_a_score(folder, cross_encoder_folder):
    server = tools_server(McpJob(str(folder), str(cross_encoder_folder)))
    result = call(server, "rerank", query="tea", passages=["", "tea"])
    first, last = result.structured_content["result"]
    assert (first["index"], last) == (1, {"index": 0, "score": None})


def test_evaluating_gives_means_and_tests(folder):
    result = call(
        tools_server(McpJob(str(folder))), "evaluate", runs=["one.trec", "two.trec"], qrels="qrels.txt", measures=["RR"]
    )
    found = result.structured_content
    assert found["means"] == {"one": {"RR(rel=1)": 0.5}, "two": {"RR(rel=1)": 1.0}}
    assert (found["queries"], found["baseline"]) == (2, "one")
    [compared] = found["comparisons"]
    assert (compared["system"], compared["mean"], compared["reading"]) == ("two", 0.5, "not resolved")
    assert compared["effect"] is None  # infinite: both differences are equal


def test_searching_an_index(folder, tmp_path):
    from rrarank.sources.lucene import build_index

    build_index(((f"d{n}", text) for n, text in enumerate(PASSAGES)), folder / "index")
    server = tools_server(McpJob(str(folder)))
    [found] = call(server, "search", index="index", query="tea").structured_content["result"]
    assert (found["docid"], found["text"]) == ("d1", "what is tea")
    assert call(server, "search", index="index", query="zebra").structured_content["result"] == []
    assert "one.trec: no such index in the folder" in message(call(server, "search", index="one.trec", query="x"))


@pytest.mark.parametrize("name", ["../secret.trec", "out.trec", "/etc/passwd"])
def test_no_file_outside_the_folder_is_read(name, folder):
    server = tools_server(McpJob(str(folder)))
    for arguments in ({"runs": [name], "qrels": "qrels.txt"}, {"runs": ["one.trec"], "qrels": name}):
        assert f"{name}: lies outside the folder" in message(call(server, "evaluate", **arguments))
    said = message(call(server, "search", index=name, query="x"))
    assert f"{name}: lies outside the folder" in said
    assert str(folder) not in said


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("rerank", {"query": "", "passages": ["x"]}, "at least 1 character"),
        ("rerank", {"query": "x", "passages": []}, "at least 1 item"),
        ("rerank", {"query": "x", "passages": ["x"] * 1001}, "at most 1000 items"),
        ("rerank", {"query": "x", "passages": ["x" * 99_999] * 21}, "2,099,979 characters, expected at most 2,000,000"),
        ("search", {"index": "i", "query": "x", "hits": 1001}, "hits: input should be less than or equal to 1000"),
        ("search", {"query": "\ud800"}, "index: field required (and 1 more)"),
        ("evaluate", {"runs": ["one.trec"], "qrels": "absent"}, "absent: no such file in the folder"),
        ("evaluate", {"runs": ["qrels.txt"], "qrels": "qrels.txt"}, "qrels.txt:1: 4 columns, expected 6"),
        ("evaluate", {"runs": ["one.trec"], "qrels": "qrels.txt", "measures": ["nope"]}, "not understood: 'nope'"),
        ("evaluate", {"runs": ["one.trec", "./one.trec"], "qrels": "qrels.txt"}, "two runs have the same name"),
    ],
)
def test_a_mistake_comes_back_as_a_message(tool, arguments, said, folder):
    result = message(call(tools_server(McpJob(str(folder))), tool, **arguments))
    assert said in result
    assert str(folder) not in result
    assert "\n" not in result


# -- transports --------------------------------------------------------------------------------------------------------


def test_over_stdio(folder, cross_encoder_folder):
    result = call(over_stdio(folder, cross_encoder_folder), "rerank", query="tea", passages=PASSAGES)
    expected = rrarank.rank("tea", PASSAGES, model=cross_encoder_folder)
    assert [one["index"] for one in result.structured_content["result"]] == [int(one.id) for one in expected]


def test_over_http(folder, cross_encoder_folder):
    expected = rrarank.rank("tea", PASSAGES, model=cross_encoder_folder)
    with over_http(folder, cross_encoder_folder) as url:
        result = call(url, "rerank", query="tea", passages=PASSAGES)
        assert [one["index"] for one in result.structured_content["result"]] == [int(one.id) for one in expected]
        assert "lies outside" in message(call(url, "evaluate", runs=["../secret.trec"], qrels="qrels.txt"))
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        accepts = {"Accept": "application/json, text/event-stream"}
        for foreign in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            assert httpx.post(url, json=body, headers=accepts | foreign).status_code in (403, 421)
        assert httpx.post(url, content=b" " * (2**23 + 1), headers=accepts).status_code == 413


def test_the_folder_must_exist(capsys, tmp_path):
    assert main(["--folder", str(tmp_path / "absent")]) == 2
    assert "no such folder; give the one whose files the tools may read" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["taken", "70000"])
def test_a_port_that_cannot_be_had_is_told_in_one_line(port, folder, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1]) if port == "taken" else port
        assert main(["--folder", str(folder), "--port", port]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --port {port}: ")
    assert error.count("\n") == 1


def test_without_the_extra_it_says_what_to_install(monkeypatch, folder):
    monkeypatch.setattr("rrarank.extras.find_spec", lambda name: None)
    with pytest.raises(MissingPrerequisite, match=r"rrarank\[mcp\]"):
        tools_server(McpJob(str(folder)))


def test_the_tools_write_nothing(folder):
    before = sorted(folder.rglob("*"))
    call(tools_server(McpJob(str(folder))), "evaluate", runs=["one.trec"], qrels="qrels.txt")
    assert sorted(Path(folder).rglob("*")) == before
