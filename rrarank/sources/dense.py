"""Dense retrieval: a bi-encoder embeds a collection once, faiss searches it exactly (no other file imports faiss)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rrarank.data.trec import best_first
from rrarank.data.types import Hit, Run, blocks, is_blank
from rrarank.errors import RrarankError, shown
from rrarank.extras import importing
from rrarank.storage.files import sha256
from rrarank.storage.folders import replace_folder
from rrarank.storage.sidecar import DENSE_MANIFEST, read_sidecar

if TYPE_CHECKING:
    import numpy as np

FORMAT = "rrarank.dense/1"
BLOCK = 1024  # documents embedded at once; limits the memory for their texts
_VECTORS, _DOCIDS = "vectors.faiss", "docids.json"


class Encoder(Protocol):
    """A bi-encoder; similarity is the inner product of a query's and a document's embedding."""

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, width) float32."""

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, width) float32."""


class DenseIndex:
    """Embeddings and docids of a collection, read from a folder into memory: 4 bytes per dimension and document."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        if not (path / DENSE_MANIFEST).is_file():
            raise RrarankError(f"{path}: not a dense index (no {DENSE_MANIFEST}); give another --index")
        manifest = json.loads((path / DENSE_MANIFEST).read_text(encoding="utf-8"))
        for name, recorded in manifest["sha256"].items():
            if not (path / name).is_file() or sha256(path / name) != recorded:
                raise RrarankError(f"{path / name}: not what {DENSE_MANIFEST} describes; make the index again")
        faiss = _faiss(threads)
        self.path = path
        self.docids: list[str] = json.loads((path / _DOCIDS).read_text(encoding="utf-8"))
        self.fingerprint = sha256(path / DENSE_MANIFEST)
        self._vectors = faiss.read_index(str(path / _VECTORS))
        self._rows = {docid: row for row, docid in enumerate(self.docids)}

    def vectors(self, docids: Sequence[str]) -> np.ndarray:
        """(docids, width) float32.

        Raises:
            RrarankError: a docid is not in the index.
        """
        if absent := [docid for docid in docids if docid not in self._rows]:
            raise RrarankError(f"{self.path}: has no document {shown(absent)}; was it made from another collection?")
        return self._vectors.reconstruct_batch([self._rows[docid] for docid in docids])  # type: ignore[no-any-return]

    def search(self, topics: Mapping[str, str], encoder: Encoder, *, hits: int = 1000) -> Run:
        """A run with the `hits` nearest documents of each query, in the order of the topics; the search is exact."""
        run: dict[str, list[Hit]] = {}
        for qids in blocks(topics, BLOCK):
            queries = encoder.embed_queries([topics[qid] for qid in qids])  # (queries, width)
            _check_finite(queries, "query", qids)
            scores, rows = self._vectors.search(queries, min(hits, len(self.docids)))  # both (queries, hits)
            for qid, found, values in zip(qids, rows.tolist(), scores.tolist(), strict=True):
                run[qid] = best_first(Hit(self.docids[row], score) for row, score in zip(found, values, strict=True))
        return Run(run, "dense")


def build_dense_index(
    documents: Iterable[tuple[str, str]],
    index: Path,
    encoder: Encoder,
    describe: Callable[[Path, int], None] | None = None,
) -> tuple[int, int]:
    """Embed (docid, text) pairs into a folder that appears whole or not at all.

    Returns the number of indexed documents and the number of empty ones left out, as `lucene.build_index` does.
    """
    faiss = _faiss()
    docids: list[str] = []
    vectors, empty = None, 0
    for block in blocks(documents, BLOCK):
        filled = [(docid, text) for docid, text in block if not is_blank(text)]
        empty += len(block) - len(filled)
        if filled:
            docids += [docid for docid, _ in filled]
            embedded = encoder.embed_documents([text for _, text in filled])  # (filled, width)
            _check_finite(embedded, "document", [docid for docid, _ in filled])
            vectors = vectors or faiss.IndexFlatIP(embedded.shape[1])
            vectors.add(embedded)
    if vectors is None:
        raise RrarankError("the collection to index holds no documents")
    if len(set(docids)) < len(docids):
        raise RrarankError(
            f"{index}: {len(docids) - len(set(docids)):,} docids stand twice in the collection; keep one"
        )
    _save(index, vectors, docids, describe)
    return len(docids), empty


def _check_finite(embedded: np.ndarray, what: str, ids: Sequence[str]) -> None:
    """Refuse embeddings that hold a NaN or an infinity, with which no order is defined."""
    import numpy as np

    if odd := [name for name, row in zip(ids, embedded, strict=True) if not np.isfinite(row).all()]:
        seen = f"the model's embeddings of {len(odd):,} texts are not finite ({what} {shown(odd)})"
        raise RrarankError(f"{seen}; use another --model, or --device cpu")


def check_same_model(index: Path, name: str, sha256: str) -> None:
    """Refuse an index that was embedded by another model, according to its sidecar."""
    sidecar = read_sidecar(index)
    made_by = sidecar.content.get("config", {}).get("model", {}) if sidecar else {}
    if made_by.get("sha256") != sha256:
        raise RrarankError(
            f"{index}: embedded by {made_by.get('name', 'an unknown model')}, not by {name}, whose files differ; "
            "give another --index"
        )


def _save(index: Path, vectors: Any, docids: Sequence[str], describe: Callable[[Path, int], None] | None) -> None:
    with replace_folder(index) as folder:
        _faiss().write_index(vectors, str(folder / _VECTORS))
        (folder / _DOCIDS).write_text(json.dumps(docids), encoding="utf-8")
        manifest = {
            "format": FORMAT,
            "documents": len(docids),
            "width": vectors.d,
            "sha256": {name: sha256(folder / name) for name in (_VECTORS, _DOCIDS)},
        }
        (folder / DENSE_MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        if describe:
            describe(folder, len(docids))


def _faiss(threads: int = 0) -> Any:
    import torch  # noqa: F401  # importing torch after faiss crashes (faiss issue 4273)

    with importing():
        import faiss

    if threads:
        faiss.omp_set_num_threads(threads)
    return faiss
