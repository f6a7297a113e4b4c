"""How far does a set from clicks agree with the judgments by which simulated users clicked?

    python -m benchmarks online agreement --set clicks.jsonl --log users --qrels QRELS --runs RUN [RUN ...]

Of the pairs of documents that the set knows and whose grades differ, the share that has the better one in front:
in the set, by raw clicks, and in each run.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from itertools import combinations, permutations
from pathlib import Path

from benchmarks.common import show
from rrarank.data.distillation_set import pairs, read_set
from rrarank.data.impressions import impressions
from rrarank.data.trec import read_qrels, read_run
from rrarank.data.ubi_files import read_log


def main() -> None:
    parser = argparse.ArgumentParser(description="A set from clicks against the judgments behind the clicks.")
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--qrels", type=Path, required=True)
    parser.add_argument("--runs", type=Path, nargs="+", default=[])
    flags = parser.parse_args()
    qrels = read_qrels(flags.qrels)
    labels = {label.query.qid: label for label in read_set(flags.set)}
    known = {qid: {*label.listed, *label.missing} for qid, label in labels.items()}
    clicks = Counter((one.name, click.docid) for one in impressions(read_log(flags.log))[0] for click in one.clicks)
    orders = {"the set": {qid: list(pairs(label)) for qid, label in labels.items()}}
    orders["raw clicks"] = {
        qid: [(a, b) for a, b in permutations(own, 2) if clicks[qid, a] > clicks[qid, b]] for qid, own in known.items()
    }
    for path in flags.runs:
        run = read_run(path)
        listed = {qid: [hit.docid for hit in run.get(qid, ()) if hit.docid in own] for qid, own in known.items()}
        orders[path.stem] = {qid: list(combinations(own, 2)) for qid, own in listed.items()}
    show([{"order": name, **_row(found, qrels)} for name, found in orders.items()], {"pairs": ",.0f", "right": ".1%"})


def _row(found: dict[str, list[tuple[str, str]]], qrels: dict[str, dict[str, int]]) -> dict[str, float]:
    gaps = [qrels.get(qid, {}).get(a, 0) - qrels.get(qid, {}).get(b, 0) for qid, a, b in _flat(found)]
    decided = [gap for gap in gaps if gap]
    return {"pairs": len(decided), "right": sum(gap > 0 for gap in decided) / max(len(decided), 1)}


def _flat(found: dict[str, list[tuple[str, str]]]) -> Iterable[tuple[str, str, str]]:
    return ((qid, a, b) for qid, own in found.items() for a, b in own)


if __name__ == "__main__":
    main()
