"""Questions answered per second, beside the ideal: a server with a fixed delay in a process of its own.

python -m benchmarks serving llm_rate [--questions 640] [--in-flight 32] [--delay 0.5]

The ideal is in_flight / delay; what is lost is the client's and the server's own work.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rrarank.llm.base import Answer, LLMConfig
from rrarank.llm.load import load_llm

SERVER = Path(__file__).resolve().parents[2] / "tests" / "openai_server.py"
WORDS = "a passage of some length about tea, and how it is made in many lands of this earth. " * 6


def main() -> None:
    parser = argparse.ArgumentParser(description="Questions per second at an endpoint with a fixed delay.")
    parser.add_argument("--questions", type=int, default=640)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument(
        "--delay", type=float, default=0.5, metavar="S", help="seconds the server takes for each answer"
    )
    flags = parser.parse_args()
    with server(flags.delay) as url:
        llm = load_llm(LLMConfig("any", base_url=url, in_flight=flags.in_flight))
        answered(llm.answers(questions(1)))  # imports, first connection
        started = time.perf_counter()
        count = answered(llm.answers(questions(flags.questions)))
        seconds = time.perf_counter() - started
    rate, ideal = count / seconds, flags.in_flight / flags.delay
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{count} answers in {seconds:.2f} s: {rate:.1f} a second, {rate / ideal:.1%} of {ideal:g} ({machine})")


@contextmanager
def server(delay: float) -> Iterator[str]:
    process = subprocess.Popen([sys.executable, SERVER, "--delay", str(delay)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def questions(count: int) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """List-wise prompts of twenty passages, about 10 kB each."""
    passages = "\n".join(f"[{place}] {WORDS}" for place in range(1, 21))
    for number in range(count):
        yield str(number), [{"role": "user", "content": f"Rank by query {number}.\n{passages}"}]


def answered(outcomes: Iterator[tuple[str, object]]) -> int:
    return sum(isinstance(outcome, Answer) for _, outcome in outcomes)


if __name__ == "__main__":
    main()
