"""How much an installation brings: packages and gigabytes of the base and of each extra.

    python -m benchmarks speed install [--project FOLDER] [--output FILE.json]

The requirements are those of the project's pyproject.toml, followed through the packages of this environment, into
which `make` installed `all`. A package's size is that of its files, compiled Python included. pip finds the same:
`pip install --dry-run --ignore-installed --report - -c constraints.txt .`
"""

from __future__ import annotations

import argparse
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks.common import conclude, machine, show

ROOT = Path(__file__).resolve().parents[2]
FOR_DEVELOPERS = ("docs", "dev")

Extras = Mapping[str, list[Requirement]]  # "" is the base


def main() -> None:
    parser = argparse.ArgumentParser(description="Packages and gigabytes of the base and of each extra.")
    parser.add_argument("--project", type=Path, default=ROOT, metavar="FOLDER", help="a checkout (default: this one)")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    extras = requirements(flags.project)
    base = closure(extras, "")
    rows = []
    for extra in [extra for extra in extras if extra not in FOR_DEVELOPERS]:
        try:
            rows.append(_row(extra, closure(extras, extra), base))
        except metadata.PackageNotFoundError as error:
            print(f"left out: {extra}, as {error.name} is not installed")
    show(rows, {"packages": ",.0f", "more packages": ",.0f"})
    conclude(flags.output, machine(1, ("torch",)), rows=rows)


def requirements(project: Path) -> Extras:
    settings = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    lines = {"": settings["dependencies"], **settings["optional-dependencies"]}
    return {extra: [Requirement(line) for line in needed] for extra, needed in lines.items()}


def closure(extras: Extras, extra: str) -> set[str]:
    """The packages that the base and an extra need, and those that they need in turn."""
    left = [*extras[""], *extras[extra]]
    seen: set[tuple[str, str]] = set()
    while left:
        requirement = left.pop()
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        name = _normal(requirement.name)
        for part in {"", *requirement.extras}:
            if (name, part) not in seen:
                seen.add((name, part))
                left += extras[part] if name == "rrarank" else _needs(name, part)
    return {name for name, _ in seen} - {"rrarank"}


def _needs(name: str, extra: str) -> Iterator[Requirement]:
    """What an installed package needs for an extra of its own; an empty extra stands for its base."""
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            requirement.marker = None
            yield requirement


@cache
def size(name: str) -> int:
    """Bytes of a package's files in this environment."""
    paths = (str(file.locate()) for file in metadata.distribution(name).files or ())
    return sum(os.path.getsize(path) for path in paths if os.path.isfile(path))


def _row(extra: str, packages: set[str], base: set[str]) -> dict[str, object]:
    more = packages - base
    return {
        "install": extra or "base",
        "packages": len(packages),
        "GB": sum(map(size, packages)) / 1e9,
        "more packages": len(more),
        "more GB": sum(map(size, more)) / 1e9,
    }


def _normal(name: str) -> str:
    """As PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
