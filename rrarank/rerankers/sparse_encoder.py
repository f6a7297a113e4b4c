"""Sparse encoders: query and document as weights of the vocabulary's terms, compared by their inner product (SPLADE).

A term's weight is the largest over tokens of log(1 + relu(logit)) (Formal et al., 2021). Of a document, only the
weights of the query's terms are computed, or with a cache all of them once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rrarank.data.types import Ranking
from rrarank.engine.batches import Batch, Ids, batches
from rrarank.engine.reranker import Finish, Pointwise, RerankerConfig, reorder
from rrarank.errors import RrarankError
from rrarank.rerankers.backends.base import TORCH_PRECISIONS, LanguageHead, device_of, tokens_at_once
from rrarank.rerankers.backends.exported import FILES, export_padding_id
from rrarank.rerankers.backends.exported_head import ExportedHead
from rrarank.rerankers.checkpoints import Checkpoint
from rrarank.rerankers.reading import SingleEncoder, encode_singly, export_reading
from rrarank.storage.document_cache import DocumentCache, Entry
from rrarank.storage.files import read_json
from rrarank.storage.model_folders import TINY, fingerprint, loading, locate, read_modules

KEPT_QUERIES = 1024  # whose terms are remembered
_ACTIVATIONS = {"relu": 1, "log1p_relu": 2}  # how often log(1 + x) is taken; twice in OpenSearch's models


@dataclass(frozen=True)
class SparseEncoderConfig(RerankerConfig):
    """Beyond the shared settings.

    Args:
        batch_tokens: most tokens scored at once; 0: 4,096 on a CPU, 65,536 on a GPU.
        cache: folder where documents' weights are kept for the next query, run and job; empty to keep none.
    """

    model: str = TINY
    batch_tokens: int = 0
    cache: str = ""


@dataclass(frozen=True)
class Terms:
    """A query: the vocabulary's rows that it weighs above zero, and their weights, both (terms,)."""

    rows: np.ndarray
    weights: np.ndarray


class SparseEncoder(Pointwise):
    """A sentence-transformers `SparseEncoder` with SPLADE's max pooling, or a plain `…ForMaskedLM` folder.

    Raises:
        RrarankError: another kind of sparse encoder, or a checkpoint without a language-model head.
    """

    name = "sparse-encoder"

    Config = SparseEncoderConfig
    config: SparseEncoderConfig
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {
        "torch": TORCH_PRECISIONS,
        **{backend: tuple(files) for backend, files in FILES.items()},
    }
    prompts: ClassVar[Sequence[str]] = ("query_prompt", "document_prompt")

    def __init__(self, config: SparseEncoderConfig | None = None) -> None:
        super().__init__(config)
        folder = locate(self.config.model, allow_pickle=self.config.allow_pickle)
        self._logarithms = _logarithms(folder, self.config.model)
        parts = _open_export(folder, self.config) or _open_checkpoint(folder, self.config)
        self.head, self._encode, self._longest = parts.head, parts.encode, parts.longest
        self.batch_tokens = self.config.batch_tokens or tokens_at_once(device_of(self.config))
        self._cut = 0
        self._known: dict[bytes, Terms] = {}
        self._fingerprint = f"{fingerprint(folder)} {self.head.identity}".rstrip()
        self._before = [_prompt(folder, self.config, side) for side in ("query", "document")]
        self._cache = DocumentCache(self.config.cache, self._identity()) if self.config.cache else None
        self.encodes_ahead = self._cache is None

    def _identity(self) -> Mapping[str, object]:
        settings = {"precision": self.config.precision, "max_length": self._longest, "prompt": self._before[1]}
        return {"reranker": self.name, "model": self._fingerprint, **settings}

    @property
    def cut(self) -> int:
        return self._cut

    def encode(self, query: str, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text, and those of the query beside them."""
        if not texts:
            return []
        asked, *found = self._ids([self._before[0] + query, *(self._before[1] + text for text in texts)])
        self._cut += sum(len(ids) >= self._longest for ids in found)
        return [{"input_ids": ids, "query_ids": asked} for ids in found]

    def _ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        if not texts:
            return []
        return [np.array(ids, np.int32) for ids in self._encode(list(texts))]

    def prepare_block(self, queries: Sequence[Ranking]) -> Finish:
        return super().prepare_block(queries) if self._cache is None else partial(self._score_kept, queries)

    def _score_kept(self, queries: Sequence[Ranking]) -> list[Ranking]:
        """Score by the documents' weights of all terms, which the cache keeps."""
        texts = list(dict.fromkeys(c.text for ranking in queries for c in ranking.candidates))
        assert self._cache is not None  # `prepare_block` has looked
        kept = dict(zip(texts, self._cache.entries(texts, self._all_weights), strict=True))
        asked = self._ids([self._before[0] + ranking.query.text for ranking in queries])
        return [
            reorder(ranking, _inner_products(self._terms(ids), [kept[c.text] for c in ranking.candidates]))
            for ranking, ids in zip(queries, asked, strict=True)
        ]

    def _all_weights(self, texts: Sequence[str]) -> list[Entry]:
        """Of each text the terms that weigh more than zero, and their weights."""
        rows = self._ids([self._before[1] + text for text in texts])
        self._cut += sum(len(ids) >= self._longest for ids in rows)
        entries: list[Entry] = [{}] * len(rows)
        for places in batches([len(ids) for ids in rows], self.batch_tokens, self.config.batch_size):
            found = self.head.largest([rows[place] for place in places], [None] * len(places))
            for place, logits in zip(places, found, strict=True):
                weights = self._weights(logits)  # (vocabulary,)
                terms = np.flatnonzero(weights).astype(np.int32)
                entries[place] = {"terms": terms, "weights": weights[terms]}
        return entries

    def score(self, batch: Batch) -> np.ndarray:
        asked = [self._terms(np.asarray(pair["query_ids"])) for pair in batch]
        logits = self.head.largest([pair["input_ids"] for pair in batch], [terms.rows for terms in asked])
        scores = [self._weights(found) @ terms.weights for found, terms in zip(logits, asked, strict=True)]
        return np.array(scores, np.float32)  # (batch,)

    def _terms(self, ids: np.ndarray) -> Terms:
        """Of one query; each is encoded by itself, so that what else is asked does not change its weights."""
        key = ids.tobytes()
        if key not in self._known:
            if len(self._known) >= KEPT_QUERIES:
                self._known.clear()
            weights = self._weights(self.head.largest([ids], [None])[0])  # (vocabulary,)
            rows = np.flatnonzero(weights)
            self._known[key] = Terms(rows, weights[rows])
        return self._known[key]

    def _weights(self, logits: np.ndarray) -> np.ndarray:
        weights: np.ndarray = np.maximum(logits, 0)
        for _ in range(self._logarithms):
            weights = np.log1p(weights)
        return weights

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self._fingerprint}"


@dataclass(frozen=True)
class _Parts:
    head: LanguageHead
    encode: SingleEncoder
    longest: int  # tokens of a text


def _open_export(folder: Path, config: SparseEncoderConfig) -> _Parts | None:
    """An export that holds all it needs: imports neither torch nor transformers. None for any other folder."""
    reading = export_reading(folder, config.backend)
    if reading is None:
        return None
    longest = reading.most(config.max_length, config.model)
    return _Parts(ExportedHead(folder, config.model, config, reading.fill), reading.single_encoder(longest), longest)


def _open_checkpoint(folder: Path, config: SparseEncoderConfig) -> _Parts:
    with loading(config.model, config.device, config.threads):
        checkpoint = Checkpoint.open(folder, config.model)
        longest = checkpoint.longest(config.max_length)
        return _Parts(_load_head(checkpoint, config), _single_encoder(checkpoint.tokenizer, longest), longest)


def _single_encoder(tokenizer: Any, longest: int) -> SingleEncoder:  # transformers is untyped
    if tokenizer.is_fast and not tokenizer.split_special_tokens:
        return encode_singly(tokenizer.backend_tokenizer, longest, tokenizer.truncation_side)
    settings = {"truncation": True, "padding": False, "max_length": longest}
    return lambda texts: tokenizer(texts, **settings)["input_ids"]


def _load_head(checkpoint: Checkpoint, config: SparseEncoderConfig) -> LanguageHead:
    if config.backend in FILES:
        fill = export_padding_id(checkpoint.config, checkpoint.tokenizer)
        return ExportedHead(checkpoint.folder, checkpoint.name, config, fill)
    from rrarank.rerankers.backends.language_heads import load_language_head  # takes seconds to import
    from rrarank.rerankers.backends.torch import TORCH_DTYPES

    return load_language_head(checkpoint, TORCH_DTYPES[config.precision], config)


def _inner_products(query: Terms, documents: Sequence[Entry]) -> list[float]:
    """Of a query with each document. What else is compared does not change a document's."""
    if not documents:
        return []
    terms, weights = (np.concatenate([document[name] for document in documents]) for name in ("terms", "weights"))
    of_terms = np.zeros(max(query.rows.max(initial=0), terms.max(initial=0)) + 1, np.float32)  # a weight per term
    of_terms[query.rows] = query.weights
    places = np.repeat(np.arange(len(documents)), [len(document["terms"]) for document in documents])
    return list(np.bincount(places, of_terms[terms] * weights, minlength=len(documents)))


def _prompt(folder: Path, config: SparseEncoderConfig, side: str) -> str:
    """What is put before each text of a side: as asked, else as sentence-transformers' files say."""
    found = read_json(folder / "config_sentence_transformers.json")
    own = (found.get("prompts") or {}).get(side) if isinstance(found, dict) else ""
    return str(getattr(config, f"{side}_prompt") or own or "")


def _logarithms(folder: Path, name: str) -> int:
    """How often log(1 + x) is taken, as sentence-transformers' files say; a plain checkpoint is taken as SPLADE."""
    modules = read_modules(folder)
    if not modules:
        return 1
    kinds = [str(module.get("type")).rpartition(".")[2] for module in modules]
    found = read_json(folder / str(modules[-1].get("path", "")) / "config.json")
    pooling = found if isinstance(found, dict) else {}
    activation = pooling.get("activation_function", "relu")
    is_splade = kinds[1:] == ["SpladePooling"] and pooling.get("pooling_strategy", "max") == "max"
    if not is_splade or activation not in _ACTIVATIONS:
        seen = ", ".join([*kinds, *(f"{key}={value}" for key, value in pooling.items() if isinstance(value, str))])
        raise RrarankError(f"{name}: a model of {seen}; expected SPLADE: a masked language model and max pooling")
    return _ACTIVATIONS[activation]
