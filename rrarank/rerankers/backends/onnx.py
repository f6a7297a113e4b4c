"""ONNX Runtime as a cross-encoder's back end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from rrarank.engine.reranker import RerankerConfig
from rrarank.rerankers.backends.exported import ExportedBackend

SLOWER = ["SkipLayerNormFusion", "BiasGeluFusion"]  # int8 runs a sixth faster without them (1.32, AVX-512)
FATAL = 4  # log level; errors are raised as well


class OnnxBackend(ExportedBackend):
    """The file that `python -m rrarank.export --backend onnx` wrote, or another tool's `onnx/model.onnx`."""

    library = onnxruntime

    def _open(self, path: Path, config: RerankerConfig) -> list[str]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = config.threads  # 0: one per physical core
        options.log_severity_level = FATAL
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOWER
        )
        return [field.name for field in self._session.get_inputs()]

    def _run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        [logits, *_] = self._session.run(None, inputs)
        return np.asarray(logits, dtype=np.float32)
