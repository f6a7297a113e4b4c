"""Cross-encoders: a `…ForSequenceClassification` reads query and document together (Nogueira & Cho, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from rrarank.engine.batches import Batch, Ids
from rrarank.engine.reranker import Pointwise
from rrarank.errors import RrarankError, say
from rrarank.rerankers.backends.base import TORCH_PRECISIONS, Backend, CrossEncoderConfig, device_of, tokens_at_once
from rrarank.rerankers.backends.exported import FILES, export_padding_id, load_exported
from rrarank.rerankers.checkpoints import Checkpoint, additions, label_names, relevant_label
from rrarank.rerankers.formats import FORMATS, FormatEncoder, find_format
from rrarank.rerankers.pairs import Encoder, PairEncoder
from rrarank.rerankers.reading import export_reading
from rrarank.rerankers.uses import check_export
from rrarank.storage.files import in_background
from rrarank.storage.model_folders import SHIPPED, fingerprint, loading, locate

if TYPE_CHECKING:
    from rrarank.rerankers.backends.modular import ModularBackend


class CrossEncoder(Pointwise):
    """Any hub or local checkpoint with one label (scored by its logit) or two (by the log-odds of the relevant one),
    and causal language models that were trained to answer a prompt by one token (`formats`).

    Raises:
        RrarankError: no model given, more than two labels, or a checkpoint without a trained head.
    """

    name = "cross-encoder"

    Config = CrossEncoderConfig
    config: CrossEncoderConfig
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {
        "torch": TORCH_PRECISIONS,
        **{backend: tuple(files) for backend, files in FILES.items()},
    }

    prompts: ClassVar[Sequence[str]] = ("instruction", "query_prompt", "document_prompt")

    def __init__(self, config: CrossEncoderConfig | None = None) -> None:
        super().__init__(config)
        if not self.config.model:
            raise RrarankError(
                "cross-encoder: no model; give model (--model), a folder or hub id of a sequence classifier"
            )
        folder = locate(self.config.model, allow_pickle=self.config.allow_pickle)
        if self.config.backend in FILES:
            check_export(folder, self.config.model)
        self._model = in_background(fingerprint, folder)
        parts = _open_export(folder, self.config) or _open_checkpoint(folder, self.config)
        self.encode_pairs, self.backend = parts.encode_pairs, parts.backend
        self.longest, self._by_query = parts.longest, parts.by_query
        self.relevant = relevant_label(parts.labels, self.config.model, self.config.relevant)
        self.batch_tokens = self.config.batch_tokens or tokens_at_once(device_of(self.config))

    @property
    def cut(self) -> int:
        return self.encode_pairs.cut

    def encode(self, query: str, texts: Sequence[str]) -> list[Ids]:
        before, inner = self.config.query_prompt, self.config.document_prompt
        return self.encode_pairs(before + query, [inner + text for text in texts] if inner else texts)

    def score_all(self, pairs: Batch) -> list[float]:
        if not self._by_query:
            return super().score_all(pairs)
        from rrarank.rerankers.decoders import score_by_query  # imports torch, which exports do without

        return score_by_query(pairs, self.score, self.batch_tokens, self.config.batch_size)

    def score(self, batch: Batch) -> np.ndarray:
        logits = self.backend.logits(batch)  # (batch, 1 or 2)
        own = logits[:, self.relevant]
        return own if logits.shape[1] == 1 else own - logits[:, 1 - self.relevant]  # (batch,)

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self._model.result()} {self.backend.identity}".rstrip()


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


@dataclass(frozen=True)
class _Parts:
    encode_pairs: Encoder
    backend: Backend
    labels: Sequence[str]
    longest: int  # tokens of a pair
    by_query: bool = False  # pairs of one query share what is computed of it


def _open_export(folder: Path, config: CrossEncoderConfig) -> _Parts | None:
    """An export that holds all it needs: imports neither torch nor transformers. None for any other folder."""
    reading = export_reading(folder, config.backend)
    if reading is None:
        return None
    _check_plain(config)
    backend = load_exported(folder, config.model, config, reading.fill, reading.left)
    longest = reading.most(config.max_length, config.model)
    return _Parts(reading.encoder(longest), backend, reading.labels, longest)


def _open_checkpoint(folder: Path, config: CrossEncoderConfig) -> _Parts:
    with loading(config.model, config.device, config.threads):
        checkpoint = Checkpoint.open(folder, config.model)
        if added := additions(checkpoint):
            _check_plain(config, modular=True)
            longest = checkpoint.longest(config.max_length)
            modular = _load_modular(checkpoint, longest, config, added)
            return _Parts(modular, modular, modular.labels, longest)
        if name := find_format(checkpoint, config.format):
            return _open_causal(checkpoint, name, config)
        _check_plain(config)
        longest = checkpoint.longest(config.max_length)
        encode = PairEncoder(checkpoint.tokenizer, longest)
        return _Parts(encode, _load_backend(checkpoint, config), label_names(checkpoint.config, config.model), longest)


def _check_plain(config: CrossEncoderConfig, *, modular: bool = False) -> None:
    """Refuse settings that only models with a prompt have."""
    unfit = {"format": config.format, "cutoff_layers": config.cutoff_layers}
    if not modular:
        unfit["instruction"] = config.instruction
    for setting, value in unfit.items():
        if value:
            instead = (
                "; give query_prompt (--query-prompt) instead" if setting == "instruction" else ", so leave it out"
            )
            raise RrarankError(
                f"{config.model}: reads query and document without a prompt, no place for {setting}{instead}"
            )


def _open_causal(checkpoint: Checkpoint, name: str, config: CrossEncoderConfig) -> _Parts:
    """A causal language model that was trained to answer the prompt of a format."""
    if config.backend != "torch":
        raise RrarankError(f"{checkpoint.name}: a causal language model, which {config.backend} cannot run; use torch")
    from rrarank.rerankers.backends.causal import load_causal, load_layerwise  # takes seconds to import

    if not config.format:
        say(f"{checkpoint.name}: a causal model, scored by the prompt {name}; --option format=… chooses another")
    chosen = FORMATS[name]
    encode = FormatEncoder(checkpoint, chosen, config.max_length, config.instruction)
    is_layerwise = hasattr(checkpoint.config, "start_layer")
    if config.cutoff_layers and not is_layerwise:
        raise RrarankError(f"{checkpoint.name}: has one head behind its last layer; leave out cutoff_layers")
    backend = load_layerwise(checkpoint, config) if is_layerwise else load_causal(checkpoint, chosen, config)
    return _Parts(encode, backend, ["LABEL_0"], encode.longest, by_query=True)


def _load_backend(checkpoint: Checkpoint, config: CrossEncoderConfig) -> Backend:
    if config.backend in FILES:
        tokenizer = checkpoint.tokenizer
        fill, left = export_padding_id(checkpoint.config, tokenizer), tokenizer.padding_side == "left"
        return load_exported(checkpoint.folder, checkpoint.name, config, fill, left)
    from rrarank.rerankers.backends.torch import TorchBackend  # takes seconds to import

    return TorchBackend(checkpoint, config)


def _load_modular(checkpoint: Checkpoint, longest: int, config: CrossEncoderConfig, added: str) -> ModularBackend:
    """The back end for a checkpoint with `added`, which only sentence-transformers applies."""
    if config.backend != "torch":
        raise RrarankError(f"{checkpoint.name}: has {added}, which {config.backend} cannot run; use --backend torch")
    from rrarank.rerankers.backends.modular import ModularBackend  # takes seconds to import

    return ModularBackend(checkpoint, longest, config)
