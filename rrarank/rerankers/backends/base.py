"""The contracts of back ends, and what is known of each one without importing its library.

The same folder serves all back ends: torch reads its weights, the others read the files of `python -m rrarank.export`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from rrarank.engine.batches import Batch
from rrarank.engine.reranker import RerankerConfig

TORCH_PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class CrossEncoderConfig(RerankerConfig):
    """Settings beyond the shared ones.

    Args:
        batch_tokens: most tokens scored at once, padding included; 0: 4,096 on a CPU, 65,536 on a GPU.
        relevant: of two labels, the name of the one that means relevant; empty to tell by the names.
        format: of a causal language model's prompt (`formats.FORMATS`); empty to tell by its folder.
        cutoff_layers: of a layer-wise model, how many layers to run; 0 for all.
    """

    batch_tokens: int = 0
    relevant: str = ""
    format: str = ""
    cutoff_layers: int = 0


class Backend(Protocol):
    """Computes a cross-encoder's logits. A row's logits do not depend on the rest of its batch."""

    @property
    def identity(self) -> str:
        """Names what determines the logits beyond the checkpoint and the settings."""

    def logits(self, batch: Batch) -> np.ndarray:
        """(batch, labels) float32."""


T = TypeVar("T")
TokenIds = Sequence[int] | np.ndarray
Wanted = np.ndarray | None
"""Terms, as rows of the vocabulary; None: all of them."""


class LanguageHead(Protocol):
    """Computes a masked language model's logits. What else is in the batch does not change a row's."""

    @property
    def identity(self) -> str:
        """Names what determines the logits beyond the checkpoint and the settings."""

    def largest(self, rows: Sequence[TokenIds], terms: Sequence[Wanted]) -> Sequence[np.ndarray]:
        """Of each row the largest logit over its tokens of each of its terms, (terms,) float32."""


def by_row(terms: Sequence[Wanted], choose: Callable[[Wanted], T]) -> list[T]:
    """What `choose` gives for each row's terms, computed once for the rows of one query, which share theirs."""
    found = {id(wanted): choose(wanted) for wanted in {id(wanted): wanted for wanted in terms}.values()}
    return [found[id(wanted)] for wanted in terms]


def device_of(config: RerankerConfig) -> str:
    if config.backend != "torch":
        return "cpu"  # where exported models run
    if config.device:
        return config.device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def tokens_at_once(device: str) -> int:
    """Tokens per batch, padding included: a few keep a CPU busy, a GPU needs many."""
    return 4_096 if device == "cpu" else 65_536
