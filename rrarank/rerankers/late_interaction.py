"""Late interaction: one vector a token, compared by MaxSim (ColBERT: Khattab & Zaharia, SIGIR 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from rrarank.data.types import Ranking
from rrarank.engine.reranker import Reranker, RerankerConfig, reorder
from rrarank.errors import MissingPrerequisite, RrarankError
from rrarank.rerankers.backends.base import device_of, tokens_at_once
from rrarank.rerankers.backends.torch import TORCH_DTYPES
from rrarank.rerankers.checkpoints import capped, positions
from rrarank.rerankers.uses import LATE_INTERACTION, architectures_of, kind_of, other_use
from rrarank.storage.document_cache import DocumentCache
from rrarank.storage.files import read_json
from rrarank.storage.model_folders import fingerprint, loading, locate

_SIMILARITIES = ("maxsim", "meanmaxsim")


@dataclass(frozen=True)
class LateInteractionConfig(RerankerConfig):
    """Beyond the shared settings.

    Args:
        cache: folder where documents' vectors are kept for the next query, run and job; empty to keep none.
    """

    cache: str = ""


class LateInteraction(Reranker):
    """A ColBERT in the format of sentence-transformers, PyLate or Stanford's ColBERT, with its own lengths, prompts,
    query expansion and skipped tokens.

    Raises:
        RrarankError: no model given, or a model of another kind.
    """

    name = "late-interaction"

    Config = LateInteractionConfig
    config: LateInteractionConfig
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {"torch": tuple(TORCH_DTYPES)}
    prompts: ClassVar[Sequence[str]] = ("query_prompt", "document_prompt")

    def __init__(self, config: LateInteractionConfig | None = None) -> None:
        super().__init__(config)
        if not self.config.model:
            raise RrarankError(
                "late-interaction: no model; give model (--model), a folder or hub id of a ColBERT model"
            )
        folder = locate(self.config.model, allow_pickle=self.config.allow_pickle)
        _check_kind(folder, self.config.model)
        self._device = device_of(self.config)
        with loading(self.config.model, self.config.device, self.config.threads):
            self.model = _load(folder, self.config, self._device)
        self._mean = self.model.similarity_fn_name == "meanmaxsim"
        self._fingerprint = f"{fingerprint(folder)} sentence-transformers {version('sentence-transformers')}"
        self._cache = DocumentCache(self.config.cache, self._identity()) if self.config.cache else None

    def _identity(self) -> Mapping[str, object]:
        config = self.config
        settings = {"precision": config.precision, "max_length": config.max_length, "prompt": config.document_prompt}
        return {"reranker": self.name, "model": self._fingerprint, **settings}

    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        texts = list(dict.fromkeys(c.text for ranking in queries for c in ranking.candidates))
        if not texts:
            return list(queries)
        documents = dict(zip(texts, self.embed_documents(texts), strict=True))
        asked = self.embed_queries([ranking.query.text for ranking in queries])
        return [
            reorder(ranking, self._scores(query, [documents[c.text] for c in ranking.candidates]))
            for ranking, query in zip(queries, asked, strict=True)
        ]

    def embed_documents(self, texts: Sequence[str]) -> list[np.ndarray]:
        """(tokens, width) float32 of each text, from the cache if there is one."""
        if self._cache is None:
            return self._encode(texts)
        made = self._cache.entries(texts, lambda new: [{"vectors": vectors} for vectors in self._encode(new)])
        return [entry["vectors"] for entry in made]

    def _encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        prompt = self.config.document_prompt or None
        return [row.float().cpu().numpy() for row in self._ask(self.model.encode_document, texts, prompt)]

    def embed_queries(self, texts: Sequence[str]) -> list[Tensor]:
        """(tokens, width) float32 of each query, on the model's device."""
        return [row.float() for row in self._ask(self.model.encode_query, texts, self.config.query_prompt or None)]

    def _ask(self, encode: Any, texts: Sequence[str], prompt: str | None) -> list[Tensor]:
        given = {} if prompt is None else {"prompt": prompt}
        size = self.config.batch_size or 32  # sentence-transformers' default
        return encode(list(texts), batch_size=size, show_progress_bar=False, **given)  # type: ignore[no-any-return]

    def _scores(self, query: Tensor, documents: Sequence[np.ndarray]) -> list[float]:
        found: list[float] = []
        for part in _parts(documents, 4 * tokens_at_once(self._device)):
            tokens = torch.from_numpy(np.concatenate(part)).to(query.device)
            found += max_sim(query, tokens, [len(one) for one in part]).tolist()
        return [score / len(query) for score in found] if self._mean else found

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self._fingerprint}"


def max_sim(query: Tensor, tokens: Tensor, lengths: Sequence[int]) -> Tensor:
    """For each document, the sum over the query's tokens of the largest similarity to one of its tokens.

    One matrix product serves all documents, without padding. A document without tokens scores 0.

    Args:
        query: (query tokens, width).
        tokens: (all documents' tokens, width), one document after the other.
        lengths: tokens of each document.
    """
    counts = torch.as_tensor(lengths, device=tokens.device)
    similar = tokens @ query.T  # (tokens, query tokens)
    best = torch.segment_reduce(similar, "max", lengths=counts, axis=0, unsafe=True)  # (documents, query tokens)
    return torch.where(counts[:, None] > 0, best, 0.0).sum(1)


def _parts(documents: Sequence[np.ndarray], most: int) -> list[list[np.ndarray]]:
    """Consecutive documents of at most so many tokens together."""
    parts: list[list[np.ndarray]] = []
    held = most
    for one in documents:
        if held + len(one) > most:
            parts.append([])
            held = 0
        parts[-1].append(one)
        held += len(one)
    return parts


def _check_kind(folder: Path, name: str) -> None:
    """Any other model would get a projection of random numbers."""
    if (kind := kind_of(folder)) not in LATE_INTERACTION:
        found = kind or ", ".join(architectures_of(folder)) or "no kind"
        raise RrarankError(
            f"{name}: not a late-interaction model (its files name {found}, expected one of "
            f"{', '.join(LATE_INTERACTION)}); {other_use(folder)}"
        )


def _check_marks(folder: Path, name: str, tokenizer: Any) -> None:
    """PyLate puts the mark of a query or document behind the first token, whatever that is; sentence-transformers puts
    it before the text. Both are the same only where a text begins with a special token, as [CLS]."""
    settings = read_json(folder / "config_sentence_transformers.json")
    marks = isinstance(settings, dict) and (settings.get("query_prefix") or settings.get("document_prefix"))
    if marks and tokenizer("a")["input_ids"][0] not in tokenizer.all_special_ids:
        raise RrarankError(
            f"{name}: its tokenizer begins a text with no special token, so PyLate puts its mark {marks!r} behind the "
            "first word, which is not supported; use a ColBERT whose texts begin with [CLS] or the like"
        )


def _load(folder: Path, config: LateInteractionConfig, device: str) -> Any:  # sentence-transformers has no stable type
    try:
        from sentence_transformers import MultiVectorEncoder
    except ImportError:
        raise MissingPrerequisite(
            f"late-interaction: sentence-transformers {version('sentence-transformers')} has no MultiVectorEncoder; "
            "type: pip install -U sentence-transformers"
        ) from None
    settings: dict[str, Any] = {"use_safetensors": None if config.allow_pickle else True, "dtype": torch.float32}
    model = MultiVectorEncoder(
        str(folder), device=device, local_files_only=True, trust_remote_code=False, model_kwargs=settings
    )
    if model.similarity_fn_name not in _SIMILARITIES:
        raise RrarankError(f"{config.model}: compares by {model.similarity_fn_name}, expected MaxSim")
    _check_marks(folder, config.model, model.tokenizer)
    _limit_length(model, config)
    return model.to(TORCH_DTYPES[config.precision]).eval()


def _limit_length(model: Any, config: LateInteractionConfig) -> None:
    """Cut documents to the length asked for, and never let them be longer than the model's positions."""
    most, special = positions(model[0].config), model.tokenizer.num_special_tokens_to_add() + 1  # and the mark
    asked, own = config.max_length, model[0].document_length or model.max_seq_length or 0
    if 0 < asked <= special:
        raise RrarankError(f"max_length is {asked}: a text has {special} special tokens; give {special + 1} or more")
    if asked or own > most:
        model.max_seq_length = model[0].document_length = capped(asked, most, config.model) if asked else most
