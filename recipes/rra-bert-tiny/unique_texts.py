"""Each text of some collections once: `python unique_texts.py OUTPUT.jsonl CORPUS.jsonl.gz … [--run RUN.trec]`

Pairs of equal text are noise, and dl22 holds 2,101 duplicates. With --run, only what the run holds down to --depth.
Texts of --without are left out: test collections share some with those to train on. Punctuation and case do not count.
"""

import argparse
import json
import re
from pathlib import Path

from rrarank.sources.collection import Collection


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("corpora", nargs="+", type=Path)
    parser.add_argument("--without", nargs="+", type=Path, default=[], metavar="CORPUS.jsonl.gz")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--depth", type=int, default=100)
    flags = parser.parse_args()
    wanted = None
    if flags.run:
        rows = (line.split() for line in flags.run.read_text().splitlines())
        wanted = {docid for _, _, docid, rank, *_ in rows if int(rank) <= flags.depth}
    without = {words(text) for corpus in flags.without for _, text in Collection(corpus)}
    found: dict[str, str] = {}  # text -> docid
    for corpus in flags.corpora:
        for docid, text in Collection(corpus):
            if (wanted is None or docid in wanted) and words(text) not in without:
                found.setdefault(text, docid)
    with open(flags.output, "w", encoding="utf-8") as out:
        out.writelines(json.dumps({"id": docid, "contents": text}) + "\n" for text, docid in found.items())


def words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


if __name__ == "__main__":
    main()
