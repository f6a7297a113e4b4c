"""Cross-encoders with a chat template, a prompt or modules of their own, run by sentence-transformers itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder as _CrossEncoder
from torch import Tensor

from rrarank.engine.batches import Batch, Ids
from rrarank.errors import RrarankError, shown
from rrarank.rerankers.backends.base import CrossEncoderConfig, device_of
from rrarank.rerankers.backends.steady import SteadyBatches
from rrarank.rerankers.backends.torch import PROBES, TORCH_DTYPES, load_checkpoint, load_whole
from rrarank.rerankers.checkpoints import Checkpoint, label_names


class CrossEncoder(_CrossEncoder):  # type: ignore[misc]  # sentence-transformers is untyped
    """Older folders do not name the kind of their model; then sentence-transformers would add a new head."""

    def _get_model_type(self, *given: Any, **named: Any) -> str:
        return "CrossEncoder"


class ModularBackend:
    """Encodes and scores as `CrossEncoder.predict` does, without the activation at its end."""

    def __init__(self, checkpoint: Checkpoint, longest: int, config: CrossEncoderConfig) -> None:
        self.identity = f"sentence-transformers {version('sentence-transformers')}"
        self.cut = 0
        device, self._longest = device_of(config), longest
        settings = {"dtype": torch.float32, "use_safetensors": None if config.allow_pickle else True}
        self._model: Any = CrossEncoder(
            str(checkpoint.folder),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs=settings,
        )
        transformer = self._model[0]
        transformer.model = _load(checkpoint, transformer, config.allow_pickle).to(device)
        self.labels = _labels(checkpoint, self._model.num_labels)
        self._model.eval()
        self._model.max_seq_length = longest
        self._prompt = config.instruction or self._model.prompts.get(self._model.default_prompt_name)
        self._others: Mapping[str, Any] = {}  # inputs that are not tensors, the same for every batch
        probes = self(*PROBES)
        with torch.inference_mode():
            self._batches = SteadyBatches(
                self._run, transformer.model.config, self._model.tokenizer, self._names, device, checkpoint.name, probes
            )
            self._model.to(TORCH_DTYPES[config.precision])

    def __call__(self, query: str, texts: Sequence[str]) -> list[Ids]:
        """The ids of each (query, text), with prompt and template."""
        if not texts:
            return []
        inputs = self._model.preprocess([[query, text] for text in texts], prompt=self._prompt)
        tensors = {name: value for name, value in inputs.items() if isinstance(value, Tensor) and value.dim() == 2}
        self._others = {name: value for name, value in inputs.items() if name not in tensors}
        self._names = list(tensors)
        rows: list[Ids] = [
            {name: value[row][mask.bool()].numpy() for name, value in tensors.items() if name != "attention_mask"}
            for row, mask in enumerate(tensors["attention_mask"])
        ]
        self.cut += sum(len(row["input_ids"]) >= self._longest for row in rows)
        return rows

    @torch.inference_mode()
    def logits(self, batch: Batch) -> np.ndarray:
        return np.asarray(self._batches(batch).float().cpu().numpy())

    def _run(self, inputs: Mapping[str, Tensor]) -> Tensor:
        scores: Tensor = self._model({**self._others, **inputs})["scores"]
        return scores.reshape(len(scores), -1)  # (rows, labels)


def _labels(checkpoint: Checkpoint, count: int) -> list[str]:
    """The names of the labels. A head of modules has its own number, whatever the configuration of its encoder says."""
    if checkpoint.config.num_labels != count:
        checkpoint.config.num_labels = count
    return label_names(checkpoint.config, checkpoint.name)


def _load(checkpoint: Checkpoint, transformer: Any, allow_pickle: bool) -> Any:
    """The model of a Transformer module. Its own loading does not tell of weights that are drawn at random."""
    if transformer.transformer_task == "sequence-classification":
        return load_whole(checkpoint.folder, checkpoint.name, allow_pickle)
    model, lacking = load_checkpoint(type(transformer.model), checkpoint.folder, allow_pickle)
    if lacking := [key for key in lacking if "pooler" not in key]:  # which sentence-transformers' pooling does not use
        raise RrarankError(f"{checkpoint.name}: its checkpoint lacks {shown(lacking, 3)}; copy it again")
    return model
