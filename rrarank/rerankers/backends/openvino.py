"""OpenVINO as a cross-encoder's back end."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rrarank.engine.batches import Batch
from rrarank.engine.reranker import RerankerConfig
from rrarank.rerankers.backends.exported import Padding, exported_file, identity, lacking, unreadable

try:
    import openvino
except ImportError as error:
    raise lacking("openvino") from error

GROUP = 128  # values of a token that share a scale when int8 multiplies; its default, 32, costs a sixth of the rate


class OpenvinoBackend:
    """What `python -m rrarank.export --backend openvino` wrote."""

    def __init__(self, folder: Path, name: str, tokenizer: Any, config: RerankerConfig) -> None:
        path = exported_file(folder, name, config)
        try:
            model = _core().compile_model(path, "CPU", _settings(config))
        except Exception as error:  # openvino raises RuntimeError for all
            raise unreadable(path, error) from error
        self._request = model.create_infer_request()
        self._pad = Padding(tokenizer, [field.any_name for field in model.inputs])
        self.identity = identity(openvino, path)

    def logits(self, batch: Batch) -> np.ndarray:
        found = self._request.infer(self._pad(batch), share_inputs=True)
        return np.array(found[0], dtype=np.float32)  # a copy: the request writes the next batch to the same place


def convert(source: Path, target: Path) -> None:
    """An ONNX file as OpenVINO's `target` (.xml, with its .bin), in the precision that it has."""
    openvino.save_model(_core().read_model(source), target, compress_to_fp16=False)


@cache
def _core() -> Any:
    """The process's one Core, which is never let go.

    Its plugin for CPUs gives the thread that first compiles a stack for signals (`sigaltstack`), and unmaps it at its
    own end even where it is in use: as another Core's old one, or from another thread. The next signal then is a
    segmentation fault.
    """
    return openvino.Core()


def _settings(config: RerankerConfig) -> dict[str, object]:
    return {
        "INFERENCE_NUM_THREADS": config.threads,  # 0: one a physical core
        "NUM_STREAMS": 1,  # all threads work on one batch
        "ENABLE_CPU_PINNING": False,  # another thread tokenises meanwhile
        "INFERENCE_PRECISION_HINT": "bf16" if config.precision == "bf16" else "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP if config.precision == "int8" else 0,
    }
