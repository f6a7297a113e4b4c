"""From the start of the server's process to its first answer: seconds and memory, with torch and without.

    python -m benchmarks serving start --export FOLDER [--rounds 3] [--output FILE.json]

FOLDER is what `python -m rrarank.export --backend onnx --precision int8` wrote. Rounds are interleaved; medians are
shown.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from statistics import median

from benchmarks.common import conclude, interleaved, machine, show
from benchmarks.serving.servers import cross_encoder, ours, started
from rrarank.cli.parser import positive


def main() -> None:
    parser = argparse.ArgumentParser(description="From the start of the server's process to its first answer.")
    parser.add_argument("--export", type=Path, required=True, metavar="FOLDER", help="an int8 export for ONNX Runtime")
    parser.add_argument("--rounds", type=positive, default=3, help="interleaved; medians are shown")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    export = ("--model", str(flags.export.resolve()), "--backend", "onnx", "--precision", "int8")
    commands = {
        "rrarank, torch": ours(flags.threads),
        "rrarank, int8 export": ours(flags.threads, *export),
        "rrarank, int8 export, 2 workers": ours(flags.threads, *export, "--workers", "2"),
        "CrossEncoder behind FastAPI": cross_encoder(flags.threads),
    }
    found = interleaved(commands, flags.rounds, lambda name, _: first_answer(commands[name], flags.threads))
    rows = [
        {"server": name, **{key: median(one[key] for one in values) for key in values[0]}}
        for name, values in found.items()
    ]
    show(rows, {"MiB": ",.0f"})
    conclude(flags.output, machine(flags.threads) | {"rounds": flags.rounds}, rows=rows)
    if any(one["torch loaded"] for one in rows if "export" in str(one["server"])):
        sys.exit(f"{flags.export}: torch was loaded, since another version made this export; export the model again")


def first_answer(command: list[str], threads: int) -> dict[str, float]:
    with started(command, threads) as server:
        return {"seconds": server.seconds, "MiB": server.memory, "torch loaded": server.has_torch}


if __name__ == "__main__":
    main()
