"""ONNX Runtime as a cross-encoder's back end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rrarank.engine.batches import Batch
from rrarank.engine.reranker import RerankerConfig
from rrarank.rerankers.backends.exported import Padding, exported_file, identity, lacking, unreadable

try:
    import onnxruntime
except ImportError as error:
    raise lacking("onnx") from error

SLOWER = ["SkipLayerNormFusion", "BiasGeluFusion"]  # than what they fuse: int8 gains a sixth without (1.32, AVX-512)
FATAL = 4  # what is logged; errors are raised as well


class OnnxBackend:
    """What `python -m rrarank.export --backend onnx` wrote, or `onnx/model.onnx` from elsewhere."""

    def __init__(self, folder: Path, name: str, tokenizer: Any, config: RerankerConfig) -> None:
        path, options = exported_file(folder, name, config), onnxruntime.SessionOptions()
        options.intra_op_num_threads = config.threads  # 0: one a physical core
        options.log_severity_level = FATAL
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOWER
            )
        except Exception as error:  # it has a class for each kind of failure, with no base of their own
            raise unreadable(path, error) from error
        self._pad = Padding(tokenizer, [field.name for field in self._session.get_inputs()])
        self.identity = identity(onnxruntime, path)

    def logits(self, batch: Batch) -> np.ndarray:
        [logits, *_] = self._session.run(None, self._pad(batch))
        return np.asarray(logits, dtype=np.float32)
