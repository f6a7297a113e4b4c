"""Teachers' scores from stored vectors: inner products, by (query, passage text)."""

import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

FAST = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32  # emulated, it is slower
Vectors = np.ndarray | sparse.csr_matrix


class Stored:
    """The vectors of one model for some sets of texts: `FOLDER/<set>/ids.json` and `vectors.npy` or `vectors.npz`."""

    def __init__(self, folder: Path, sets: Iterable[str]) -> None:
        ids: list[str] = []
        parts: list[Vectors] = []
        for name in sets:
            ids += json.loads((folder / name / "ids.json").read_text())
            packed = folder / name / "vectors.npz"
            parts.append(sparse.load_npz(packed) if packed.exists() else np.load(folder / name / "vectors.npy"))
        self.row = {docid: row for row, docid in enumerate(ids)}
        is_sparse = sparse.issparse(parts[0])
        self.vectors: Vectors = sparse.vstack(parts, format="csr") if is_sparse else np.concatenate(parts)

    def __getitem__(self, ids: Sequence[str]) -> Vectors:
        found = self.vectors[[self.row[name] for name in ids]]
        return found if sparse.issparse(found) else found.astype(np.float32)


def save_vectors(folder: Path, ids: Sequence[str], vectors: Vectors) -> None:
    """As `Stored` reads them; dense ones in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    if sparse.issparse(vectors):
        sparse.save_npz(folder / "vectors.npz", vectors)
    else:
        np.save(folder / "vectors.npy", vectors.astype(np.float16))
    (folder / "ids.json").write_text(json.dumps(list(ids)))


def products(queries: Vectors, passages: Vectors) -> np.ndarray:
    """(queries, passages) float32."""
    found = queries @ passages.T
    return np.asarray(found.todense() if sparse.issparse(found) else found, dtype=np.float32)


def z_scores(values: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1; all zeros where the values are equal."""
    return (values - values.mean()) / (values.std() or 1.0)


def read_texts(*paths: Path) -> dict[str, str]:
    """docid -> text."""
    texts = {}
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
            texts.update((record["id"], record["contents"]) for record in map(json.loads, file))
    return texts
