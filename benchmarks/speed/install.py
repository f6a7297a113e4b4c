"""How much an installation brings: packages and gigabytes of the base and of each extra.

    python -m benchmarks speed install [--project FOLDER] [--extras NAME …] [--output FILE.json]

pip's resolver names the packages (`pip install --dry-run --ignore-installed --report`, with constraints.txt). Their
size is that of their files as they lie in this environment, compiled Python included; what is not installed here is
named.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path

from benchmarks.common import conclude, machine, show
from rrarank.cli.verbs import say

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description="Packages and gigabytes of the base and of each extra.")
    parser.add_argument("--project", type=Path, default=ROOT, metavar="FOLDER", help="a checkout (default: this one)")
    parser.add_argument("--extras", nargs="*", metavar="NAME", help="only these, and the base (default: all)")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    extras = extras_of(flags.project) if flags.extras is None else flags.extras
    sizes = installed_sizes()
    base = closure(flags.project)
    rows = [_row("base", base, base, sizes)]
    for extra in extras:
        rows.append(_row(extra, closure(flags.project, extra), base, sizes))
    show(rows, {"packages": ",.0f", "more packages": ",.0f"}, default=",.2f")
    conclude(flags.output, machine(1, ("pip", "torch")), rows=rows)


def extras_of(project: Path) -> list[str]:
    """Every extra but those for developers."""
    settings = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    return [extra for extra in settings["optional-dependencies"] if extra not in ("docs", "dev")]


def closure(project: Path, extra: str = "") -> set[str]:
    """The names of the packages that pip would install, rrarank's own not counted."""
    say(f"resolving {extra or 'the base'}")
    what = f"{project}[{extra}]" if extra else str(project)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = ["install", "--quiet", "--dry-run", "--ignore-installed", "--report", str(report)]
        constraints = ["-c", str(project / "constraints.txt")]
        subprocess.run([sys.executable, "-m", "pip", *command, *constraints, what], check=True)
        found = json.loads(report.read_text())["install"]
    return {_normal(one["metadata"]["name"]) for one in found} - {"rrarank"}


def installed_sizes() -> dict[str, int]:
    """Package -> bytes of its files in this environment."""
    return {_normal(one.metadata["Name"]): _size(one) for one in metadata.distributions()}


def _size(package: metadata.Distribution) -> int:
    total = 0
    for file in package.files or ():
        path = str(file.locate())
        total += os.path.getsize(path) if os.path.isfile(path) else 0
    return total


def _row(name: str, packages: set[str], base: set[str], sizes: dict[str, int]) -> dict[str, object]:
    absent = sorted(packages - sizes.keys())
    more = packages - base
    return {
        "install": name,
        "packages": len(packages),
        "GB": _gigabytes(packages, sizes),
        "more packages": len(more),
        "more GB": _gigabytes(more, sizes),
        **({"size unknown": ", ".join(absent)} if absent else {}),
    }


def _gigabytes(packages: set[str], sizes: dict[str, int]) -> float:
    return sum(sizes.get(name, 0) for name in packages) / 1e9


def _normal(name: str) -> str:
    """As PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
