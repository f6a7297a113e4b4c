"""A server whose reranker obeys its texts: `hold FILE`, `sleep 0.5`, `fail`, `crash`; others score their length."""

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

from rrarank.engine.registry import register
from rrarank.engine.reranker import Pointwise, Reranker, reorder
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


@register("sleepy-pairs")
class SleepyPairs(Pointwise):
    """A point-wise reranker that takes 20 ms a pair; a token is a word, and the score is their number.

    It says on which thread it is loaded, and cannot be loaded while the file that SLEEPER_BROKEN names exists.
    """

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        print(f"loaded on {threading.current_thread().name}", file=sys.stderr, flush=True)
        if Path(os.environ.get("SLEEPER_BROKEN", "/nowhere/at-all")).exists():
            raise RrarankError("the model is broken")

    def encode(self, query, texts):
        return [{"input_ids": text.split()} for text in texts]

    def score(self, batch):
        time.sleep(0.02 * len(batch))
        return np.array([len(pair["input_ids"]) for pair in batch], dtype=np.float32)


if __name__ == "__main__":
    sys.exit(main())
