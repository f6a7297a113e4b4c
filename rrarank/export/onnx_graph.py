"""Write a cross-encoder or a sparse encoder as an ONNX graph, in float32 or int8, for any batch size and length."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rrarank.engine.batches import Batch
from rrarank.errors import RrarankError
from rrarank.export.int8 import quantize
from rrarank.rerankers.backends.exported import Padding, export_padding_id
from rrarank.rerankers.backends.language_heads import load_masked_lm
from rrarank.rerankers.backends.packed_bert import is_packable
from rrarank.rerankers.backends.padded_bert import PaddedBert, PaddedHead
from rrarank.rerankers.backends.torch import load_whole
from rrarank.rerankers.checkpoints import Checkpoint
from rrarank.rerankers.uses import is_sparse_encoder

PROTOBUF_LIMIT = 1_800_000_000  # bytes; an ONNX file cannot exceed 2 GB, so larger weights go into a second file


def write_graph(checkpoint: Checkpoint, batch: Batch, target: Path, *, backend: str, precision: str) -> None:
    """Write the checkpoint's model as `target`.

    Args:
        batch: at least two pairs of different lengths; typical ones for int8.
        backend: what will run the graph: each expresses int8 in its own way.
        precision: `int8`; every other value writes float32.

    Raises:
        RrarankError: torch cannot export this model.
    """
    is_sparse = is_sparse_encoder(checkpoint.folder)
    model = (load_masked_lm if is_sparse else load_whole)(checkpoint.folder, checkpoint.name).eval()
    if is_sparse and not is_packable(model.config):
        raise RrarankError(f"{checkpoint.name}: of sparse encoders only BERT can be exported; use --backend torch")
    fill = model.config.pad_token_id = export_padding_id(model.config, checkpoint.tokenizer)
    names = ["input_ids", "attention_mask"] if is_sparse else _inputs(model, batch)
    pad = Padding(names, fill, checkpoint.tokenizer.padding_side == "left")
    graph: nn.Module = (PaddedHead if is_sparse else PaddedBert if is_packable(model.config) else _Whole)(model)
    inputs = {key: torch.from_numpy(value) for key, value in pad(batch).items()}
    if precision == "int8":
        quantize(graph, _chosen(graph), backend, lambda: graph(**inputs))
    _export(graph.eval(), inputs, target, checkpoint.name)


class _Whole(nn.Module):
    """The forward pass of transformers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **segments).logits
        return logits


def _inputs(model: Any, batch: Batch) -> list[str]:
    """The graph's inputs: segments if the model knows them and the tokenizer gives them; `PaddedBert` needs them."""
    segments = "token_type_ids" in signature(model.forward).parameters
    wanted = segments and ("token_type_ids" in batch[0] or is_packable(model.config))
    return ["input_ids", "attention_mask", *(["token_type_ids"] if wanted else [])]


def _chosen(graph: Any) -> Callable[[str], bool]:
    """Choose the expensive layers: not the head, nor BERT's last layer, which is cheap and sensitive to rounding."""
    if isinstance(graph, PaddedBert | PaddedHead):
        return lambda name: name.startswith("layers.")
    base = f"model.{graph.model.base_model_prefix}."
    return lambda name: name.startswith(base) and "pooler" not in name


def _export(graph: nn.Module, inputs: Mapping[str, Tensor], target: Path, name: str) -> None:
    size = sum(part.numel() * part.element_size() for part in (*graph.parameters(), *graph.buffers()))
    any_size = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                graph,
                tuple(inputs.values()),
                target,
                input_names=list(inputs),
                output_names=["states" if isinstance(graph, PaddedHead) else "logits"],
                dynamic_shapes=tuple(any_size for _ in inputs),
                external_data=size > PROTOBUF_LIMIT,
                verbose=False,
            )
    except Exception as error:  # torch, onnxscript and onnx_ir each have their own
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RrarankError(f"{name}: torch cannot export this model to ONNX ({reason}); use --backend torch") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter: optional libraries it does not find, deprecations."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
