"""What a cascade would give, from the runs of its two parts: the second's order of the first's best N, then the rest.

    python -m benchmarks quality cascade --first tiny.trec --second mini.trec --keep 10 20 30 50 --output FOLDER

Writes FOLDER/cascade-N.trec for `rrarank.evaluate`. Both runs hold the same candidates. The reranker `cascade` scores
only the best N again, and gives the same order: scores do not depend on what else is scored.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rrarank import Run, read_run
from rrarank.data.trec import best_first, write_run
from rrarank.data.types import Hit
from rrarank.engine.tail import with_tail


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs of cascades, from the runs of their two parts.")
    parser.add_argument("--first", type=Path, required=True)
    parser.add_argument("--second", type=Path, required=True)
    parser.add_argument("--keep", nargs="+", type=int, default=[10, 20, 30, 50])
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    flags = parser.parse_args()
    first, second = read_run(flags.first), read_run(flags.second)
    flags.output.mkdir(parents=True, exist_ok=True)
    for keep in flags.keep:
        joined = {qid: join(first[qid], second[qid], keep) for qid in first}
        write_run(flags.output / f"cascade-{keep}.trec", Run(joined, f"cascade-{keep}"))


def join(first: Sequence[Hit], second: Sequence[Hit], keep: int) -> list[Hit]:
    scores = {hit.docid: hit.score for hit in second}
    return with_tail(best_first([Hit(hit.docid, scores[hit.docid]) for hit in first[:keep]]), first)


if __name__ == "__main__":
    main()
