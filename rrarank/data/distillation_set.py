"""The distillation set: one JSON line per query with its teacher's ranking; faulty lines are refused."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, combinations, count, product
from pathlib import Path
from typing import Any, TypeVar

import jsonlines

from rrarank.data.documents import json_object
from rrarank.data.trec import fits_run
from rrarank.data.types import Candidate, LabelledRanking, Query, is_blank
from rrarank.errors import RrarankError, shown
from rrarank.storage.files import atomic_write, read_lines

T = TypeVar("T", str, list[Any], dict[str, Any])


# -- files ------------------------------------------------------------------------------------------------------------


def read_set(path: str | Path) -> list[LabelledRanking]:
    """Every label of a set, plain or `.gz`, in the order of the file.

    Raises:
        RrarankError: the first fault of the set, with its line.
    """
    labels = []
    for found in _read(path):
        if isinstance(found, str):
            raise RrarankError(found)
        labels.append(found)
    return labels


def find_faults(path: str | Path) -> Iterator[str]:
    """Each fault of a set as `path:line: what is wrong`; none if `read_set` accepts the set."""
    return (found for found in _read(path) if isinstance(found, str))


def write_set(path: str | Path, labels: Iterable[LabelledRanking]) -> None:
    """Write a set whole or not at all; equal labels give equal bytes.

    Args:
        labels: may be an iterator that yields them as they become ready.

    Raises:
        RrarankError: a label has a fault.
    """
    write_rows(path, (_row(label) for label in _faultless(labels, path)))


def write_rows(path: str | Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write JSON objects, one per line, whole or not at all; gzipped for `.gz`; `-` is stdout."""
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode  # writes floats in their shortest form
    with atomic_write(path) as file, _packed(file, path) as stream:
        try:
            jsonlines.Writer(stream, dumps=encode).write_all(rows)
        except UnicodeEncodeError as error:
            raise RrarankError(f"{path}: half of a surrogate pair, which no text can hold; remove it") from error


@contextmanager
def _packed(file: Any, path: str | Path) -> Iterator[Any]:  # a text or binary stream; jsonlines writes to either
    if not str(path).endswith(".gz"):
        yield file
        return
    with gzip.GzipFile("", "wb", fileobj=file.buffer, mtime=0) as packed:  # no name or time: equal bytes
        yield packed


def _faultless(labels: Iterable[LabelledRanking], path: str | Path) -> Iterator[LabelledRanking]:
    seen: set[str] = set()
    for label in labels:
        for fault in _faults(label, seen):
            raise RrarankError(f"{path}: {fault}")
        yield label


def _read(path: str | Path) -> Iterator[LabelledRanking | str]:
    """The label of each line, or its faults."""
    numbers = count(1)
    seen: set[str] = set()

    def load(line: str | bytes) -> Sequence[LabelledRanking | str]:
        where = f"{path}:{next(numbers)}"
        try:
            return _label_or_faults(str(line), where, seen) if line.strip() else []
        except RrarankError as error:
            return [str(error)]

    found: LabelledRanking | str = ""
    for found in chain.from_iterable(jsonlines.Reader(read_lines(path), loads=load)):
        yield found
    if not found:
        yield f"{path}: no labels; expected lines of {{{', '.join(_FIELDS)}}}"


def _label_or_faults(line: str, where: str, seen: set[str]) -> Sequence[LabelledRanking | str]:
    label = _label(json_object(line, where), where)
    return [f"{where}: {fault}" for fault in _faults(label, seen)] or [label]


# -- one line ---------------------------------------------------------------------------------------------------------

_NEEDED = ("qid", "query", "shown")
_FIELDS = (*_NEEDED, "listed", "missing", "unknown", "not_shown", "faults", "answer", "reasons", "provenance")
_CANDIDATE = ("docid", "score", "text")
_KINDS = {str: "a string", list: "a list", dict: "an object"}


def _row(label: LabelledRanking) -> dict[str, object]:
    return {
        "qid": label.query.qid,
        "query": label.query.text,
        "shown": [{"docid": c.docid, "score": float(c.score), "text": c.text} for c in label.shown],
        "listed": label.listed,
        "missing": label.missing,
        "unknown": label.unknown,
        "not_shown": label.not_shown,
        "faults": label.faults,
        "answer": label.answer,
        "reasons": {c.docid: label.reasons[c.docid] for c in label.shown if c.docid in label.reasons},
        "provenance": dict(label.provenance),
    }


def _label(row: Mapping[str, Any], where: str) -> LabelledRanking:
    _check_other(row, _FIELDS, where)
    return LabelledRanking(
        Query(_get(row, "qid", str, where), _get(row, "query", str, where)),
        tuple(_candidate(candidate, where) for candidate in _get(row, "shown", list, where)),
        listed=_strings(row, "listed", where),
        missing=_strings(row, "missing", where),
        unknown=_strings(row, "unknown", where),
        not_shown=_strings(row, "not_shown", where),
        faults=_strings(row, "faults", where),
        answer=_get(row, "answer", str, where),
        reasons=_get(row, "reasons", dict, where),
        provenance=_get(row, "provenance", dict, where),
    )


def _candidate(row: object, where: str) -> Candidate:
    if not isinstance(row, dict):
        raise RrarankError(f"{where}: field 'shown' holds {shown([row])}, expected {{{', '.join(_CANDIDATE)}}}")
    _check_other(row, _CANDIDATE, where)
    score = row.get("score")
    if not isinstance(score, int | float) or isinstance(score, bool):
        raise RrarankError(f"{where}: field 'score' is {score!r}, expected a number")
    try:
        return Candidate(_get(row, "docid", str, where), _get(row, "text", str, where), float(score))
    except OverflowError:
        raise RrarankError(f"{where}: field 'score' is beyond any float; expected a finite number") from None


def _check_other(row: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    if others := row.keys() - set(known):  # they would be lost when the set is written again
        raise RrarankError(f"{where}: unknown field {shown(sorted(others))}; expected {', '.join(known)}")


def _get(row: Mapping[str, Any], name: str, kind: type[T], where: str) -> T:
    needed = name in _NEEDED or name in _CANDIDATE
    value = row.get(name, None if needed else kind())
    if not isinstance(value, kind):
        seen = f"{value!r:.40}" if name in row else "absent"
        raise RrarankError(f"{where}: field {name!r} is {seen}, expected {_KINDS[kind]}")
    return value


def _strings(row: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    values = _get(row, name, list, where)
    if others := [value for value in values if not isinstance(value, str)]:
        raise RrarankError(f"{where}: field {name!r} holds {shown(others)}, expected strings")
    return tuple(values)


def _faults(label: LabelledRanking, seen: set[str]) -> Iterator[str]:
    """What makes a label meaningless or ambiguous; `seen` collects the qids."""
    qid = label.query.qid
    if qid in seen:
        yield f"query {qid!r} occurs twice; keep one line"
    seen.add(qid)
    if is_blank(label.query.text):
        yield f"query {qid!r}: its text is empty"
    if not label.shown:
        yield f"query {qid!r}: no document is shown; leave the query out"
    if not _is_json(dict(label.provenance)):
        yield f"query {qid!r}: its provenance holds a value that JSON cannot (NaN, infinity, a Python object)"
    for fault, docids in _faulty(label):
        if found := list(docids):
            yield f"query {qid!r}: {shown(found)}: {fault}"


def _faulty(label: LabelledRanking) -> Iterator[tuple[str, Iterable[str]]]:
    """Each rule with the docids that break it."""
    places = Counter(candidate.docid for candidate in label.shown)
    stands = Counter([*label.listed, *label.missing, *label.unknown])
    ids = (label.query.qid, *places, *label.not_shown)
    yield "an id that a run cannot hold: empty, or with a space", (i for i in ids if not fits_run(i))
    yield "shown twice; keep one", (i for i in places if places[i] > 1)
    yield "more than once among listed, missing and unknown; keep one", (i for i in stands if stands[i] > 1)
    yield "listed, missing or unknown, but not shown", (i for i in stands if i not in places)
    yield (
        "shown, but not listed, missing or unknown; make it unknown if nothing is known of it",
        (i for i in places if i not in stands),
    )
    yield "both shown and not shown", (i for i in label.not_shown if i in places)
    yield "without text", (c.docid for c in label.shown if is_blank(c.text))
    yield "a score that is not finite", (c.docid for c in label.shown if not math.isfinite(c.score))
    yield "a reason, but not shown", (i for i in label.reasons if i not in places)
    yield "a reason that is no string", (i for i, reason in label.reasons.items() if not isinstance(reason, str))


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


# -- what training learns from ----------------------------------------------------------------------------------------


def pairs(label: LabelledRanking) -> Iterator[tuple[str, str]]:
    """(better docid, worse docid): each listed docid above those listed after it and above every missing one.

    Missing docids are tied with one another, and nothing is known of unknown ones: neither kind gives other pairs.
    """
    yield from combinations(label.listed, 2)
    yield from product(label.listed, label.missing)


def levels(label: LabelledRanking) -> dict[str, int]:
    """docid -> level: n for the best of n listed docids, 1 for the last, 0 for missing ones; unknown ones are absent.

    One docid's level is higher than another's exactly if `pairs` has that pair.
    """
    listed = {docid: len(label.listed) - place for place, docid in enumerate(label.listed)}
    return listed | dict.fromkeys(label.missing, 0)


def teacher_name(label: LabelledRanking) -> str:
    """The kind of teacher, with its model or runs: tells `evaluate` that a model is measured by its own teacher's
    judgments."""
    kind, runs = str(label.provenance.get("teacher", "")), label.provenance.get("runs")
    who = ", ".join(map(str, runs)) if isinstance(runs, list | tuple) else str(label.provenance.get("model", ""))
    return f"{kind}: {who}" if who else kind


def split(
    labels: Iterable[LabelledRanking], share: float, seed: int
) -> tuple[list[LabelledRanking], list[LabelledRanking]]:
    """Split off about a `share` of the queries: (the rest, those split off).

    The part of a query depends only on its qid and the seed, so it stays the same when queries are added.
    """
    rest: list[LabelledRanking] = []
    held_out: list[LabelledRanking] = []
    for label in labels:
        digest = hashlib.sha256(f"{seed}\t{label.query.qid}".encode()).digest()
        (held_out if int.from_bytes(digest[:8]) < share * 2**64 else rest).append(label)
    return rest, held_out


def collapse_equal_texts(candidates: Iterable[Candidate]) -> tuple[list[Candidate], dict[str, str]]:
    """Drop candidates whose text equals that of a better-ranked one, ignoring white space.

    Use it before asking a teacher: any order of equal texts is noise.

    Args:
        candidates: best first.

    Returns:
        the candidates kept, and dropped docid -> the docid kept for it.
    """
    kept: dict[str, Candidate] = {}
    dropped = {}
    for candidate in candidates:
        first = kept.setdefault(one_line(candidate.text), candidate)
        if first is not candidate:
            dropped[candidate.docid] = first.docid
    return list(kept.values()), dropped


def one_line(text: str) -> str:
    """The text without line breaks, tabs and double spaces."""
    return " ".join(text.split())
