"""A server whose reranker obeys its texts: `hold FILE`, `sleep 0.5`, `fail`, `crash`; others score their length."""

import sys
import time
from pathlib import Path

from rrarank.engine.registry import register
from rrarank.engine.reranker import Reranker, reorder
from rrarank.errors import RrarankError
from rrarank.serve.__main__ import main


@register("sleeper")
class Sleeper(Reranker):
    def rerank_block(self, queries):
        return [reorder(ranking, [self.score(one.text) for one in ranking.candidates]) for ranking in queries]

    def score(self, text: str) -> float:
        word, _, rest = text.partition(" ")
        if word == "hold":  # report the start, then wait for the file
            Path(f"{rest}.begun").touch()
            while not Path(rest).exists():
                time.sleep(0.01)
        if word == "sleep":
            time.sleep(float(rest))
        if word == "fail":
            raise RrarankError("the reranker cannot")
        if word == "crash":
            raise ValueError(f"a bug, on seeing {text!r}")
        return float("nan") if word == "nan" else float(len(text))


if __name__ == "__main__":
    sys.exit(main())
