"""The parts of a run joined into the run that one job would have made. `python -m rrarank.merge bm25.*-of-4.trec`"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrarank.cli.answers import described, none_ranked, not_ranked
from rrarank.cli.parser import Parser
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.engine.shards import Shard
from rrarank.errors import RrarankError, say, shown
from rrarank.llm.listwise import NO_ORDER
from rrarank.storage.files import atomic_write, is_file, read_lines
from rrarank.storage.journal import output_lock
from rrarank.storage.sidecar import Sidecar, check_output, read_sidecar, write_sidecar

ALIKE = ("inputs", "config", "model", "backend", "precision")  # must be equal in all parts
NOTED = ("threads", "versions")  # rarely change a bit: a difference is only a note


def main(arguments: Arguments = None) -> int:
    return run_verb(_merge, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("merge", "Join the parts that `rrarank.rerank --shard` made: all parts of one job, in any order.")
    parser.add_argument("shards", nargs="+", metavar="RUN", help="the parts, each with its sidecar beside it")
    parser.add_argument("--output", metavar="RUN", help="the run to write; - for stdout (default: as one job's)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    return parser


def _merge(flags: argparse.Namespace) -> None:
    for path in merge_parts(flags.shards, flags.output or "", overwrite=flags.overwrite):
        print(path)


def merge_parts(parts: Sequence[str | Path], output: str | Path = "", *, overwrite: bool = False) -> list[str]:
    """Join the parts of one job, in any order, and return the paths of the files written: none for stdout.

    Args:
        output: the run to write; `-` is stdout; by default named as the one job would have named it.
        overwrite: replace an existing output.

    Raises:
        RrarankError: parts are absent, given twice, or made by different commands, or the output exists.
        MissingResource: an LLM ranked no query of the parts.
        PartialSuccess: it did not rank some of them; the whole is written.
    """
    found = sorted((_read(Path(part)) for part in parts), key=lambda part: part.shard.number)
    _check_complete(found)
    _check_alike(found)
    target = str(output) or _whole_name(found[0])
    inputs = _inputs(found[0])
    used = [*inputs.values(), *(part.path for part in found)]
    check_output(target, overwrite, used)
    answers, unranked = _answers(found)
    if answers and answers.keys() <= NO_ORDER:
        raise none_ranked(found[0].sidecar.content["model"]["name"], len(unranked), answers)
    keeps = is_file(target)
    with output_lock(target) if keeps else nullcontext():
        check_output(target, overwrite, used)  # again: another job may have written it meanwhile
        with atomic_write(target) as file:
            for part in found:
                file.writelines(read_lines(part.path))
        if keeps:
            _describe(Path(target), inputs, found)
    say(f"{len(found)} parts joined")
    written = [target] if keeps else []
    if answers:
        say(f"{answers.total():,} answers ({described(answers)})")
    if failure := not_ranked(unranked, written):
        raise failure
    return written


@dataclass(frozen=True)
class _Part:
    path: Path
    shard: Shard
    sidecar: Sidecar

    def fact(self, name: str) -> Any:
        """A fact of its sidecar, without what differs between the parts of one job."""
        value: Any = self.sidecar.content.get(name)
        if name == "inputs":
            return {key: entry.get("sha256") or entry["id"] for key, entry in value.items()}
        return {key: one for key, one in value.items() if key != "shard"} if name == "config" else value


def _read(path: Path) -> _Part:
    if not path.is_file():
        raise RrarankError(f"{path}: no such file")
    sidecar = read_sidecar(path)
    if sidecar is None:
        raise RrarankError(f"{path}: no sidecar {path}.json beside it, which says which part it is; did its job end?")
    shard = sidecar.content.get("config", {}).get("shard")
    if not isinstance(shard, str):
        raise RrarankError(f"{path}: is not a part: it was not made by rrarank.rerank --shard")
    return _Part(path, Shard.parse(shard), sidecar)


def _check_complete(parts: Sequence[_Part]) -> None:
    of = parts[0].shard.of
    if odd := next((part for part in parts if part.shard.of != of), None):
        raise RrarankError(f"{odd.path} is part {odd.shard}, {parts[0].path} {parts[0].shard}; give parts of one job")
    held = Counter(part.shard.number for part in parts)
    if twice := [number for number, times in held.items() if times > 1]:
        paths = [str(part.path) for part in parts if part.shard.number == twice[0]]
        raise RrarankError(f"part {twice[0]}/{of} is given {len(paths)} times ({shown(paths)}); give it once")
    if absent := [f"{number}/{of}" for number in range(1, of + 1) if number not in held]:
        raise RrarankError(f"{len(absent)} of {of} parts are absent ({shown(absent)}); give them too")


def _check_alike(parts: Sequence[_Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        for name in ALIKE:
            if differ := list(_differences(first.fact(name), part.fact(name))):
                where = f"{part.sidecar.path} and {first.sidecar.path} differ in {name}"
                raise RrarankError(f"{where} ({shown(differ)}); make all parts by one command")
        for name in NOTED:
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


def _answers(parts: Sequence[_Part]) -> tuple[Counter[str], list[str]]:
    """(verdict -> number of an LLM's answers, queries that it did not rank), of all parts."""
    facts = [part.sidecar.content for part in parts]
    answers = sum((Counter(one.get("answers", {})) for one in facts), Counter[str]())
    return answers, [qid for one in facts for qid in one.get("unranked", ())]


def _describe(output: Path, inputs: Mapping[str, str | Path], parts: Sequence[_Part]) -> None:
    """Write the sidecar of one job, with the times and counts of all parts added up."""
    known = parts[0].sidecar.content
    facts = {name: known[name] for name in ("model", "backend", "precision", "threads") if name in known}
    answers, unranked = _answers(parts)
    if answers:
        tokens = sum((Counter(part.sidecar.content.get("tokens", {})) for part in parts), Counter[str]())
        facts |= {"answers": dict(answers), "unranked": unranked, "tokens": dict(tokens)}
    if cut := sum(part.sidecar.content.get("cut", 0) for part in parts):
        facts["cut"] = cut
    if all("without_text" in part.sidecar.content for part in parts):
        facts["without_text"] = sum(part.sidecar.content["without_text"] for part in parts)
    seconds = sum(part.sidecar.content["timings"]["rerank_s"] for part in parts)
    timings = {"rerank_s": round(seconds, 3), "parts": len(parts)}
    write_sidecar(output, inputs=inputs, config=parts[0].fact("config"), **facts, timings=timings)


if __name__ == "__main__":
    sys.exit(main())
