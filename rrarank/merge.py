"""The parts of a run joined into the run that one job would have made. `python -m rrarank.merge bm25.*-of-4.trec`"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrarank.cli.flags import Parser
from rrarank.cli.verbs import Arguments, run_verb, say
from rrarank.engine.shards import Shard
from rrarank.errors import RrarankError, shown
from rrarank.storage.files import atomic_write, is_file, read_lines
from rrarank.storage.sidecar import Sidecar, check_output, read_sidecar, write_sidecar

ALIKE = ("inputs", "config", "model", "backend", "precision")
TOLD = ("threads", "versions")  # rarely change a bit: said, not refused


def main(arguments: Arguments = None) -> int:
    return run_verb(_merge, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("merge", "Join what `rrarank.rerank --shard` made: all parts of one job, in any order.")
    parser.add_argument("shards", nargs="+", metavar="RUN", help="the parts, each with its sidecar beside it")
    parser.add_argument("--output", metavar="RUN", help="the run to write; - for stdout (default: as one job's)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    return parser


@dataclass(frozen=True)
class _Part:
    path: Path
    shard: Shard
    sidecar: Sidecar

    def fact(self, name: str) -> Any:
        """What its sidecar says, as it must be alike in all parts."""
        value: Any = self.sidecar.content.get(name)
        if name == "inputs":
            return {key: entry.get("sha256") or entry["id"] for key, entry in value.items()}
        return {key: one for key, one in value.items() if key != "shard"} if name == "config" else value


def _merge(flags: argparse.Namespace) -> None:
    parts = sorted(map(_read, flags.shards), key=lambda part: part.shard.number)
    _check_incomplete(parts)
    _check_unlike(parts)
    output = flags.output or _whole_name(parts[0])
    inputs = _inputs(parts[0])
    check_output(output, flags.overwrite, [*inputs.values(), *(part.path for part in parts)])
    with atomic_write(output) as file:
        for part in parts:
            file.writelines(read_lines(part.path))
    if is_file(output):
        _describe(Path(output), inputs, parts)
        print(output)
    say(f"{len(parts)} parts joined")


def _read(name: str) -> _Part:
    path = Path(name)
    if not path.is_file():
        raise RrarankError(f"{name}: no such file")
    sidecar = read_sidecar(path)
    if sidecar is None:
        raise RrarankError(f"{name}: no sidecar {name}.json beside it, which says what part it is; was its job ended?")
    shard = sidecar.content.get("config", {}).get("shard")
    if not isinstance(shard, str):
        raise RrarankError(f"{name}: is no part: it was not made by rrarank.rerank --shard")
    return _Part(path, Shard.parse(shard), sidecar)


def _check_incomplete(parts: Sequence[_Part]) -> None:
    of = parts[0].shard.of
    if odd := next((part for part in parts if part.shard.of != of), None):
        raise RrarankError(f"{odd.path} is part {odd.shard}, {parts[0].path} {parts[0].shard}; give parts of one job")
    held = Counter(part.shard.number for part in parts)
    if twice := [number for number, times in held.items() if times > 1]:
        paths = [str(part.path) for part in parts if part.shard.number == twice[0]]
        raise RrarankError(f"part {twice[0]}/{of} is given {len(paths)} times ({shown(paths)}); give it once")
    if absent := [f"{number}/{of}" for number in range(1, of + 1) if number not in held]:
        raise RrarankError(f"{len(absent)} of {of} parts are absent ({shown(absent)}); give them too")


def _check_unlike(parts: Sequence[_Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        for name in ALIKE:
            if differ := list(_differences(first.fact(name), part.fact(name))):
                where = f"{part.sidecar.path} and {first.sidecar.path} differ in {name}"
                raise RrarankError(f"{where} ({shown(differ)}); make all parts by one command")
        for name in TOLD:
            if differ := list(_differences(first.fact(name), part.fact(name))):
                say(f"note: {part.path} was made with other {name} ({shown(differ)}); last digits of scores may differ")


def _differences(one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        yield from (key for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key))
    elif one != other:
        yield f"{one} and {other}"


def _whole_name(part: _Part) -> str:
    """`bm25.rra-bert.2-of-4.trec` -> `bm25.rra-bert.trec`, here."""
    name = part.path.name.replace(part.shard.suffix, "", 1)
    if name == part.path.name:
        raise RrarankError(f"{part.path}: its name does not say how to call the whole; give --output FILE")
    return name


def _inputs(part: _Part) -> dict[str, str | Path]:
    found = {name: part.sidecar.input(name) for name in part.sidecar.content["inputs"]}
    if gone := [f"{name} {part.sidecar.recorded(name)}" for name, place in found.items() if place is None]:
        raise RrarankError(f"{part.sidecar.path} names {', '.join(gone)}, which is not there any more; put it back")
    return {name: place for name, place in found.items() if place is not None}


def _describe(output: Path, inputs: Mapping[str, str | Path], parts: Sequence[_Part]) -> None:
    """As the sidecar of one job, but for the times, which are summed."""
    known = parts[0].sidecar.content
    facts = {name: known[name] for name in ("model", "backend", "precision", "threads") if name in known}
    seconds = sum(part.sidecar.content["timings"]["rerank_s"] for part in parts)
    timings = {"rerank_s": round(seconds, 3), "parts": len(parts)}
    write_sidecar(output, inputs=inputs, config=parts[0].fact("config"), **facts, timings=timings)


if __name__ == "__main__":
    sys.exit(main())
