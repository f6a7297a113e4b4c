"""Ten thousand odd inputs: does anything crash, hang, or leave half a file?

    python tests/slow/fuzz.py [--inputs 10000] [--seed 1] [--output F.json]

hypothesis makes them. Four tenths are bodies for a real `python -m rrarank.serve`: near what it takes, any JSON, any
bytes. The others are valid files with parts changed, torn or repeated, given to the verbs in this process. A fault is a
status of 500 or above, an exception that a verb lets through, an exit code that it should not have, an output without
success, or an answer that takes longer than --longest seconds. Exit 1 where there is one.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.common import conclude, machine

SERVING = Path(__file__).resolve().parents[1] / "serve"
sys.path.insert(0, str(SERVING))

from server_process import serving  # type: ignore[import-not-found]  # noqa: E402
from test_wire import asks, near, requests  # type: ignore[import-not-found]  # noqa: E402

from rrarank import convert, evaluate, merge  # noqa: E402
from rrarank.cli.parser import positive  # noqa: E402
from rrarank.data.distillation_set import write_set  # noqa: E402
from rrarank.data.types import Candidate, LabelledRanking, Query  # noqa: E402
from rrarank.errors import say  # noqa: E402
from rrarank.reproduce import __main__ as reproduce  # noqa: E402
from rrarank.rerank import __main__ as rerank  # noqa: E402
from rrarank.sets import __main__ as sets  # noqa: E402
from rrarank.train import __main__ as train  # noqa: E402
from rrarank.trec import main as check_run  # noqa: E402

CODES = (0, 2, 3, 4, 7)
RUN = "".join(f"{qid} Q0 d{n} {n} {9 - n} bm25\n" for qid in range(1, 4) for n in range(1, 5))
TOPICS = "1\tcat tea\n2\tdog\n3\twhy k\u00e9\n"
DOCS = "".join(json.dumps({"id": f"d{n}", "contents": f"cat tea {n}"}) + "\n" for n in range(1, 5))
QRELS = "1 0 d2 1\n2 0 d2 2\n3 0 d1 0\n"
REQUEST = {"query": {"qid": "1", "text": "cat"}, "candidates": [{"docid": "d1", "score": 1.5, "doc": "tea"}]}
CONFIG = """\
stages:
  - loss: {name: ranknet, options: {mu: 1.0}}
    missing: hard-negative
    epochs: 3
max_length: 128
"""
PLACES = "--topics topics.tsv --collection docs.jsonl"
Verb = Callable[[Sequence[str]], int]
JOBS: dict[str, tuple[Verb, str, Sequence[str]]] = {  # name -> verb, flags, the files that may be odd
    "rerank": (
        rerank.main,
        f"--run run.trec {PLACES} --reranker bm25 --output out.trec",
        ["run.trec", "topics.tsv", "docs.jsonl"],
    ),
    "rerank, its sidecar": (
        rerank.main,
        "--run made.trec --reranker bm25 --output out.trec",
        ["made.trec", "made.trec.json", "topics.tsv"],
    ),
    "rerank, requests": (
        rerank.main,
        "--run requests.jsonl --reranker bm25 --output out.trec",
        ["requests.jsonl"],
    ),
    "evaluate": (
        evaluate.main,
        "--qrels qrels.txt --runs run.trec --measures ndcg@10",
        ["qrels.txt", "run.trec"],
    ),
    "check": (check_run, "check run.trec --topics topics.tsv", ["run.trec", "topics.tsv"]),
    "convert": (convert.main, f"--run run.trec --to requests --output out.jsonl {PLACES}", ["run.trec", "docs.jsonl"]),
    "sets validate": (sets.main, "validate set.jsonl", ["set.jsonl"]),
    "sets export": (sets.main, "export set.jsonl --to trec --output out.trec", ["set.jsonl"]),
    "merge": (
        merge.main,
        "one.1-of-2.trec one.2-of-2.trec --output out.trec",
        ["one.1-of-2.trec", "one.1-of-2.trec.json"],
    ),
    "train": (train.main, "--config config.yaml --sets set.jsonl --base absent --output out", ["config.yaml"]),
    "reproduce": (reproduce.main, "table.yaml --dry-run --output out", ["table.yaml"]),
}
ODD = [
    "",
    "\0",
    "\n",
    "\r",
    "\t",
    " ",
    "\ufeff",
    "\u2028",
    "\ud55c",
    '"',
    "\\",
    "\\ud800",
    "\x1f\x8b",
    "../..",
    "[]",
    "{}",
]
ODD += ["nan", "-1", "1e999", "9" * 20, "null", "true", "- -", "/etc/passwd", "!!python/object:os.system", "&a [*a]"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Odd inputs to the server and to the verbs.")
    parser.add_argument("--inputs", type=positive, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=20.0, metavar="S", help="an answer may take")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"  # a name may look like a hub id
    tally = Tally(flags.longest)
    bodies = flags.inputs * 4 // 10
    with tempfile.TemporaryDirectory() as folder:
        fuzz_server(tally, Path(folder), bodies, flags.seed)
        os.chdir(folder)
        fuzz_verbs(tally, flags.inputs - bodies, flags.seed)
    rows = [
        [name, sum(found.values()), tally.told(name), f"{tally.slowest[name]:.2f}"]
        for name, found in tally.found.items()
    ]
    print(tabulate(rows, ["", "inputs", "answers", "slowest s"], disable_numparse=True))
    inputs = sum(sum(found.values()) for found in tally.found.values())
    print(f"{inputs:,} inputs, {len(tally.faults)} faults, seed {flags.seed}")
    conclude(flags.output, machine(2), found=dict(tally.found), slowest=dict(tally.slowest), faults=tally.faults)
    sys.exit("\n".join(tally.faults[:20]) if tally.faults else 0)


class Tally:
    """What was answered, how fast, and what should not have been."""

    def __init__(self, longest: float) -> None:
        self.longest = longest
        self.found: dict[str, Counter[str]] = defaultdict(Counter)
        self.slowest: dict[str, float] = defaultdict(float)
        self.faults: list[str] = []

    def note(self, name: str, answer: object, seconds: float, fault: str) -> None:
        self.found[name][str(answer)] += 1
        self.slowest[name] = max(self.slowest[name], seconds)
        if seconds > self.longest:
            fault = fault or f"took {seconds:.0f} s"
        if fault:
            self.faults.append(f"{name}: {fault}")

    def told(self, name: str) -> str:
        return ", ".join(f"{number:,} x {answer}" for answer, number in sorted(self.found[name].items()))


def drive(strategy: st.SearchStrategy[Any], check: Callable[[Any], None], inputs: int, number: int) -> None:
    """Have hypothesis make so many; none is tried again or made smaller."""

    @seed(number)
    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(value: Any) -> None:
        check(value)

    each()


# -- the server -------------------------------------------------------------------------------------------------------


def fuzz_server(tally: Tally, folder: Path, inputs: int, number: int) -> None:
    json_bodies = (asks | requests | near).map(lambda body: json.dumps(body).encode())
    bodies = st.tuples(
        st.sampled_from(["/v1/rerank", "/v2/rerank", "/v1/search"]),
        json_bodies | edited(json.dumps(REQUEST)) | st.binary(max_size=300),
        st.sampled_from(["application/json", "text/plain", "", "application/json; charset=utf-16"]),
    )
    with serving(folder, "--reranker", "bm25") as server:

        def ask(value: tuple[str, bytes, str]) -> None:
            path, body, kind = value
            started = time.perf_counter()
            try:
                status = server.client.post(path, content=body, headers={"content-type": kind}).status_code
            except httpx.HTTPError as error:
                status, fault = 0, f"{path} {body[:200]!r}: no answer ({type(error).__name__})"
            else:
                fault = f"{path} {body[:200]!r}: {status}" if status >= 500 else ""
            tally.note("server", status, time.perf_counter() - started, fault)

        drive(bodies, ask, inputs, number)
        if server.get("/health").status_code != 200:
            tally.faults.append("the server is not well afterwards")
        if "Traceback" in server.log.read_text():
            tally.faults.append("a traceback in the server's log")


# -- the verbs --------------------------------------------------------------------------------------------------------


def fuzz_verbs(tally: Tally, inputs: int, number: int) -> None:
    valid = valid_files()
    say(f"the verbs read {', '.join(valid)}")
    pairs = [(job, name) for job, (*_, names) in JOBS.items() for name in names]
    cases = st.sampled_from(pairs).flatmap(lambda pair: st.tuples(*map(st.just, pair), edited(valid[pair[1]])))

    def call(value: tuple[str, str, bytes]) -> None:
        job, name, content = value
        Path(name).write_bytes(content)
        started = time.perf_counter()
        code, said = asked(job)
        seconds = time.perf_counter() - started
        left = [path for path in Path().iterdir() if path.name.startswith(("out.", ".")) and path.suffix != ".json"]
        fault = f"{said} ({name}: {content[:300]!r})" if code not in CODES or "Traceback" in said else ""
        if code in (2, 3, 4) and left:
            fault = fault or f"exit {code} and {left} ({name}: {content[:300]!r})"
        tally.note(job, f"exit {code}", seconds, fault)
        for path in Path().glob("out*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        Path(name).write_text(valid[name])

    drive(cases, call, inputs, number)


def asked(job: str) -> tuple[object, str]:
    """(exit code, what was said), or (the exception's name, its words)."""
    verb, flags, _ = JOBS[job]
    err = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(err):
            return verb(flags.split()), err.getvalue()
    except SystemExit as stopped:
        return stopped.code, err.getvalue()
    except BaseException as error:
        return type(error).__name__, f"{type(error).__name__}: {error}"


def valid_files() -> dict[str, str]:
    """The files in the working folder, each fit for its job."""
    files = {"run.trec": RUN, "topics.tsv": TOPICS, "docs.jsonl": DOCS, "qrels.txt": QRELS, "config.yaml": CONFIG}
    files["requests.jsonl"] = json.dumps(REQUEST) + "\n"
    files["table.yaml"] = (SERVING.parents[1] / "prebuilt" / "tables" / "sample.yaml").read_text()
    for name, content in files.items():
        Path(name).write_text(content)
    shown = tuple(Candidate(docid, f"text {docid}", 0.0) for docid in "abcd")
    label = LabelledRanking(Query("1", "tea"), shown, ("b", "a"), ("c",), ("d",), provenance={"teacher": "llm"})
    write_set("set.jsonl", [label])
    flags = f"--run run.trec {PLACES} --reranker bm25 --output"
    for output in ("made.trec", "one.1-of-2.trec --shard 1/2", "one.2-of-2.trec --shard 2/2"):
        assert rerank.main([*flags.split(), *output.split()]) == 0
    made = ("set.jsonl", "made.trec", "made.trec.json", "one.1-of-2.trec", "one.1-of-2.trec.json")
    return files | {name: Path(name).read_text() for name in made}


@st.composite
def edited(draw: st.DrawFn, text: str) -> bytes:
    """The text with one to four edits: parts gone, repeated, changed, put elsewhere; or cut short."""
    content = text.encode()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + draw(st.sampled_from([1, 4, 40, 4000])))))
        odd = st.sampled_from(ODD).map(lambda one: one.encode("utf-8", "surrogatepass"))
        put = draw(st.just(b"") | odd | st.binary(max_size=8) | st.just(content[start:end] * 2))
        content = content[:start] + put + content[end:]
    return content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 9)) == 0 else content


if __name__ == "__main__":
    main()
