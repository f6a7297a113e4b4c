"""TREC's rules for submitted runs: check every rule, name every fault."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path

from rrarank.data.trec import TAG, best_first, columns, parse_score, write_run
from rrarank.data.types import Hit
from rrarank.errors import RrarankError, shown
from rrarank.storage.files import read_lines
from rrarank.storage.leftovers import temporary_folder

MOST_SHOWN = 20


def write_submission(output: Path, run: Iterable[tuple[str, Sequence[Hit]]], tag: str, wanted: Collection[str]) -> None:
    """Write the run if it passes the check, else nothing."""
    with temporary_folder(output) as work:
        unchecked = work / output.name
        write_run(unchecked, run, tag)
        check_submission(unchecked, wanted, name=str(output))
        os.replace(unchecked, output)


def check_submission(path: Path, wanted: Collection[str], max_hits: int = 1000, *, name: str = "") -> None:
    """Refuse a run with faults: one per line, at most `MOST_SHOWN`; `name` replaces the path in the message."""
    name = name or str(path)
    faults = list(islice(find_faults(read_lines(path), wanted, max_hits), MOST_SHOWN + 1))
    if faults:
        more = ["… and more"] if len(faults) > MOST_SHOWN else []
        listed = "\n".join(f"{name}{fault}" for fault in faults[:MOST_SHOWN])
        raise RrarankError("\n".join([f"{name}: not fit to submit", listed, *more]))


def find_faults(lines: Iterable[str], wanted: Collection[str], max_hits: int) -> Iterator[str]:
    """Each fault as `:line: what is wrong`, or `: what is wrong` for the whole run.

    TREC's rules: six columns, a literal Q0, one tag of 1-20 of A-Z a-z 0-9 _ . -, every topic and no other, no docid
    twice, ranks from 1 without gaps, finite scores that fall with the ranks, at most `max_hits` per query.
    """
    hits: dict[str, list[Hit]] = {}
    seen: dict[str, set[str]] = {}
    tags: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        fields = columns(line)
        if len(fields) != 6:
            yield f":{number}: {len(fields)} columns, expected 6 (qid Q0 docid rank score tag)"
            continue
        qid, q0, docid, rank, text, tag = fields
        if q0 != "Q0":
            yield f":{number}: {q0!r} in column 2, expected Q0"
        if tag not in tags and not re.fullmatch(TAG, tag):
            yield f":{number}: tag {tag!r}, expected 1 to 20 of A-Z a-z 0-9 _ . -"
        tags.setdefault(tag, number)
        if qid not in hits and qid not in wanted:
            yield f":{number}: query {qid!r} is not in the topics"
        docids = seen.setdefault(qid, set())
        if docid in docids:
            yield f":{number}: docid {docid!r} occurs twice under query {qid!r}"
        docids.add(docid)
        found = hits.setdefault(qid, [])
        if rank != str(len(found) + 1):
            yield f":{number}: rank {rank}, expected {len(found) + 1} (from 1, without gaps, in the order of the file)"
        try:
            found.append(Hit(docid, parse_score(text, "", number)))
        except RrarankError as error:
            yield str(error)
            found.append(Hit(docid, 0.0))
    yield from _faults_of_the_whole(hits, tags, wanted, max_hits)


def _faults_of_the_whole(
    hits: dict[str, list[Hit]], tags: dict[str, int], wanted: Collection[str], max_hits: int
) -> Iterator[str]:
    if len(tags) > 1:
        yield f": {len(tags)} tags ({shown(tags)}), expected one"
    if missing := sorted(set(wanted) - hits.keys()):
        yield f": no hits for {len(missing)} of {len(wanted)} queries ({shown(missing)})"
    for qid, found in hits.items():
        if len(found) > max_hits:
            yield f": query {qid!r} has {len(found):,} hits, at most {max_hits:,} are allowed"
        if any(a.score < b.score for a, b in pairwise(found)):
            yield f": query {qid!r}: scores rise with the rank, expected falling"
        elif best_first(found) != found:
            yield f": query {qid!r}: tied scores, which trec_eval orders differently from the ranks"
