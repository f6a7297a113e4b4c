"""Cross-encoders: a `…ForSequenceClassification` reads query and document together (Nogueira & Cho, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from rrarank.engine.batches import Batch, Ids
from rrarank.engine.reranker import Pointwise
from rrarank.errors import RrarankError
from rrarank.rerankers.backends.exported import FILES
from rrarank.rerankers.backends.torch import (
    TORCH_DTYPES,
    Backend,
    CrossEncoderConfig,
    device_of,
    load_backend,
    tokens_at_once,
)
from rrarank.rerankers.checkpoints import Checkpoint, additions, relevant_label
from rrarank.rerankers.pairs import Encoder, PairEncoder
from rrarank.storage.model_folders import SHIPPED, fingerprint, loading, locate

if TYPE_CHECKING:
    from rrarank.rerankers.backends.modular import ModularBackend


class CrossEncoder(Pointwise):
    """Any hub or local checkpoint with one label (scored by its logit) or two (by the log-odds of the relevant one).

    Raises:
        RrarankError: no model given, more than two labels, or a checkpoint without a trained head.
    """

    name = "cross-encoder"

    Config = CrossEncoderConfig
    config: CrossEncoderConfig
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {
        "torch": tuple(TORCH_DTYPES),
        **{backend: tuple(files) for backend, files in FILES.items()},
    }

    def __init__(self, config: CrossEncoderConfig | None = None) -> None:
        super().__init__(config)
        if not self.config.model:
            raise RrarankError("cross-encoder: no model; give --model, a folder or hub id of a sequence classifier")
        folder = locate(self.config.model, allow_pickle=self.config.allow_pickle)
        with loading(self.config.model, self.config.device, self.config.threads):
            checkpoint = Checkpoint.open(folder, self.config.model)
            self.longest = longest = checkpoint.longest(self.config.max_length)
            self.backend: Backend
            self.encode_pairs: Encoder
            if added := additions(checkpoint):
                self.backend = self.encode_pairs = _load_modular(checkpoint, longest, self.config, added)
            else:
                self.encode_pairs = PairEncoder(checkpoint.tokenizer, longest)
                self.backend = load_backend(checkpoint, self.config)
            self.relevant = relevant_label(checkpoint.config, self.config.model, self.config.relevant)
        self.batch_tokens = self.config.batch_tokens or tokens_at_once(device_of(self.config))
        self._fingerprint = f"{fingerprint(folder)} {self.backend.identity}".rstrip()

    @property
    def cut(self) -> int:
        return self.encode_pairs.cut

    def encode(self, query: str, texts: Sequence[str]) -> list[Ids]:
        return self.encode_pairs(query, texts)

    def score(self, batch: Batch) -> np.ndarray:
        logits = self.backend.logits(batch)  # (batch, 1 or 2)
        own = logits[:, self.relevant]
        return own if logits.shape[1] == 1 else own - logits[:, 1 - self.relevant]  # (batch,)

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self._fingerprint}"


@dataclass(frozen=True)
class MonoBERTConfig(CrossEncoderConfig):
    model: str = "castorini/monobert-large-msmarco"  # the checkpoint published with Nogueira & Cho (2019)


class MonoBERT(CrossEncoder):
    """A cross-encoder with the checkpoint that its authors published."""

    name = "monobert"

    Config = MonoBERTConfig


@dataclass(frozen=True)
class RRABERTConfig(CrossEncoderConfig):
    model: str = SHIPPED


class RRABERT(CrossEncoder):
    """A cross-encoder with our own student, trained as RRADistill trains RRA-BERT (Choi et al., 2024)."""

    name = "rra-bert"

    Config = RRABERTConfig


def _load_modular(checkpoint: Checkpoint, longest: int, config: CrossEncoderConfig, added: str) -> ModularBackend:
    """The back end for a checkpoint with `added`, which only sentence-transformers applies."""
    if config.backend != "torch":
        raise RrarankError(f"{checkpoint.name}: has {added}, which {config.backend} cannot run; use --backend torch")
    from rrarank.rerankers.backends.modular import ModularBackend  # takes seconds to import

    return ModularBackend(checkpoint, longest, config)
