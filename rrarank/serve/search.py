"""The first stage of `/v1/search`: one Lucene index, searched from one thread, since Java is bound to it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rrarank.data.types import Ranking, ranking_of
from rrarank.errors import RrarankError
from rrarank.serve.queue import Full
from rrarank.sources.lucene import LuceneIndex
from rrarank.storage.sidecar import read_sidecar


class Search:
    """BM25 over an index with stored texts.

    Args:
        limit: most queries that wait.

    Raises:
        MissingPrerequisite: no Java.
        RrarankError: no such index.
    """

    def __init__(self, path: Path, limit: int) -> None:
        sidecar = read_sidecar(path)
        recorded = sidecar.content.get("config", {}) if sidecar else {}
        if "model" in recorded:
            raise RrarankError(f"{path}: a dense index, which holds no texts; give --index a Lucene index")
        self.name = path.resolve().name
        self._limit, self._pending = limit, 0
        self._language = str(recorded.get("language", "en"))
        self._thread = ThreadPoolExecutor(1, "rrarank-search")
        self._index = self._thread.submit(LuceneIndex, path).result()

    def find(self, query: str, hits: int) -> asyncio.Future[Ranking]:
        """The query's hits that have a text, best first; call it from the event loop.

        Raises:
            Full: `limit` queries are waiting.
        """
        if self._pending > self._limit:
            raise Full(self._limit, 1)
        self._pending += 1
        found = asyncio.get_running_loop().run_in_executor(self._thread, self._find, query, hits)
        found.add_done_callback(self._done)
        return found

    def _done(self, _: object) -> None:
        self._pending -= 1

    def _find(self, query: str, hits: int) -> Ranking:
        topics = {"q": query}
        found = self._index.search(topics, hits=hits, language=self._language)["q"]
        texts = dict(self._index.texts({hit.docid for hit in found}))
        return ranking_of("q", found, topics, texts)
