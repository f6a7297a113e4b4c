"""Each text of some collections once: `python unique_texts.py OUTPUT.jsonl CORPUS.jsonl.gz … [--run RUN.trec]`

Pairs of equal text are noise, and dl22 holds 2,101 duplicates. With --run, only what the run holds
down to --depth.
"""

import argparse
import gzip
import json
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("corpora", nargs="+", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--depth", type=int, default=100)
    flags = parser.parse_args()
    wanted = None
    if flags.run:
        rows = (line.split() for line in flags.run.read_text().splitlines())
        wanted = {docid for _, _, docid, rank, *_ in rows if int(rank) <= flags.depth}
    found: dict[str, str] = {}  # text -> docid
    for corpus in flags.corpora:
        with gzip.open(corpus, "rt", encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                if wanted is None or record["id"] in wanted:
                    found.setdefault(record["contents"], record["id"])
    with open(flags.output, "w", encoding="utf-8") as out:
        out.writelines(json.dumps({"id": docid, "contents": text}) + "\n" for text, docid in found.items())


if __name__ == "__main__":
    main()
