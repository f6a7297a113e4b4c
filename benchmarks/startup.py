"""Seconds to `--help` of each verb, beside a bare Python and a bare `import torch, transformers`: medians of 5.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    **{f"rrarank.{verb} --help": ["-m", f"rrarank.{verb}", "--help"] for verb in ("retrieve", "rerank", "evaluate")},
    "import torch, transformers": ["-c", "import torch, transformers"],
}


def seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(5):
        for name, arguments in COMMANDS.items():  # interleaved, so that a slow moment hits all alike
            times[name].append(seconds(arguments))
    for name, values in times.items():
        print(f"{statistics.median(values):7.2f} s  {name}")
