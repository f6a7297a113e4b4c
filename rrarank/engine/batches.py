"""Batches of encoded pairs: sort by length, fill up to a number of tokens, halve when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rrarank.errors import is_out_of_memory

if TYPE_CHECKING:
    import numpy as np


Ids = Mapping[str, "Sequence[int] | np.ndarray"]
"""One tokenised (query, text): at least `input_ids`, each value (length,), no padding."""


Batch = Sequence[Ids]


def score_in_batches(
    pairs: Batch, score: Callable[[Batch], np.ndarray], batch_tokens: int, batch_size: int = 0
) -> list[float]:
    """Score pairs in batches of similar length; halve a batch that does not fit into memory.

    The longest come first, so that a batch that is too large fails at once. Returns one score per pair, in the order
    given.

    Args:
        batch_tokens: most tokens per batch, counting every pair at the length of the longest; one pair may have more.
        batch_size: most pairs per batch; 0 for no such limit.
    """
    scores = [0.0] * len(pairs)
    for places in batches([len(pair["input_ids"]) for pair in pairs], batch_tokens, batch_size):
        for place, value in zip(places, _score_halving([pairs[i] for i in places], score), strict=True):
            scores[place] = value
    return scores


def batches(lengths: Sequence[int], batch_tokens: int, batch_size: int) -> Iterator[list[int]]:
    """The places of the pairs of each batch."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batch and ((len(batch) + 1) * lengths[batch[0]] > batch_tokens or len(batch) == batch_size):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _score_halving(batch: Batch, score: Callable[[Batch], np.ndarray]) -> list[float]:
    try:
        return [float(value) for value in score(batch)]
    except (RuntimeError, MemoryError) as error:
        if len(batch) == 1 or not is_out_of_memory(error):
            raise
    half = len(batch) // 2
    return _score_halving(batch[:half], score) + _score_halving(batch[half:], score)
