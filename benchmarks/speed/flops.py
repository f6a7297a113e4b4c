"""The matrix products of a BERT cross-encoder, counted, and how fast this machine does such products by themselves.

Counted for real tokens, not for padding; a multiplication with its addition is two operations. Softmax, layer
normalisation, activation and embedding are left out: they take time, and so lower the share of the ceiling.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """Sizes of a BERT.

    Args:
        inner: width of the feed-forward layer.
    """

    width: int
    inner: int
    layers: int

    @classmethod
    def of(cls, folder: Path) -> Shape | None:
        """None if the folder's model is no BERT."""
        config = json.loads((folder / "config.json").read_text())
        if config.get("model_type") != "bert":
            return None
        return cls(config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"])

    def whole(self, lengths: Iterable[int]) -> int:
        """Operations of a forward pass that computes every layer for every token, over rows of so many tokens."""
        return sum(self.layers * self._layer(n, n) + self._head() for n in lengths)

    def first_token(self, lengths: Iterable[int]) -> int:
        """The same where the last layer computes keys and values of all tokens, and all else of [CLS] only."""
        return sum((self.layers - 1) * self._layer(n, n) + self._layer(n, 1) + self._head() for n in lengths)

    def _layer(self, tokens: int, asking: int) -> int:
        width, inner = self.width, self.inner
        keys_and_values = 4 * tokens * width * width
        query_and_output = 4 * asking * width * width
        attention = 4 * asking * tokens * width
        return keys_and_values + query_and_output + attention + 4 * asking * width * inner

    def _head(self) -> int:
        return 2 * self.width * (self.width + 1)

    def products(self) -> list[tuple[int, int]]:
        """(in, out) of a layer's matrices: query, key and value as one; output; up; down."""
        return [
            (self.width, 3 * self.width),
            (self.width, self.width),
            (self.width, self.inner),
            (self.inner, self.width),
        ]


def ceiling(shape: Shape, dtype: str, rows: int = 4096, least_seconds: float = 1.0, device: str = "cpu") -> float:
    """Operations a second of `torch.mm` alone, on a layer's matrices with so many rows, over and over."""
    import torch

    kind = getattr(torch, dtype)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    matrices = [tuple(torch.rand(size).to(device, kind) for size in ((rows, a), (a, b))) for a, b in shape.products()]
    operations = sum(2 * rows * a * b for a, b in shape.products())
    rounds, started = -1, time.perf_counter()
    while rounds < 1 or time.perf_counter() - started < least_seconds:
        for left, right in matrices:
            torch.mm(left, right)
        wait()
        rounds += 1
        if rounds == 0:  # the first was to warm up
            started = time.perf_counter()
    return rounds * operations / (time.perf_counter() - started)
