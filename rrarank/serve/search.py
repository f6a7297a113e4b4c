"""The first stage of `/v1/search`: one Lucene index, searched from one thread, since Java is bound to it."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rrarank.data.types import Ranking, ranking_of
from rrarank.errors import RrarankError
from rrarank.serve.keys import NOBODY, Key
from rrarank.serve.queue import Full
from rrarank.sources.lucene import LuceneIndex
from rrarank.storage.sidecar import read_sidecar


class Search:
    """BM25 over an index with stored texts.

    Args:
        limit: most queries that wait.
        shared: by several keys, none of which may have more than half of the queries that wait.

    Raises:
        MissingPrerequisite: no Java.
        RrarankError: no such index.
    """

    def __init__(self, path: Path, limit: int, shared: bool = False) -> None:
        sidecar = read_sidecar(path)
        recorded = sidecar.content.get("config", {}) if sidecar else {}
        if "model" in recorded:
            raise RrarankError(f"{path}: a dense index, which holds no texts; give --index a Lucene index")
        self.name = path.resolve().name
        self._limit, self._most_of_key = limit, limit // 2 if shared else limit
        self._pending: Counter[Key] = Counter()
        self._language = str(recorded.get("language", "en"))
        self._thread = ThreadPoolExecutor(1, "rrarank-search")
        self._index = self._thread.submit(LuceneIndex, path).result()

    def find(self, query: str, hits: int, key: Key = NOBODY) -> asyncio.Future[Ranking]:
        """The query's hits that have a text, best first; call it from the event loop.

        Raises:
            Full: `limit` queries are waiting.
        """
        for waiting, most in ((self._pending.total(), self._limit), (self._pending[key], self._most_of_key)):
            if waiting > most:
                raise Full(most, 1)
        self._pending[key] += 1
        found = asyncio.get_running_loop().run_in_executor(self._thread, self._find, query, hits)
        found.add_done_callback(lambda _: self._pending.subtract([key]))
        return found

    def _find(self, query: str, hits: int) -> Ranking:
        topics = {"q": query}
        found = self._index.search(topics, hits=hits, language=self._language)["q"]
        texts = dict(self._index.texts({hit.docid for hit in found}))
        return ranking_of("q", found, topics, texts)
