"""Clients of other makers against a real server of ours: each example that takes a URL, run as its reader would.

    python -m benchmarks serving clients [--python cohere_sdk.py=PYTHON …]

Each runs by this Python unless another is named for it, as one with other packages. All must give the best two passages
in our own order, with our own relevance. Exit 1 where one does not; what is not installed is said.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "serve"))

from server_process import serving  # type: ignore[import-not-found]  # noqa: E402

from rrarank.data.types import Candidate, Query, Ranking  # noqa: E402
from rrarank.engine.blocks import rank_block  # noqa: E402
from rrarank.engine.registry import load_reranker  # noqa: E402

CLIENTS = ("curl.sh", "cohere_sdk.py")
QUERY = "how long to boil an egg"
TEXTS = (
    "Eggs keep for weeks in the fridge.",
    "Boil an egg for ten minutes if you want it hard.",
    "A hen lays an egg on most mornings.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Clients of other makers against a real server of ours.")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PYTHON", help="who runs it; repeatable")
    flags = parser.parse_args()
    pythons = dict(given.split("=", 1) for given in flags.python)
    wanted = expected()
    print(f"ours: {wanted}")
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        outcomes = {name: asked(name, pythons.get(name, sys.executable), server.url) for name in CLIENTS}
    for name, found in outcomes.items():
        print(f"{name}: {'the same' if found == wanted else found}")
    odd = [name for name, found in outcomes.items() if found != wanted and "not installed" not in str(found)]
    sys.exit(f"other answers: {', '.join(odd)}" if odd else 0)


def expected() -> list[tuple[float, str]]:
    """(relevance, text) of the best two: the sigmoid of our scores."""
    candidates = tuple(Candidate(str(place), text, 0.0) for place, text in enumerate(TEXTS))
    [hits] = rank_block([Ranking(Query("q", QUERY), candidates)], load_reranker())
    return [(round(1 / (1 + math.exp(-hit.score)), 3), TEXTS[int(hit.docid)]) for hit in hits[:2]]


def asked(name: str, python: str, url: str) -> list[tuple[float, str]] | str:
    runner = "bash" if name.endswith(".sh") else python
    done = subprocess.run([runner, ROOT / "examples" / name, url], check=False, capture_output=True, text=True)
    if lacking := re.search(r"No module named '([\w.]+)'", done.stderr):
        return f"{lacking[1]} is not installed for {Path(runner).name}"
    if done.returncode:
        return done.stderr.splitlines()[-1]
    if name.endswith(".sh"):
        results = json.loads(done.stdout)["results"]
        return [(round(one["relevance_score"], 3), one["document"]["text"]) for one in results]
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    answers = [(float(score), text) for score, _, text in lines]
    return answers[:2] if answers[:2] == answers[2:4] else answers  # an example may ask twice


if __name__ == "__main__":
    main()
