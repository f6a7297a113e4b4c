"""A re-ranking job killed again and again, at random moments: is the run the same, byte for byte?

    python tests/slow/rerank_kills.py [--kills 20] [--copies 10] [--seed 13] [--threads 1] [--output F.json]

The job is `python -m rrarank.rerank` with the model that ships, in a process of its own, over the embedded sample's
queries, so many times each. It gets SIGKILL after a random time: while it loads, scores, keeps a block or writes the
run. The same command then goes on. Where it ends before its time, its run is compared, and another job begins.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.common import conclude, machine
from rrarank.cli.parser import positive
from rrarank.data.trec import write_run
from rrarank.data.types import Hit, Run
from rrarank.errors import say
from rrarank.sources.sample import sample_rankings

SOONEST_S = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill a re-ranking job, resume it, compare.")
    parser.add_argument("--kills", type=positive, default=20)
    parser.add_argument("--copies", type=positive, default=10, help="of each query of the sample")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = kill_and_resume(Path(folder), flags.kills, flags.copies, flags.seed, flags.threads)
    when = f"{found['before']} before the first block was kept, {found['between']} between blocks"
    ends = f"{found['jobs']} jobs came to their end, {found['identical']} with the bytes of one that was left alone"
    print(f"{found['kills']} kills ({when}); {ends}")
    sound = found["kills"] == flags.kills and 0 < found["jobs"] == found["identical"] and not found["left"]
    faults = [] if sound else [f"{found}"]
    conclude(flags.output, machine(flags.threads), found=dict(found), faults=faults)
    sys.exit("\n".join(faults) if faults else 0)


def kill_and_resume(folder: Path, kills: int, copies: int, seed: int, threads: int) -> Counter[str]:
    """
    Returns:
        how many `kills`, `before` and `between` blocks; `jobs` that ended, `identical` ones, and files `left` behind.
    """
    rng, found = random.Random(seed), Counter[str]()
    write_inputs(folder, copies)
    started = time.monotonic()
    assert start(folder, "whole.trec", threads).wait() == 0
    longest = time.monotonic() - started
    say(f"left alone, the job takes {longest:.0f} s")
    while found["kills"] < kills or not found["jobs"]:
        process = start(folder, "killed.trec", threads)
        try:
            assert process.wait(rng.uniform(SOONEST_S, longest) if found["kills"] < kills else None) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            found["kills"] += 1
            found["between" if blocks_kept(folder) else "before"] += 1
            continue
        found["jobs"] += 1
        found["identical"] += (folder / "killed.trec").read_bytes() == (folder / "whole.trec").read_bytes()
        found["left"] += len(list(folder.glob(".*")) + list(folder.glob("*.journal")))
        for path in folder.glob("killed.*"):
            path.unlink()
    return found


def blocks_kept(folder: Path) -> int:
    journal = folder / "killed.trec.journal"
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def write_inputs(folder: Path, copies: int) -> None:
    rankings = list(sample_rankings(20))
    texts = {c.docid: c.text for ranking in rankings for c in ranking.candidates}
    lines = (json.dumps({"id": docid, "contents": text}) + "\n" for docid, text in texts.items())
    (folder / "texts.jsonl").write_text("".join(lines))
    named = [(f"{ranking.query.qid}.{copy}", ranking) for copy in range(copies) for ranking in rankings]
    (folder / "topics.tsv").write_text("".join(f"{qid}\t{ranking.query.text}\n" for qid, ranking in named))
    hits = {qid: [Hit(c.docid, -float(n)) for n, c in enumerate(ranking.candidates)] for qid, ranking in named}
    write_run(folder / "bm25.trec", Run(hits), "bm25")


def start(folder: Path, output: str, threads: int) -> subprocess.Popen[bytes]:
    flags = ["--run", "bm25.trec", "--topics", "topics.tsv", "--collection", "texts.jsonl", "--output", output]
    command = [sys.executable, "-m", "rrarank.rerank", *flags, "--threads", str(threads), "--overwrite"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
