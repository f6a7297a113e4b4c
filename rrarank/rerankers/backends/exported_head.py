"""An exported masked language model: the graph gives each token's state, numpy the logits of the terms asked for.

So one graph serves queries, of which all terms are wanted, and documents, of which only the query's are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rrarank.engine.reranker import RerankerConfig
from rrarank.errors import RrarankError
from rrarank.rerankers.backends.base import TokenIds, Wanted, by_row
from rrarank.rerankers.backends.exported import load_exported

WORDS, UNTIED = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
BIAS = "cls.predictions.bias"


class ExportedHead:
    """The graph in a folder, and the vocabulary's rows of the folder's weights.

    Args:
        fill: the id that pads.
    """

    def __init__(self, folder: Path, name: str, config: RerankerConfig, fill: int) -> None:
        self._graph = load_exported(folder, name, config, fill, left=False)
        self.words, self.bias = read_vocabulary(folder, name)

    @property
    def identity(self) -> str:
        return self._graph.identity

    def largest(self, rows: Sequence[TokenIds], terms: Sequence[Wanted]) -> list[np.ndarray]:
        states = self._graph.logits([{"input_ids": ids} for ids in rows])  # (rows, longest, width)
        each = zip(states, rows, by_row(terms, self._chosen), strict=True)
        return [(words @ own[: len(ids)].T).max(1) + bias for own, ids, (words, bias) in each]

    def _chosen(self, terms: Wanted) -> tuple[np.ndarray, np.ndarray]:
        """(terms, width), (terms,)."""
        return (self.words, self.bias) if terms is None else (self.words[terms], self.bias[terms])


def read_vocabulary(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(vocabulary, width), (vocabulary,) float32.

    Raises:
        RrarankError: the weights are not in one safetensors file, or have other names.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / "model.safetensors", "np") as file:
            words = file.get_tensor(UNTIED if UNTIED in file.keys() else WORDS)  # noqa: SIM118
            return words.astype(np.float32), file.get_tensor(BIAS).astype(np.float32)
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: bfloat16, which numpy lacks
        raise RrarankError(
            f"{name}: model.safetensors does not hold {WORDS} and {BIAS}; use --backend torch"
        ) from error
