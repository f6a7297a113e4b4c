"""The last hidden state of a decoder for each prompt; the part that a query's prompts share is computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch

from rrarank.engine.batches import Batch, Ids, score_in_batches


class LastStates:
    """(batch, width): the last hidden state of each row's last token.

    `shared` of a row counts its first tokens that other rows have too: the instruction and the query. Their keys and
    values are computed once and kept until the next query. A causal decoder sees nothing to the right of a token, so
    padding on the right changes nothing.

    Args:
        model: a decoder without a head.
        share: false computes every row whole.
    """

    def __init__(self, model: Any, device: str, *, share: bool = True) -> None:  # transformers is untyped
        self._model, self._device, self._share = model, device, share
        self._held: tuple[bytes, Any] = (b"", None)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> torch.Tensor:
        if not self._share:
            return self._states(batch, None)
        found = [torch.empty(0)] * len(batch)
        for prefix, places in _by_prefix(batch).items():
            states = self._states([batch[place] for place in places], np.frombuffer(prefix, dtype=np.int32))
            for place, state in zip(places, states, strict=True):
                found[place] = state
        return torch.stack(found)

    def _states(self, batch: Batch, prefix: np.ndarray | None) -> torch.Tensor:
        skipped = 0 if prefix is None else len(prefix)
        rows = right_padded([{"input_ids": row["input_ids"][skipped:]} for row in batch], 0, self._device)
        last = rows["attention_mask"].sum(1) - 1
        if prefix is not None and skipped:
            before = torch.ones(len(batch), skipped, dtype=torch.long, device=self._device)
            rows["attention_mask"] = torch.cat([before, rows["attention_mask"]], 1)
            rows["past_key_values"] = deepcopy(self._keys_and_values(prefix))  # the model appends to it in place
            rows["past_key_values"].batch_repeat_interleave(len(batch))
        states = self._model(**rows, use_cache=bool(skipped)).last_hidden_state  # (batch, longest, width)
        return torch.as_tensor(states[torch.arange(len(batch)), last])

    def _keys_and_values(self, prefix: np.ndarray) -> Any:
        name, cache = self._held
        if name != prefix.tobytes():
            ids = torch.as_tensor(prefix.astype(np.int64), device=self._device)[None]
            cache = self._model(input_ids=ids, use_cache=True).past_key_values
            self._held = (prefix.tobytes(), cache)
        return cache


def score_by_query(
    pairs: Batch, score: Callable[[Batch], np.ndarray], batch_tokens: int, batch_size: int
) -> list[float]:
    """As `score_in_batches`, but every batch holds pairs of one query only."""
    scores = [0.0] * len(pairs)
    for places in _by_prefix(pairs).values():
        found = score_in_batches([pairs[place] for place in places], score, batch_tokens, batch_size)
        for place, value in zip(places, found, strict=True):
            scores[place] = value
    return scores


def right_padded(batch: Batch, pad: int, device: str) -> dict[str, Any]:
    """`input_ids` and `attention_mask`, (batch, longest)."""
    ids = [torch.as_tensor(np.asarray(row["input_ids"]), dtype=torch.long) for row in batch]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(row) for row in ids])
    mask = torch.arange(padded.shape[1])[None, :] < lengths[:, None]
    return {"input_ids": padded.to(device), "attention_mask": mask.long().to(device)}


def _by_prefix(pairs: Sequence[Ids]) -> dict[bytes, list[int]]:
    """Shared first tokens -> places of the rows that begin with them."""
    places: dict[bytes, list[int]] = {}
    for place, row in enumerate(pairs):
        ids = np.asarray(row["input_ids"], dtype=np.int32)
        shared = min(int(row["shared"][0]), len(ids) - 1) if "shared" in row else 0  # the last token is never shared
        places.setdefault(ids[:shared].tobytes(), []).append(place)
    return places
