"""Which documents an LLM grades: those that nobody judged among the top of the runs, or a sample of the judged ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rrarank.data.types import Qrels, Run


class Pair(NamedTuple):
    """A document of a query."""

    qid: str
    docid: str


def pool(runs: Iterable[Run], depth: int) -> dict[Pair, None]:
    """The top `depth` documents of any run, query by query in the order of the first run."""
    runs = list(runs)
    qids = dict.fromkeys(qid for run in runs for qid in run)
    return {Pair(qid, hit.docid): None for qid in qids for run in runs for hit in run.get(qid, ())[:depth]}


def unjudged(pairs: Iterable[Pair], qrels: Qrels) -> list[Pair]:
    """The pairs without a judgment, of queries that have judgments; of all queries if there are no judgments."""
    return [pair for pair in pairs if not qrels or (pair.qid in qrels and pair.docid not in qrels[pair.qid])]


def judged(pairs: Iterable[Pair], qrels: Qrels) -> list[Pair]:
    return [pair for pair in pairs if pair.docid in qrels.get(pair.qid, {})]


def sample(pairs: Sequence[Pair], qrels: Qrels, number: int, seed: int) -> list[Pair]:
    """So many of the judged pairs, each grade by its share, in the order of a hash of seed, qid and docid.

    So kappa is estimated for the judgments as they are, and a larger sample of a grade contains a smaller one.
    """
    by_grade: dict[int, list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: _hash(f"{seed}\t{pair.qid}\t{pair.docid}")):
        by_grade.setdefault(qrels[pair.qid][pair.docid], []).append(pair)
    counts = shares({grade: len(found) for grade, found in by_grade.items()}, number)
    chosen = {pair for grade, found in by_grade.items() for pair in found[: counts[grade]]}
    return [pair for pair in pairs if pair in chosen]


def shares(sizes: Mapping[int, int], number: int) -> dict[int, int]:
    """How many of each group, in proportion to its size, by largest remainders (Hamilton); at least one each if
    `number` allows it, never more than the group has."""
    total = sum(sizes.values())
    if number >= total:
        return dict(sizes)
    least = 1 if number >= len(sizes) else 0
    exact = {group: least + (number - least * len(sizes)) * size / total for group, size in sizes.items()}
    counts = {group: min(int(share), sizes[group]) for group, share in exact.items()}
    by_remainder = sorted(sizes, key=lambda group: (counts[group] - exact[group], group))
    while left := number - sum(counts.values()):
        for group in [group for group in by_remainder if counts[group] < sizes[group]][:left]:
            counts[group] += 1
    return counts


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
