import subprocess
import sys

import pytest

from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.cross_encoder import CrossEncoder

pytest.importorskip("openvino", reason="the extra `openvino` is not installed")

QUERY = "why is the cat long"


def test_scores_of_a_batch_stay_when_the_next_one_is_scored(exported_folder):
    reranker = CrossEncoder(CrossEncoderConfig(str(exported_folder), backend="openvino"))
    first = reranker.backend.logits(reranker.encode(QUERY, ["the cat sat", "tea"]))
    kept = first.copy()
    reranker.backend.logits(reranker.encode(QUERY, ["why dogs", "bread is long"]))
    assert (first == kept).all()


def test_bfloat16_is_the_float32_file_otherwise_computed(exported_folder):
    names = sorted(path.name for path in (exported_folder / "openvino").iterdir())
    parts = ("openvino_model.bin", "openvino_model.xml", "openvino_model_int8.bin", "openvino_model_int8.xml")
    assert names == list(parts)
    bf16 = CrossEncoder(CrossEncoderConfig(str(exported_folder), backend="openvino", precision="bf16"))
    fp32 = CrossEncoder(CrossEncoderConfig(str(exported_folder), backend="openvino"))
    assert bf16.backend.identity == fp32.backend.identity
    assert bf16.fingerprint() != fp32.fingerprint()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_signal_is_heard_after_two_models_have_gone(exported_folder):
    """Each Core of OpenVINO's gives the thread a stack for signals and frees it at its end, used or not."""
    code = (
        "import os, signal, sys\n"
        "from rrarank.rerankers.backends.base import CrossEncoderConfig\n"
        "from rrarank.rerankers.cross_encoder import CrossEncoder\n"
        "load = lambda: CrossEncoder(CrossEncoderConfig(sys.argv[1], backend='openvino', threads=1))\n"
        "first, second = load(), load()\n"
        "del first\n"
        "del second\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('heard'))\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    job = subprocess.run([sys.executable, "-c", code, str(exported_folder)], capture_output=True, text=True)
    assert (job.returncode, job.stdout) == (0, "heard\n"), job.stderr
