"""Candidates with the teachers' mean scores as a distillation set: `python as_set.py OUTPUT.jsonl WORK …`

Each WORK holds `queries.tsv`, `texts/train.jsonl` and the --candidates. A teacher's scores count in its own deviations
within a query, as in train.py; so that --scale there is the loss's `scale` here.
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rrarank.data.distillation_set import write_set
from rrarank.data.topics import read_topics
from rrarank.data.types import Candidate, LabelledRanking, Query


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("work", nargs="+", type=Path)
    parser.add_argument("--candidates", default="candidates.npz")
    parser.add_argument("--documents", type=int, default=0, help="of a query: first ones and as many others; 0: all")
    parser.add_argument("--queries", type=int, default=0, help="only so many, drawn at random; 0: all, in their order")
    flags = parser.parse_args()
    found = (label for work in flags.work for label in labels(work, flags.documents, flags.candidates))
    if flags.queries:
        every = list(found)
        random.Random(1).shuffle(every)
        found = iter(every[: flags.queries])
    write_set(flags.output, found)


def labels(work: Path, documents: int, candidates: str) -> Iterator[LabelledRanking]:
    stored, topics = np.load(work / candidates), read_topics(work / "queries.tsv")
    lines = (work / "texts/train.jsonl").read_text(encoding="utf-8").splitlines()
    texts = {one["id"]: one["contents"] for one in map(json.loads, lines)}
    docids, scores = stored["docids"].tolist(), stored["scores"]
    means = (scores / scores.std(-1).mean(-1)[:, None, None]).mean(0)  # (queries, candidates)
    teacher = " + ".join(stored["models"].tolist())
    rng = np.random.default_rng(1)
    for qid, rows, values in zip(stored["qids"].tolist(), stored["candidates"].tolist(), means, strict=True):
        kept = chosen(len(rows), documents, rng) if documents else range(len(rows))
        known = {docids[rows[place]]: round(float(values[place]), 4) for place in kept}
        yield LabelledRanking(
            query=Query(qid, topics[qid]),
            shown=tuple(Candidate(docid, texts[docid], 0.0) for docid in known),
            listed=tuple(sorted(known, key=lambda docid: -known[docid])),
            provenance={"teacher": teacher, "scores": known},
        )


def chosen(candidates: int, documents: int, rng: np.random.Generator) -> list[int]:
    """Places of the first ones and of as many others."""
    first = documents // 2
    others = first + rng.permutation(candidates - first)[: documents - first]
    return [*range(first), *others.tolist()]


if __name__ == "__main__":
    main()
