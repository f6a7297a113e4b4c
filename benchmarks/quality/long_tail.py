"""Does re-ranking gain most on long-tail queries? Gains by length of the query, and by its rarest term.

    python -m benchmarks quality long_tail --set NAME TOPICS QRELS FIRST RERANKED MEASURE [--set …] \
        [--rarest NAME INDEX] [--list NAME TOPICS QRELS FIRST RERANKED MEASURE …] [--output FILE.md]

The sets of --set are pooled, their mean gains removed, and cut by words. The set of --rarest, one of them, is cut again
into quarters by the IDF of its rarest term in a Lucene index of its collection. The sets of --list are too small to be
cut, or are not to be chosen by: their queries are listed. Slices are those of `rrarank.slices`, fixed beforehand.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from benchmarks.quality.slices import FEWEST, WORDS, Case, SliceGain, by_words, quartiles, rarest_idf, slice_gains
from rrarank.cli.verbs import run_verb
from rrarank.data.run_files import read_run_file
from rrarank.data.topics import read_topics
from rrarank.errors import RrarankError
from rrarank.measures.significance import RESAMPLES
from rrarank.measures.values import per_query_scores
from rrarank.sources.lucene import LuceneIndex
from rrarank.sources.texts import load_qrels
from rrarank.storage.files import STDIO, atomic_write
from rrarank.storage.sidecar import check_output

PARTS = ("NAME", "TOPICS", "QRELS", "FIRST", "RERANKED", "MEASURE")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Gains of re-ranking by length of the query, and by its rarest term.")
    for flag, what in {"--set": "pooled and cut by words", "--list": "listed only"}.items():
        parser.add_argument(
            flag, nargs=6, action="append", default=[], metavar=PARTS, help=f"a set, {what}; repeatable"
        )
    parser.add_argument("--rarest", nargs=2, metavar=("NAME", "INDEX"), help="the set cut by IDF, and its Lucene index")
    parser.add_argument("--language", default="en", help="of that index's analyser")
    parser.add_argument("--output", default=STDIO, help="Markdown; -: stdout")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    return run_verb(_long_tail, parser, arguments)


def _long_tail(flags: argparse.Namespace) -> None:
    check_output(flags.output, flags.overwrite, [Path(part) for found in flags.set + flags.list for part in found[1:5]])
    if not flags.set + flags.list:
        raise RrarankError("nothing to look at; give --set or --list")
    names = [one[0] for one in flags.set + flags.list]
    if twice := {name for name in names if names.count(name) > 1}:
        raise RrarankError(f"two sets are named {min(twice)!r}; names tell them apart")
    pooled, listed = ({one[0]: load_set(*one) for one in found} for found in (flags.set, flags.list))
    if flags.rarest and flags.rarest[0] not in pooled:
        raise RrarankError(f"--rarest {flags.rarest[0]}: no --set of that name (known: {', '.join(pooled) or 'none'})")
    parts = [words_part(pooled)] if pooled else []
    if flags.rarest:
        name, index = flags.rarest
        parts.append(rarest_part(name, pooled[name], Path(index), flags.language))
    parts += [listed_part(name, one) for name, one in listed.items()]
    with atomic_write(flags.output) as file:
        file.write("\n\n".join(parts) + "\n")


@dataclass(frozen=True)
class Judged:
    """A set as it was measured.

    Args:
        topics: qid -> query, of the judged queries.
        first, gains: qid -> measure of the first stage, and what re-ranking adds.
    """

    measure: str
    topics: Mapping[str, str]
    first: Mapping[str, float]
    gains: Mapping[str, float]


def load_set(name: str, topics: str, qrels: str, first: str, reranked: str, measure: str) -> Judged:
    judged, asked = load_qrels(Path(qrels)), read_topics(Path(topics))
    if unknown := [qid for qid in judged if qid not in asked]:
        raise RrarankError(f"{topics}: lacks {len(unknown):,} queries of {qrels} ({unknown[0]!r}, …); other topics?")
    before, after = (per_query_scores(judged, read_run_file(run).run, [measure])[measure] for run in (first, reranked))
    gains = {qid: after[qid] - before[qid] for qid in judged}
    return Judged(measure, {qid: asked[qid] for qid in judged}, before, gains)


# -- parts of the page ------------------------------------------------------------------------------------------------


def words_part(sets: Mapping[str, Judged]) -> str:
    cases = [case for name, one in sets.items() for case in cases_of(name, one, by_length(one))]
    of = ", ".join(f"{name} ({len(one.topics):,} queries, {one.measure})" for name, one in sets.items())
    note = f"Pooled: {of}. Differences are taken after each set's mean gain is removed."
    return f"## By words of the query\n\n{table(slice_gains(cases, WORDS))}\n\n{note} {_RESTS_ON}"


def rarest_part(name: str, one: Judged, index: Path, language: str) -> str:
    with LuceneIndex(index) as found:
        idf = {
            qid: rarest_idf(found.document_frequencies(query, language=language), found.size)
            for qid, query in one.topics.items()
        }
        size = found.size
    quarters = quartiles(idf)
    rows = slice_gains(cases_of(name, one, quarters), sorted(set(quarters.values())))
    note = (
        f"{name}, {len(one.topics):,} queries, {one.measure}. IDF over {size:,} documents, terms as Lucene's analyser "
        "makes them; a term that no document holds is the rarest. Q4 holds the rarest."
    )
    return f"## {name} by IDF of the rarest term\n\n{table(rows)}\n\n{note} {_RESTS_ON}"


_RESTS_ON = (
    f"gain: re-ranked minus first stage. difference: of the slice's gain from that of all other queries. Intervals: "
    f"95%, bootstrap over queries, {RESAMPLES:,} resamples, not corrected for the number of slices. No slice is tested "
    f"that has, or leaves, fewer than {FEWEST} queries."
)


def listed_part(name: str, one: Judged) -> str:
    """A set's slices without a test, and its queries: without their text, which is the set's own."""
    found = slice_gains(cases_of(name, one, by_length(one)), WORDS)
    slices = tabulate(
        [[row.name, row.n, figure(row.gain)] for row in found], ["slice", "n", "gain"], "github", disable_numparse=True
    )
    words = {qid: len(query.split()) for qid, query in one.topics.items()}
    rows = [
        [qid, words[qid], f"{one.first[qid]:.4f}", figure(one.gains[qid])]
        for qid in sorted(words, key=words.__getitem__)
    ]
    queries = tabulate(rows, ["qid", "words", "first stage", "gain"], "github", disable_numparse=True)
    note = f"{len(rows):,} queries, {one.measure}; listed, not tested."
    return f"## {name}, listed\n\n{slices}\n\n{note}\n\n{queries}"


def by_length(one: Judged) -> dict[str, str]:
    return {qid: by_words(query) for qid, query in one.topics.items()}


def cases_of(name: str, one: Judged, slices: Mapping[str, str]) -> list[Case]:
    return [Case(name, slices[qid], gain) for qid, gain in one.gains.items()]


def table(rows: Iterable[SliceGain]) -> str:
    head = ["slice", "n", "gain", "difference", "95% interval", ""]
    return str(tabulate([_row(row) for row in rows], head, "github", disable_numparse=True))


def _row(row: SliceGain) -> list[str]:
    interval = "" if math.isnan(row.low) else f"[{row.low:+.4f}, {row.high:+.4f}]"
    return [row.name, f"{row.n:,}", figure(row.gain), figure(row.difference), interval, row.reading]


def figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.4f}"


if __name__ == "__main__":
    sys.exit(main())
