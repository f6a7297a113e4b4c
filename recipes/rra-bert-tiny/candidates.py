"""Each training query's candidates and every teacher's score of them: `python candidates.py WORK OUTPUT.npz`

Candidates: the best of BM25's run and of each dense model, in turn, until --size are found, then random others. The
output holds qids, candidates (queries, size; rows of texts/train.jsonl), scores (teachers, queries, size), and the
queries that lie nearest to each, itself first (queries, 8; by the first finder).
"""

import argparse
import json
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from scores import Stored, products

import rrarank

BLOCK = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--finders", nargs="+", default=["minilm"], help="dense models whose nearest passages are taken"
    )
    parser.add_argument("--models", nargs="+", default=["minilm", "mpnet", "splade"])
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    vectors, rng = flags.work / "vectors", np.random.default_rng(flags.seed)
    passages = {model: Stored(vectors / model, ["train"]) for model in {*flags.models, *flags.finders}}
    queries = {model: Stored(vectors / model, ["queries-train"]) for model in passages}
    docids = json.loads((vectors / flags.models[0] / "train/ids.json").read_text())
    place = {docid: number for number, docid in enumerate(docids)}
    bm25 = rrarank.read_run(flags.work / "bm25.trec")
    qids = list(queries[flags.models[0]].row)
    near = {model: nearest(queries[model], passages[model], qids, flags.size) for model in flags.finders}
    alike = nearest(queries[flags.finders[0]], queries[flags.finders[0]], qids, 8)
    candidates = np.zeros((len(qids), flags.size), np.int32)
    scores = np.zeros((len(flags.models), len(qids), flags.size), np.float32)
    for number, qid in enumerate(qids):
        lists = [[place[hit.docid] for hit in bm25.get(qid, [])], *(near[model][number].tolist() for model in near)]
        turns = (one for one in chain.from_iterable(zip_longest(*lists)) if one is not None)
        others = rng.permutation(len(docids))[: 2 * flags.size].tolist()
        candidates[number] = list(dict.fromkeys([*turns, *others]))[: flags.size]
        names = [docids[row] for row in candidates[number]]
        for row, model in enumerate(flags.models):
            scores[row, number] = products(queries[model][[qid]], passages[model][names])[0]
    facts = {"qids": qids, "docids": docids, "models": flags.models, "alike": alike}
    np.savez(flags.output, candidates=candidates, scores=scores, **facts)


def nearest(queries: Stored, passages: Stored, qids: list[str], size: int) -> np.ndarray:
    """(queries, size) rows of the passages, nearest first."""
    whole, found = np.asarray(passages.vectors, dtype=np.float32), []
    for start in range(0, len(qids), BLOCK):
        similar = queries[qids[start : start + BLOCK]] @ whole.T  # (block, passages)
        best = np.argpartition(-similar, size, axis=1)[:, :size]
        order = np.argsort(-np.take_along_axis(similar, best, 1), axis=1)
        found.append(np.take_along_axis(best, order, 1))
    return np.concatenate(found)


if __name__ == "__main__":
    main()
