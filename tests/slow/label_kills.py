"""A labelling job killed again and again: is the set the same, and is any recorded answer asked for twice?

python tests/slow/label_kills.py [--queries 60] [--kills 10] [--in-flight 4] [--delay 0.2] [--seed 13]

The job is `python -m rrarank.label` in a process of its own, which gets SIGKILL once the server has been asked a random
number of questions and a random fraction of the delay has passed. What was in flight then is asked again; what was on
record must not be.
"""

import argparse
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from openai_server import OpenAIServer, after, digest, serving  # type: ignore[import-not-found]  # noqa: E402

FLAGS = ["--run", "bm25.trec", "--topics", "topics.tsv", "--collection", "texts.jsonl", "--preranker", "bm25"]
FLAGS += ["--model", "any"]
CANDIDATES = 30


@dataclass(frozen=True)
class Found:
    """What became of a job that was killed.

    Args:
        questions: those that the server got in all.
        again: those among them whose answers were on record.
        identical: whether the set has the bytes of the one of a job that was left alone.
    """

    kills: int
    questions: int
    again: int
    identical: bool


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a labelling job, resume it, compare.")
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--in-flight", type=int, default=4)
    parser.add_argument("--delay", type=float, default=0.2, metavar="S", help="seconds before each answer")
    parser.add_argument("--seed", type=int, default=13)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = kill_and_resume(Path(folder), flags.queries, flags.kills, flags.in_flight, flags.delay, flags.seed)
    most = flags.queries + found.kills * flags.in_flight
    print(
        f"{found.kills} kills; {found.questions} questions for {flags.queries} queries, at most {most} expected; "
        f"{found.again} asked though on record; the set is {'identical' if found.identical else 'DIFFERENT'}"
    )
    sound = found.kills == flags.kills and found.questions <= most and not found.again and found.identical
    return 0 if sound else 1


def kill_and_resume(folder: Path, queries: int, kills: int, in_flight: int, delay: float, seed: int) -> Found:
    """Label once without, once with kills, against a server that answers alike."""
    rng = random.Random(seed)
    write_inputs(folder, queries, rng)
    with serving(after(delay)) as server:
        assert start(folder, server, in_flight, "whole.jsonl").wait() == 0
    moments = sorted(rng.sample(range(1, queries + 1), kills))
    killed, again = 0, 0
    with serving(after(delay)) as server, redirect_stderr(io.StringIO()):  # it complains of requests cut short
        for moment in [*moments, None]:
            recorded, before = on_record(folder), len(server.requests)
            process = start(folder, server, in_flight, "killed.jsonl")
            killed += moment is not None and kill_at(process, server, moment, rng.uniform(0, delay))
            process.wait()
            again += sum(f"chatcmpl-{digest(one)[:16]}" in recorded for one in server.requests[before:])
        questions = len(server.requests)
    identical = (folder / "whole.jsonl").read_bytes() == (folder / "killed.jsonl").read_bytes()
    return Found(killed, questions, again, identical)


def kill_at(process: subprocess.Popen[bytes], server: OpenAIServer, moment: int, seconds: float) -> bool:
    """SIGKILL so long after that question, or after the job's first, where others have asked as many; whether it was
    still at work."""
    moment = max(moment, len(server.requests) + 1)
    while len(server.requests) < moment and process.poll() is None:
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    return process.wait() < 0


def on_record(folder: Path) -> set[str]:
    """The ids of the answers in the journal, of which a kill may have torn the last line."""
    journal = folder / "killed.jsonl.journal"
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    values = [json.loads(line[line.index("{") :])["value"] for line in lines if line.endswith("\n")]
    return {value["id"] for value in values if isinstance(value, dict)}  # others are the pre-ranker's


def start(folder: Path, server: OpenAIServer, in_flight: int, output: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rrarank.label", *FLAGS, "--base-url", server.url, "--output", output]
    command += ["--in-flight", str(in_flight)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, env=os.environ | {"HF_HUB_OFFLINE": "1"}, stdout=quiet, stderr=quiet)


def write_inputs(folder: Path, queries: int, rng: random.Random) -> None:
    """A run of made-up queries and passages."""
    words = ["tea", "bread", "cat", "dog", "mat", "long", "short", "why", "how", "what"]
    hits = [(f"q{query}", f"q{query}-{place}", place) for query in range(queries) for place in range(CANDIDATES)]
    run = (f"{qid} Q0 {docid} {place + 1} {CANDIDATES - place} bm25\n" for qid, docid, place in hits)
    texts = (json.dumps({"id": docid, "contents": " ".join(rng.choices(words, k=30))}) + "\n" for _, docid, _ in hits)
    (folder / "bm25.trec").write_text("".join(run))
    (folder / "texts.jsonl").write_text("".join(texts))
    topics = (f"q{query}\t{' '.join(rng.choices(words, k=4))} {query}\n" for query in range(queries))
    (folder / "topics.tsv").write_text("".join(topics))


if __name__ == "__main__":
    sys.exit(main())
