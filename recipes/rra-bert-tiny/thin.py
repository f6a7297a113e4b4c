"""Leave out queries to which nothing is relevant: `python thin.py WORK [--least .6]`

A query stays if its nearest passage, by the first dense model, is at least that near. Reads `texts/queries-all.jsonl`
and `vectors/minilm/`, writes `queries.tsv`, `texts/queries-train.jsonl` and `vectors/minilm/queries-train`,
and prints the share that stays.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
from scores import Stored, save_vectors

BLOCK = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--least", type=float, default=0.6)
    flags = parser.parse_args()
    folder = flags.work / "vectors/minilm"
    queries, passages = Stored(folder, ["queries-all"]), Stored(folder, ["train"])
    lines = (flags.work / "texts/queries-all.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    whole = np.asarray(passages.vectors, dtype=np.float32)
    blocks = [[one["id"] for one in records[start : start + BLOCK]] for start in range(0, len(records), BLOCK)]
    best = np.concatenate([(queries[ids] @ whole.T).max(1) for ids in blocks])
    kept = [record for record, near in zip(records, best, strict=True) if near >= flags.least]
    for kind in ("web", "nq"):
        own = best[[record["id"].startswith(kind) for record in records]]
        shares = ", ".join(
            f"{quantile:.0%} {np.quantile(own, quantile):.3f}" for quantile in (0.1, 0.25, 0.5, 0.75, 0.9)
        )
        print(f"{kind}: {len(own):,} queries, {(own >= flags.least).mean():.1%} stay; nearest passage: {shares}")
    print(Counter(record["id"].partition("-")[0] for record in kept))
    names = [record["id"] for record in kept]
    save_vectors(folder / "queries-train", names, queries[names])
    with open(flags.work / "queries.tsv", "w", encoding="utf-8") as file:
        file.writelines(f"{record['id']}\t{record['contents']}\n" for record in kept)
    with open(flags.work / "texts/queries-train.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in kept)


if __name__ == "__main__":
    main()
