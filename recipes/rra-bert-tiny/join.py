"""Several folders of queries over the same passages as one: `python join.py OUTPUT WORK …`

Joins queries, their BM25 runs, their vectors, and candidates; `texts/train.jsonl` and the passages' vectors are those
of the first WORK.
"""

import argparse
from pathlib import Path

import numpy as np
from scores import Stored, save_vectors


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
        queries = Stored(Path(), [str(work / "vectors" / model / "queries-train") for work in works])
        save_vectors(output / "vectors" / model / "queries-train", list(queries.row), queries.vectors)
    before = np.cumsum([0, *(len(one["qids"]) for one in stored)])
    facts = {
        "qids": np.concatenate([one["qids"] for one in stored]),
        "candidates": np.concatenate([one["candidates"] for one in stored]),
        "scores": np.concatenate([one["scores"] for one in stored], axis=1),
        "alike": np.concatenate([one["alike"] + start for one, start in zip(stored, before, strict=False)]),
    }
    np.savez(output / "candidates.npz", docids=stored[0]["docids"], models=models, **facts)


def _link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.symlink_to(target)


if __name__ == "__main__":
    main()
