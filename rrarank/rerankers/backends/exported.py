"""Exported models: where their files lie, the batches they take, and the back end that runs them.

The layout is that of sentence-transformers: `onnx/model.onnx`, `openvino/openvino_model.xml`.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rrarank.engine.batches import Batch
from rrarank.engine.reranker import RerankerConfig
from rrarank.errors import MissingResource, RrarankError
from rrarank.storage.files import in_background, sha256

FILES: Mapping[str, Mapping[str, str]] = {
    "onnx": {"fp32": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"},
    "openvino": {
        "fp32": "openvino/openvino_model.xml",
        "bf16": "openvino/openvino_model.xml",  # the same file, computed in bfloat16
        "int8": "openvino/openvino_model_int8.xml",
    },
}
LIBRARIES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""Back end -> the library that runs it."""

_CLASSES = {
    "onnx": "rrarank.rerankers.backends.onnx:OnnxBackend",
    "openvino": "rrarank.rerankers.backends.openvino:OpenvinoBackend",
}


class ExportedBackend(ABC):
    """A back end that runs an exported file on the CPU.

    Args:
        fill: the id that pads.
        left: pad on the left.
    """

    library: ClassVar[Any]  # the module that runs the file

    def __init__(self, path: Path, config: RerankerConfig, fill: int, left: bool) -> None:
        self._files = in_background(_digests, path)
        try:
            inputs = self._open(path, config)
        except Exception as error:  # onnxruntime has a class per kind of failure, without a common base
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise RrarankError(f"{path}: cannot be read ({reason}); export it again, into another folder") from error
        self._pad = Padding(inputs, fill, left)

    @property
    def identity(self) -> str:
        return f"{self.library.__name__} {self.library.__version__} {self._files.result()}"

    def logits(self, batch: Batch) -> np.ndarray:
        return self._run(self._pad(batch))

    @abstractmethod
    def _open(self, path: Path, config: RerankerConfig) -> list[str]:
        """Open the file and return the names of its inputs."""

    @abstractmethod
    def _run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """(batch, labels) float32."""


def load_exported(folder: Path, name: str, config: RerankerConfig, fill: int, left: bool) -> ExportedBackend:
    """The back end that `config` names, with the model exported into a folder."""
    path = exported_file(folder, name, config)
    module, _, attribute = _CLASSES[config.backend].partition(":")
    return getattr(import_module(module), attribute)(path, config, fill, left)  # type: ignore[no-any-return]


def exported_file(folder: Path, name: str, config: RerankerConfig) -> Path:
    """The file that the configured back end runs.

    Raises:
        RrarankError: a device other than the CPU is asked for.
        MissingResource: the folder has no such export.
    """
    if config.device not in ("", "cpu"):
        raise RrarankError(
            f"device (--device) {config.device}: the back end {config.backend} runs on cpu only; or use torch"
        )
    path = folder / FILES[config.backend][config.precision]
    if not path.is_file():
        flags = f"--model {shlex.quote(name)} --backend {config.backend} --precision {config.precision}"
        raise MissingResource(
            f"{name}: has no {path.relative_to(folder)}; type: python -m rrarank.export {flags} --output FOLDER, "
            "and give --model FOLDER"
        )
    return path


def _digests(path: Path) -> str:
    return " ".join(sha256(file) for file in files_of(path))


def files_of(path: Path) -> list[Path]:
    """An exported file and its weights beside it."""
    return sorted(path.parent.glob(f"{path.stem}.*"))


def padding_id(config: Any) -> int | None:  # transformers is untyped
    """The id that a model skips when it looks for the last token of a row; None if its configuration names none.

    A tokenizer may name another one. The model's counts: it is what the scores depend on.
    """
    text = config.get_text_config()
    pad = text.pad_token_id
    return pad if isinstance(pad, int) and 0 <= pad < getattr(text, "vocab_size", pad + 1) else None


def export_padding_id(config: Any, tokenizer: Any) -> int:
    """The same for an exported model, which must have one."""
    known = (padding_id(config), tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(number for number in known if number is not None)


class Padding:
    """Pad rows of ids to (rows, length) arrays."""

    def __init__(self, names: Sequence[str], pad: int, left: bool) -> None:
        self.fill, self.names, self.left = {"input_ids": pad}, names, left

    def __call__(self, batch: Batch) -> dict[str, np.ndarray]:
        """Input name -> (rows, length) int64."""
        lengths = [len(row["input_ids"]) for row in batch]
        longest = max(lengths)
        arrays = {name: np.full((len(batch), longest), self.fill.get(name, 0), dtype=np.int64) for name in self.names}
        for place, (row, length) in enumerate(zip(batch, lengths, strict=True)):
            real = slice(longest - length, None) if self.left else slice(length)
            for name, array in arrays.items():
                array[place, real] = 1 if name == "attention_mask" else row.get(name, 0)
        return arrays
