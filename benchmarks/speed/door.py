"""The README's five lines beside the same in other libraries: lines, seconds, memory and disk to a first answer.

    python -m benchmarks speed door [--rounds 5] [--threads 2] [--output FILE.json]

Each program runs in a process of its own, which imports, loads the model and ranks three passages. All have the
weights of the model that ships: as the folder, or as the int8 file that `rrarank.export` makes of it. FlashRank knows
only models of its own list; it is given that file under one of their names. Disk is the files of the library, of
everything that it requires, and of the model. `python -c pass` takes what starting Python takes. Exit
1 if the sides disagree on the order.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from types import MappingProxyType

from packaging.requirements import Requirement

from benchmarks.common import conclude, interleaved, machine, show
from benchmarks.speed.install import ROOT, closure, requirements, size
from rrarank.cli.parser import positive
from rrarank.errors import RrarankError
from rrarank.storage.model_folders import model_path

README = ROOT / "README.md"
PASSAGES = (
    'passages = ["Trains to Busan leave hourly.", "A paper bag keeps bread from going stale.", "Bread needs yeast."]\n'
)
QUERY = '"keep bread fresh longer"'
INT8 = 'model = rrarank.load_reranker(model="{fast}", backend="onnx", precision="int8")\n'
PROGRAMS: Mapping[str, str] = MappingProxyType({
    "rrarank": f"import rrarank\n\n{PASSAGES}print(rrarank.rank({QUERY}, passages))\n",
    "rrarank, exported in int8": f"import rrarank\n\n{PASSAGES}{INT8}print(model.rank({QUERY}, passages))\n",
    "sentence-transformers": "from sentence_transformers import CrossEncoder\n\n"
    f'{PASSAGES}model = CrossEncoder("{{folder}}")\nprint(model.rank({QUERY}, passages, return_documents=True))\n',
    "rerankers": "from rerankers import Reranker\n\n"
    f'{PASSAGES}model = Reranker("{{folder}}", model_type="cross-encoder", verbose=0)\n'
    f"print(model.rank({QUERY}, passages).results)\n",
    "FlashRank": "from flashrank import Ranker, RerankRequest\n\n"
    f'{PASSAGES}model = Ranker("{{name}}", cache_dir="{{cache}}")\n'
    'request = [{{"text": passage}} for passage in passages]\n'
    f"print(model.rerank(RerankRequest(query={QUERY}, passages=request)))\n",
})  # fmt: skip
NAME = "ms-marco-MiniLM-L-12-v2"  # one of FlashRank's list


def main() -> None:
    parser = argparse.ArgumentParser(description="Lines, seconds, memory and disk to a first answer.")
    parser.add_argument("--rounds", type=positive, default=5, help="interleaved; medians are shown")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        places = models(Path(folder))
        sides = {name: program.format(**places) for name, program in PROGRAMS.items() if has(name)}
        found = interleaved(
            ["python -c pass", *sides], flags.rounds, lambda name, _: run(sides.get(name, "pass"), flags.threads)
        )
        sizes = {name: disk(name, Path(places["fast" if name in IN_INT8 else "folder"])) for name in sides}
    rows = [row(name, found[name], sides.get(name, ""), sizes.get(name)) for name in found]
    rows += [{"side": f"{name}: not installed"} for name in PROGRAMS if name not in sides]
    show(rows, {"peak MB": ",.0f", "disk MB": ",.0f"})
    conclude(flags.output, machine(flags.threads) | {"rounds": flags.rounds}, rows=rows)
    orders = {name: order(found[name][0].said) for name in sides}
    odd = [name for name in orders if orders[name] != orders["rrarank"]]
    sys.exit(f"another order than rrarank's: {', '.join(odd)}" if odd else 0)


IN_INT8 = ("rrarank, exported in int8", "FlashRank")


def models(folder: Path) -> dict[str, str]:
    """The places of the model: its folder, the same with an int8 file beside it, and that in FlashRank's layout.

    The export has a process of its own: Linux hands a parent's peak memory on to its children.
    """
    fast = folder / "fast"
    flags = ["--model", str(model_path()), "--backend", "onnx", "--precision", "int8", "--output", str(fast)]
    subprocess.run([sys.executable, "-m", "rrarank.export", *flags], check=True, stdout=subprocess.DEVNULL)
    layout = folder / "cache" / NAME
    layout.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(fast / name, layout / name)
    settings = json.loads((fast / "tokenizer_config.json").read_text())
    special = {name: value for name, value in settings.items() if name.endswith("_token") and isinstance(value, str)}
    (layout / "special_tokens_map.json").write_text(json.dumps(special))
    shutil.copy(fast / "onnx" / "model_int8.onnx", layout / "flashrank-MiniLM-L-12-v2_Q.onnx")
    return {"folder": str(model_path()), "fast": str(fast), "cache": str(layout.parent), "name": NAME}


def has(side: str) -> bool:
    try:
        return bool(metadata.version(library(side)))
    except metadata.PackageNotFoundError:
        return False


def library(side: str) -> str:
    return side.partition(",")[0]


NEEDS = {"rrarank, exported in int8": "rrarank[onnx]", "rerankers": "rerankers[transformers]"}
"""side -> what it installs, where that is more than the library."""


@dataclass(frozen=True)
class Measured:
    """A new process that ran a program: its seconds, those of the CPU, its peak memory, what it printed."""

    seconds: float
    cpu: float
    peak_mb: float
    said: str


def run(program: str, threads: int) -> Measured:
    settings = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | settings
    )
    assert process.stdout
    said = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise RrarankError(f"a program ended with {os.waitstatus_to_exitcode(status)}:\n{program}")
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, said)


def row(name: str, found: Sequence[Measured], program: str, size: float | None) -> dict[str, object]:
    lines = sum(bool(line.strip()) for line in program.splitlines()) or None
    seconds = {"s": median(one.seconds for one in found), "CPU s": median(one.cpu for one in found)}
    return {"side": name, "lines": lines, **seconds, "peak MB": median(one.peak_mb for one in found), "disk MB": size}


def order(said: str) -> list[str]:
    """The first words of the passages, in the order printed."""
    return re.findall("Trains to|A paper|Bread needs", said)


def disk(side: str, model: Path) -> float:
    """MB of the library, of all that it requires, and of what it reads of the model."""
    read = [model / "onnx" / "model_int8.onnx", model / "tokenizer.json"] if side in IN_INT8 else model.iterdir()
    wanted = Requirement(NEEDS.get(side, side))
    ours = wanted.name == "rrarank"
    packages = closure(requirements(ROOT), *wanted.extras or [""]) if ours else closure({"": [wanted]}, "")
    library = own_bytes() if ours else 0
    return (sum(map(size, packages)) + library + sum(file.stat().st_size for file in read)) / 1e6


def own_bytes() -> int:
    """Of rrarank itself without its model: here it is perhaps a link to the checkout."""
    files = (file for room in ("rrarank", "runs", "qrels") for file in (ROOT / room).rglob("*") if file.is_file())
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    main()
