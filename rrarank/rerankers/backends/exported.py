"""An exported model beside its checkpoint: where its files lie, and the padded batches that they take.

The folder is as sentence-transformers has it: `onnx/model.onnx`, `openvino/openvino_model.xml`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rrarank.engine.batches import Batch
from rrarank.engine.reranker import RerankerConfig
from rrarank.errors import MissingPrerequisite, MissingResource, RrarankError
from rrarank.storage.files import sha256

FILES: Mapping[str, Mapping[str, str]] = {
    "onnx": {"fp32": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"},
    "openvino": {
        "fp32": "openvino/openvino_model.xml",
        "bf16": "openvino/openvino_model.xml",  # the same file, otherwise computed
        "int8": "openvino/openvino_model_int8.xml",
    },
}
LIBRARIES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""back end -> the library that runs it; the extra is called as the back end."""


def exported_file(folder: Path, name: str, config: RerankerConfig) -> Path:
    """The file that the configured back end runs, on the CPU.

    Raises:
        RrarankError: another device is asked for.
        MissingResource: the folder holds no such export.
    """
    if config.device not in ("", "cpu"):
        raise RrarankError(f"--device {config.device}: the back end {config.backend} runs on cpu only; or use torch")
    path = folder / FILES[config.backend][config.precision]
    if not path.is_file():
        flags = f"--model {shlex.quote(name)} --backend {config.backend} --precision {config.precision}"
        raise MissingResource(
            f"{name}: holds no {path.relative_to(folder)}; type: python -m rrarank.export {flags} --output FOLDER, "
            "and give --model FOLDER"
        )
    return path


def lacking(backend: str) -> MissingPrerequisite:
    """What to raise where the library of a back end is not installed."""
    return MissingPrerequisite(
        f"--backend {backend}: needs {LIBRARIES[backend]}; type: pip install 'rrarank[{backend}]'"
    )


def unreadable(path: Path, error: Exception) -> RrarankError:
    """What to raise where a library cannot read an exported file."""
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return RrarankError(f"{path}: cannot be read ({reason}); export it again, into another folder")


def identity(library: Any, path: Path) -> str:
    """What determines the scores beyond the checkpoint: the library's version and the exported files."""
    return " ".join([library.__name__, library.__version__, *(sha256(file) for file in files_of(path))])


def files_of(path: Path) -> list[Path]:
    """An exported file and the weights that lie beside it."""
    return sorted(path.parent.glob(f"{path.stem}.*"))


class Padding:
    """Rows of ids as (rows, length) arrays, with what the tokenizer pads, on its side."""

    def __init__(self, tokenizer: Any, names: Sequence[str]) -> None:
        pad = tokenizer.pad_token_id
        self.fill = {"input_ids": tokenizer.eos_token_id if pad is None else pad}  # as `backends.with_pad_token`
        self.names, self.left = names, tokenizer.padding_side == "left"

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
