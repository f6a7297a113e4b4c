"""OpenVINO as a cross-encoder's back end."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from rrarank.engine.reranker import RerankerConfig
from rrarank.rerankers.backends.exported import ExportedBackend

GROUP = 128  # activations of a token that share an int8 scale; the default, 32, is a sixth slower


class OpenvinoBackend(ExportedBackend):
    """The file that `python -m rrarank.export --backend openvino` wrote."""

    library = openvino

    def _open(self, path: Path, config: RerankerConfig) -> list[str]:
        model = _core().compile_model(path, "CPU", _settings(config))
        self._request = model.create_infer_request()
        return [field.any_name for field in model.inputs]

    def _run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        found = self._request.infer(inputs, share_inputs=True)
        return np.array(found[0], dtype=np.float32)  # a copy: the next batch is written to the same memory


def convert(source: Path, target: Path) -> None:
    """Convert an ONNX file to OpenVINO's `target` (.xml, with its .bin), in the precision that it has."""
    openvino.save_model(_core().read_model(source), target, compress_to_fp16=False)


@cache
def _core() -> Any:
    """The one Core of this process, which is never freed.

    Its CPU plugin gives the first compiling thread a signal stack (`sigaltstack`) and unmaps it when the Core is freed,
    even if the stack is still in use by another Core or thread. The next signal then is a segmentation fault.
    """
    return openvino.Core()


def _settings(config: RerankerConfig) -> dict[str, object]:
    return {
        "INFERENCE_NUM_THREADS": config.threads,  # 0: one per physical core
        "NUM_STREAMS": 1,  # all threads work on one batch
        "ENABLE_CPU_PINNING": False,  # another thread tokenizes meanwhile
        "INFERENCE_PRECISION_HINT": "bf16" if config.precision == "bf16" else "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP if config.precision == "int8" else 0,
    }
