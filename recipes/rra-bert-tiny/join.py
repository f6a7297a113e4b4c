"""Several folders of queries over the same passages as one: `python join.py OUTPUT WORK …`

Joins queries, their BM25 runs, their vectors, and candidates; `texts/train.jsonl` and the passages' vectors are those
of the first WORK.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import sparse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("work", nargs="+", type=Path)
    parser.add_argument("--models", nargs="+", help="whose vectors are joined; those of the candidates if absent")
    flags = parser.parse_args()
    works, output = [work.resolve() for work in flags.work], flags.output
    stored = [np.load(work / "candidates.npz") for work in works]
    models = stored[0]["models"].tolist()
    if any(one[name].tolist() != stored[0][name].tolist() for one in stored for name in ("docids", "models")):
        parser.error("the passages or the teachers differ")
    (output / "texts").mkdir(parents=True, exist_ok=True)
    _link(output / "texts/train.jsonl", works[0] / "texts/train.jsonl")
    for name in ("queries.tsv", "bm25.trec"):
        (output / name).write_bytes(b"".join((work / name).read_bytes() for work in works))
    for model in flags.models or models:
        _link(output / "vectors" / model / "train", works[0] / "vectors" / model / "train")
        join_vectors([work / "vectors" / model / "queries-train" for work in works], output / "vectors" / model)
    before = np.cumsum([0, *(len(one["qids"]) for one in stored)])
    facts = {
        "qids": np.concatenate([one["qids"] for one in stored]),
        "candidates": np.concatenate([one["candidates"] for one in stored]),
        "scores": np.concatenate([one["scores"] for one in stored], axis=1),
        "alike": np.concatenate([one["alike"] + start for one, start in zip(stored, before, strict=False)]),
    }
    np.savez(output / "candidates.npz", docids=stored[0]["docids"], models=models, **facts)


def join_vectors(folders: list[Path], output: Path) -> None:
    joined = output / "queries-train"
    joined.mkdir(exist_ok=True)
    ids = [name for folder in folders for name in json.loads((folder / "ids.json").read_text())]
    (joined / "ids.json").write_text(json.dumps(ids))
    if (folders[0] / "vectors.npz").exists():
        rows = [sparse.load_npz(folder / "vectors.npz") for folder in folders]
        sparse.save_npz(joined / "vectors.npz", sparse.vstack(rows, format="csr"))
    else:
        np.save(joined / "vectors.npy", np.concatenate([np.load(folder / "vectors.npy") for folder in folders]))


def _link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.symlink_to(target)


if __name__ == "__main__":
    main()
