"""TREC files: runs and qrels, read, checked and written by trec_eval's rules.

trec_eval ignores the rank column, keeps scores as float32, sorts by falling score and breaks ties by falling docid
(`form_res_rels.c`). Every order in this package follows that rule, which only this file implements.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from operator import gt
from pathlib import Path
from typing import TYPE_CHECKING

from rrarank.data.types import Hit, PackedHits, QrelsRead, Run, make_hit
from rrarank.errors import RrarankError
from rrarank.storage.files import atomic_write, read_lines

if TYPE_CHECKING:
    import numpy as np

FLOAT32_MAX = 3.4028236e38  # above it, float32 is infinite
MAX_GRADE = 999_999  # trec_eval's C code counts the documents of each grade up to the highest
GRADE_EXPECTED = f"expected a whole number from -{MAX_GRADE:,} to {MAX_GRADE:,}"
_LAST_PLACE = 10**9 - 1
TAG = r"[A-Za-z0-9_.-]{1,20}"
_ASCII_SPACE = re.compile(r"[ \t\n\v\f\r]+")


# -- runs -------------------------------------------------------------------------------------------------------------


def read_run(path: str | Path) -> Run:
    """A run from a TREC or MS MARCO file: plain, `.gz`, or `-` for stdin.

    Raises:
        RrarankError: with the file and line, what was seen and what was expected.
    """
    return parse_run(read_lines(path), where=str(path))


def parse_run(lines: str | Iterable[str], where: str = "run") -> Run:
    """A run from its lines (or one string of them): six columns `qid Q0 docid rank score tag`, or MS MARCO's three,
    `qid docid rank`, which score 1/rank as in Pyserini's converter. Hits come best first by trec_eval's rule."""
    run = PackedHits()
    hits: dict[str, float] = {}  # of the current query
    scattered: dict[str, dict[str, float]] = {}  # of queries whose lines are not contiguous
    tag, current = "", ""
    width = 0
    for number, line in enumerate(_split_lines(lines), start=1):
        fields = columns(line)
        if not fields:
            continue
        width = width or (3 if len(fields) == 3 else 6)
        if len(fields) != width:
            raise RrarankError(f"{where}:{number}: {_wrong_width(fields, width)}")
        if width == 6:
            qid, _, docid, _, score, tag = fields
            value = parse_score(score, where, number)
        else:
            qid, docid, rank = fields
            value = 1 / _rank(rank, f"{where}:{number}")
        if qid != current:
            _keep(run, scattered, current, hits)
            hits, current = _hits_so_far(run, scattered, qid), qid
        if docid in hits:
            raise RrarankError(f"{where}:{number}: docid {docid!r} occurs twice under query {qid!r}; keep one line")
        hits[docid] = value
    if not hits:
        raise RrarankError(f"{where}: no hits; expected lines of 6 columns (qid Q0 docid rank score tag)")
    _keep(run, scattered, current, hits)
    for qid, found in scattered.items():
        _pack(run, qid, found)
    return Run(run, tag)


def _keep(run: PackedHits, scattered: Mapping[str, object], qid: str, hits: Mapping[str, float]) -> None:
    """Pack the hits of a query, unless its lines are known to be scattered."""
    if hits and qid not in scattered:
        _pack(run, qid, hits)


def _pack(run: PackedHits, qid: str, hits: Mapping[str, float]) -> None:
    run.add(qid, best_first(map(make_hit, hits.items())))


def _hits_so_far(run: PackedHits, scattered: dict[str, dict[str, float]], qid: str) -> dict[str, float]:
    """docid -> score; the hits of a query that comes again stay unpacked."""
    if qid in run and qid not in scattered:
        scattered[qid] = dict(run[qid])
    return scattered.get(qid, {})


def best_first(hits: Iterable[Hit]) -> list[Hit]:
    """Hits in trec_eval's order: by falling float32 score, equal scores by falling docid."""
    hits = list(hits)
    keys = array("f", [hit.score for hit in hits])  # rounds to float32
    if all(map(gt, keys, islice(keys, 1, None))):  # as in most files
        return hits
    by_docid = sorted(hits, key=lambda hit: hit.docid, reverse=True)
    keys = array("f", [hit.score for hit in by_docid])
    order = sorted(range(len(by_docid)), key=keys.__getitem__, reverse=True)
    return [by_docid[i] for i in order]


def kept_or_best_first(hits: list[Hit]) -> list[Hit]:
    """Keep the order, ties included, if no score rises: who lists hits has ranked them (rank_llm's results re-use the
    first stage's sorted scores). Else sort by trec_eval's rule."""
    return hits if all(a.score >= b.score for a, b in pairwise(hits)) else best_first(hits)


def strictly_falling(scores: Sequence[float]) -> np.ndarray:
    """Scores as float32, each below the one before it, as a written run needs.

    A falling score is only rounded; any other becomes the next float32 below its predecessor. So trec_eval, ranx and a
    float32 sort all read the intended order.

    Returns:
        (len(scores),) float32.
    """
    import numpy as np

    with np.errstate(over="ignore"):
        falling = np.array(scores, dtype=np.float32)
        _check_infinite(falling, scores)
        for i in np.flatnonzero(falling[1:] >= falling[:-1]) + 1:
            while i < len(falling) and falling[i] >= falling[i - 1]:  # a step down may reach the next score
                falling[i] = np.nextafter(falling[i - 1], np.float32(-np.inf))
                i += 1
    _check_infinite(falling, scores)  # no float32 is below the lowest one
    return falling


def _check_infinite(rounded: np.ndarray, scores: Sequence[float]) -> None:
    for score, kept in zip(scores, rounded.tolist(), strict=True):
        if not math.isfinite(kept):
            raise RrarankError(f"score {score} is not a finite float32; a run cannot hold it")


def write_run(path: str | Path, run: Run | Iterable[tuple[str, Sequence[Hit]]], tag: str = "") -> None:
    """Write a run whole or not at all: literal `Q0`, ranks from 1, strictly falling scores in their shortest form.

    Args:
        run: a Run, or an iterator of (qid, hits) pairs; hits in the intended order.
        tag: the run's tag; by default a Run's own.

    Raises:
        RrarankError: the tag is not 1-20 of A-Z a-z 0-9 _ . -, an id contains a space, or a score is not finite.
    """
    tag = check_tag(tag or (run.tag if isinstance(run, Run) else ""))
    with atomic_write(path) as file:
        for qid, hits in run.items() if isinstance(run, Run) else run:
            file.writelines(run_lines(qid, hits, tag))


def run_lines(qid: str, hits: Sequence[Hit], tag: str) -> Iterator[str]:
    """One query's lines, in the order given."""
    if len({hit.docid for hit in hits}) < len(hits):
        raise RrarankError(f"query {qid!r} holds a docid twice; a run cannot")
    for rank, (hit, score) in enumerate(zip(hits, written_scores(hits), strict=True), start=1):
        if not hit.docid or not qid or _ASCII_SPACE.search(hit.docid) or (rank == 1 and _ASCII_SPACE.search(qid)):
            raise RrarankError(f"query {qid!r}, docid {hit.docid!r}: ids in a TREC run cannot be empty or hold spaces")
        yield f"{qid} Q0 {hit.docid} {rank} {score} {tag}\n"


def written_scores(hits: Sequence[Hit]) -> list[str]:
    """The scores of one query as in a run: strictly falling float32, in shortest form."""
    return strictly_falling([hit.score for hit in hits]).astype(str).tolist()  # type: ignore[no-any-return]


def falling_docid(place: int) -> str:
    """A docid for each place from 0 to 999,999,999; by the tie rule, equal scores keep the order of places."""
    return f"{_LAST_PLACE - place:09}"


def place_of(docid: str) -> int:
    """The place from which `falling_docid` made it."""
    return _LAST_PLACE - int(docid)


def check_tag(tag: str) -> str:
    if not re.fullmatch(TAG, tag):
        raise RrarankError(f"tag (--runtag) {tag!r}: expected 1 to 20 of A-Z a-z 0-9 _ . - (TREC's rule)")
    return tag


# -- qrels -------------------------------------------------------------------------------------------------


def read_qrels(path: str | Path) -> QrelsRead:
    return parse_qrels(read_lines(path), where=str(path))


BEIR_QRELS = ("query-id", "corpus-id", "score")
"""The header of BEIR's judgments."""


def parse_qrels(lines: str | Iterable[str], where: str = "qrels") -> QrelsRead:
    """qid -> docid -> grade from lines of four columns `qid 0 docid grade`, or of BEIR's three below their header."""
    qrels = QrelsRead()
    expected: Sequence[str] = ("qid", "0", "docid", "grade")
    for number, line in enumerate(_split_lines(lines), start=1):
        fields = columns(line)
        if not qrels and tuple(fields) == BEIR_QRELS:
            expected = BEIR_QRELS
        elif fields:
            qid, docid, grade = _judgment(fields, expected, f"{where}:{number}")
            if docid in qrels.setdefault(qid, {}):
                raise RrarankError(
                    f"{where}:{number}: docid {docid!r} is judged twice for query {qid!r}; keep one line"
                )
            qrels[qid][docid] = grade
    if not qrels:
        raise RrarankError(f"{where}: no judgments; expected lines of 4 columns (qid 0 docid grade)")
    return qrels


def _judgment(fields: Sequence[str], expected: Sequence[str], where: str) -> tuple[str, str, int]:
    if len(fields) != len(expected):
        hint = "; this looks like a run" if len(fields) == 6 else ""
        seen = f"{len(fields)} columns, expected {len(expected)} ({' '.join(expected)})"
        raise RrarankError(f"{where}: {seen}{hint}")
    if not re.fullmatch("-?[0-9]{1,6}", fields[-1]):
        raise RrarankError(f"{where}: grade {fields[-1]!r}, {GRADE_EXPECTED}")
    return fields[0], fields[-2], int(fields[-1])


# -- shared with the readers of collections ---------------------------------------------------------------------------


def _split_lines(lines: str | Iterable[str]) -> Iterable[str]:
    return lines.split("\n") if isinstance(lines, str) else lines


def columns(line: str) -> list[str]:
    """Split at ASCII white space only, as C does; an id may contain any other character."""
    fields = line.split()
    if len(fields) == line.count(" ") + line.count("\t") + 1 and line.isascii() and line[0] > " ":
        return fields  # separated by single spaces and tabs: the same result, faster
    return [field for field in _ASCII_SPACE.split(line) if field]


def fits_run(name: str) -> bool:
    """Whether files of columns can hold this id: it is not empty and has no ASCII white space."""
    return columns(name) == [name]


def _wrong_width(columns: Sequence[str], width: int) -> str:
    wanted = "qid Q0 docid rank score tag" if width == 6 else "qid docid rank"
    hint = "; this looks like a qrels file" if len(columns) == 4 else ""
    return f"{len(columns)} columns, expected {width} ({wanted}){hint}"


def parse_score(text: str, where: str, number: int) -> float:
    try:
        value = float(text)
        if abs(value) < FLOAT32_MAX and "_" not in text:
            return value
        is_number = "_" not in text
    except ValueError:
        is_number = False
    fault = "is not finite as float32; trec_eval cannot sort it" if is_number else "is not a number (column 5)"
    raise RrarankError(f"{where}:{number}: score {text!r} {fault}")


def _rank(text: str, where: str) -> int:
    if not re.fullmatch("[0-9]{1,12}", text) or int(text) < 1:
        raise RrarankError(f"{where}: rank {text!r}, expected a whole number from 1 (column 3)")
    return int(text)
