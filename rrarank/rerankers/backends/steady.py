"""Batches whose rows do not change one another: tried out on the model, because padding changes some models' scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rrarank.engine.batches import Batch
from rrarank.errors import RrarankError
from rrarank.rerankers.backends.exported import Padding, padding_id

TOLERANCE = 1e-4
Run = Callable[[Mapping[str, Tensor]], Tensor]


class SteadyBatches:
    """The logits of any batch, each row's equal to those it has alone.

    Rows are padded on the tokenizer's side if that changes no logits, else on the right, else not at all: then only
    rows of equal length share a forward pass, or each row has its own.

    Args:
        run: inputs, (rows, length) each -> (rows, labels).
        config: the model's own, which names the padding id. The model looks there for each row's last token.
        names: of the inputs that the model takes.
        probes: three encoded pairs of different lengths.

    Raises:
        RrarankError: the model cannot score them, or scores them differently each time.
    """

    def __init__(
        self, run: Run, config: Any, tokenizer: Any, names: Sequence[str], device: str, name: str, probes: Batch
    ) -> None:
        self._run, self._config, self._tokenizer, self._device = run, config, tokenizer, device
        self._names, self._pad, self._name = names, padding_id(config), name
        self.side, self.together = "", False  # one row at a time
        self._try_out(probes)

    def __call__(self, batch: Batch) -> Tensor:
        if self.side:
            return self._together_or_alone(batch)
        groups: dict[int, list[int]] = {}
        for place, row in enumerate(batch):
            groups.setdefault(len(row["input_ids"]) if self.together else place, []).append(place)
        found: list[Tensor] = [torch.empty(0)] * len(batch)
        for places in groups.values():
            rows = self._together_or_alone([batch[place] for place in places])
            for place, logits in zip(places, rows, strict=True):
                found[place] = logits
        return torch.stack(found)

    def _together_or_alone(self, batch: Batch) -> Tensor:
        try:
            return self._logits(batch)
        except (IndexError, RuntimeError) as error:
            if not isinstance(error, IndexError) and "out of bounds" not in str(error):
                raise
            longest = max(len(row["input_ids"]) for row in batch)
            raise RrarankError(
                f"{self._name}: cannot read an input of {longest} tokens; give max_length {longest // 2} (--max-length)"
            ) from error
        except ValueError:  # BART wants the same number of </s> in every row, and a text may contain some
            return torch.cat([self._logits([row]) for row in batch])

    def _try_out(self, probes: Batch) -> None:
        try:
            alone = torch.cat([self._logits([row]) for row in probes])
            again = self._logits(probes[:1])
        except Exception as error:  # models that need an image, a table, a language
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise RrarankError(
                f"{self._name}: cannot score a pair of texts ({reason}); give another model (--model), "
                "or rra-bert, the one that ships"
            ) from error
        if not _equal(again, alone[:1]):
            raise RrarankError(
                f"{self._name}: scores the same pair differently each time; give another model (--model), "
                "or rra-bert, the one that ships"
            )
        for side in dict.fromkeys((self._tokenizer.padding_side, "right")):
            self.side = side
            if self._agrees(probes, alone):
                return
        self.side = ""
        self.together = self._agrees([probes[0], probes[0]], alone[[0, 0]])

    def _agrees(self, batch: Batch, expected: Tensor) -> bool:
        try:
            return _equal(self._logits(batch), expected)
        except Exception:  # some models refuse batches that others take
            return False

    def _logits(self, batch: Batch) -> Tensor:
        pad = self._pad
        if pad is None:  # take an id that no row has, so that the model finds the last token of each
            used = {int(number) for row in batch for number in row["input_ids"]}
            pad = next(number for number in range(len(used) + 1) if number not in used)
            if not self._config.is_encoder_decoder:  # which begin an answer by it
                self._config.get_text_config().pad_token_id = self._config.pad_token_id = pad
        arrays = Padding(self._names, pad, self.side == "left")(batch)
        inputs = {name: torch.from_numpy(array).to(self._device) for name, array in arrays.items()}
        return self._run(inputs)


def _equal(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape == theirs.shape and torch.allclose(ours.float(), theirs.float(), atol=TOLERANCE, rtol=TOLERANCE)
