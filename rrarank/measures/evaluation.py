"""What an evaluation found, and its tables: systems, comparisons with the baseline, all pairs of systems."""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, overload

from rrarank.errors import RrarankError, counted, printable
from rrarank.extras import importing
from rrarank.measures.latex import latex
from rrarank.measures.measure import ByMeasure, parse_measure, tested
from rrarank.measures.numbers import comparison_cells, figure
from rrarank.measures.significance import ALPHA, Comparison, rests_on, tukey_hsd
from rrarank.measures.tables import Cell, Table, bold_best, cells, csv_text, html_table, markdown, plain
from rrarank.storage.files import atomic_write


@dataclass(frozen=True)
class Row:
    """One system in a table.

    Args:
        means: measure, by any spelling or as an object of ir_measures -> mean over the queries of the qrels;
            for NumRelRet the sum, as in trec_eval.
        judged: share of its top 10 that has a judgment (`Judged@10`).
        per_query: measure -> qid -> value.
    """

    name: str
    means: ByMeasure[float]
    judged: float
    per_query: ByMeasure[Mapping[str, float]] = field(repr=False)


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate_runs` found; prints as tables.

    Args:
        floor: measure -> expected value of a random order of the baseline's candidates.
        comparisons: every other system against the baseline, on every measure but `Judged`; corrected within each
            measure.
        queries: qids of the means.
        unanswered: system -> judged qids that its run lacks; they count as 0, or are left out by `intersection`.
    """

    rows: Sequence[Row]
    floor: ByMeasure[float]
    baseline: str
    comparisons: Sequence[Comparison]
    queries: Sequence[str]
    unanswered: Mapping[str, Sequence[str]]

    @property
    def per_query(self) -> dict[str, ByMeasure[Mapping[str, float]]]:
        """system -> measure -> qid -> value."""
        return {row.name: row.per_query for row in self.rows}

    @property
    def tested(self) -> list[str]:
        """The measures by which systems are compared: all but `Judged`."""
        return tested(self.floor)

    def to_pandas(self, what: str = "systems") -> Any:  # pandas has no types here
        """A DataFrame.

        Args:
            what: `systems` (a row a system, a column a measure), `comparisons` (a row a system and measure, columns
                as in `Comparison`), `queries` (a row a system, measure and query, with the value) or `tukey` (a row a
                pair of systems and measure, with p of Tukey's HSD).
        """
        if what not in _FRAMES:
            raise RrarankError(f"to_pandas({what!r}): expected one of {', '.join(map(repr, _FRAMES))}")
        with importing():
            import pandas

        return pandas.DataFrame(_FRAMES[what](self), columns=_COLUMNS.get(what))

    def tables(self, *, circular: Collection[str] = (), tukey: bool = False) -> dict[str, Table]:
        """Label -> table: systems, comparisons with the baseline if there are any, all pairs of systems if asked for.

        Args:
            circular: systems whose teacher wrote the judgments.
            tukey: add all pairs of systems by Tukey's HSD, and mark the means by them.
        """
        found = {"systems": systems_table(self, circular=circular, tukey=tukey)}
        found |= {"comparisons": comparisons_table(self)} if self.comparisons else {}
        return found | ({"tukey": tukey_table(self)} if tukey and self.comparisons else {})

    def to_latex(self, *, circular: Collection[str] = (), tukey: bool = False) -> str:
        """Floats with booktabs; many measures stand in blocks. The arguments are those of `tables`."""
        tables = self.tables(circular=circular, tukey=tukey)
        brief = {"systems": _brief_systems(self, tables["systems"])}
        brief |= {"comparisons": _brief_comparisons(self, tables["comparisons"])} if self.comparisons else {}
        return latex(tables | brief)

    def to_markdown(self, *, circular: Collection[str] = (), tukey: bool = False) -> str:
        """The tables in GitHub's Markdown; the arguments are those of `tables`."""
        return markdown(self.tables(circular=circular, tukey=tukey).values())

    @overload
    def to_csv(self, path: None = None, *, long: bool = False) -> str: ...
    @overload
    def to_csv(self, path: str | Path, *, long: bool = False) -> None: ...
    def to_csv(self, path: str | Path | None = None, *, long: bool = False) -> str | None:
        """Every query's values: written to `path`, which is replaced, or returned.

        Args:
            long: a line a query, measure and system; else a line a query and measure, a column a system.
        """
        text = csv_text(*(_long(self) if long else _wide(self)))
        if path is None:
            return text
        with atomic_write(path) as file:
            file.write(text)
        return None

    def __repr__(self) -> str:
        measures = ", ".join(self.floor)
        over = counted(len(self.queries), "query", "queries")
        return printable(f"<Evaluation of {', '.join(self.per_query)} by {measures} over {over}>")

    def __str__(self) -> str:
        return plain(self.tables().values()).rstrip()

    def _repr_html_(self) -> str:
        return "\n".join(map(html_table, self.tables().values()))


# -- tables -----------------------------------------------------------------------------------------------------------


def _brief_systems(found: Evaluation, table: Table) -> Table:
    """For a paper: what is judged stands in the note."""
    if table.head[-1] != JUDGED:  # it was asked for as a measure
        return table
    judged = ", ".join(f"{row.name} {row.judged:.0%}" for row in found.rows)
    return replace(table.only(table.head[:-1]), note=f"{table.note} Judged in the top 10: {judged}.")


def _brief_comparisons(found: Evaluation, table: Table) -> Table:
    """For a paper: by measure, each named once, without what few readers look for."""
    several = len({one.system for one in found.comparisons}) > 1
    kept = ["measure", *table.head[: 1 if several else 0], "difference", "95% interval", "p (Fisher)", "d"]
    brief = table.only(kept)
    before = [None, *(row[0] for row in brief.rows)]
    rows = [[Cell("") if row[0] == last else row[0], *row[1:]] for last, row in zip(before, brief.rows, strict=False)]
    return replace(brief, rows=rows, note=rests_on(found.comparisons, len(found.queries), brief=True))


def systems_table(
    found: Evaluation,
    *,
    circular: Collection[str] = (),
    tukey: bool = False,
    intervals: Mapping[tuple[str, str], str] | None = None,
) -> Table:
    """One row a system: means with the best in bold, marked where they differ significantly from a lettered system.

    Args:
        tukey: mark the pairs of systems by Tukey's HSD; else the differences from the baseline by the corrected
            randomisation test.
        intervals: (system, measure) -> the interval of the mean, shown below it in HTML.
    """
    measures, head, below = list(found.floor), systems_head(found), intervals or {}
    by_tukey = tukey and 1 < len(found.rows) <= len(LETTERS)
    letters, marks = _tukey_marks(found) if by_tukey else _baseline_marks(found)
    rows = [
        [
            Cell(row.name, marks="†" if row.name in circular else ""),
            *(
                Cell(
                    shown_value(m, row.means[m]), marks=marks.get((row.name, m), ""), below=below.get((row.name, m), "")
                )
                for m in measures
            ),
            *([Cell(f"{row.judged:.0%}")] if JUDGED in head else []),
        ]
        for row in found.rows
    ]
    floor = cells(["random order", *(figure(found.floor[m]) for m in measures)])
    floor += cells([""] * (len(head) - len(floor)))
    number = counted(len(found.queries), "query", "queries")
    notes = [f"{number}. Random order: the expected value for {found.baseline}'s candidates."]
    notes += [f"{measure}: the sum over the queries." for measure in measures if parse_measure(measure).is_sum]
    notes += ["†: its teacher wrote the judgments."] if circular else []
    return Table(
        head,
        [floor, *bold_best(rows, map(head.index, found.tested))],
        title="Means of each system.",
        note=" ".join(notes),
        legend=legend(letters if any(marks.values()) else {}, tukey=by_tukey) if len(found.rows) > 1 else "",
    )


JUDGED = "judged@10"


def systems_head(found: Evaluation) -> list[str]:
    """What is judged has one column: `Judged@10` if it was asked for as a measure."""
    return ["system", *found.floor, *([] if "Judged@10" in found.floor else [JUDGED])]


def shown_value(measure: str, value: float) -> str:
    """As the tables of systems show it; a sum is a whole number."""
    return figure(value, ".0f" if parse_measure(measure).is_sum else ".4f")


def compared_name(measure: str) -> str:
    """As the tables of differences name it, which are means over the queries."""
    return f"{measure} per query" if parse_measure(measure).is_sum else measure


LETTERS = string.ascii_letters
Marks = dict[tuple[str, str], str]
"""(system, measure) -> letters of the systems from which it differs significantly."""


def _baseline_marks(found: Evaluation) -> tuple[dict[str, str], Marks]:
    marks = {(c.system, c.measure): "a" for c in found.comparisons if c.reading in ("better", "worse")}
    return {found.baseline: "a"}, marks


def _tukey_marks(found: Evaluation) -> tuple[dict[str, str], Marks]:
    letters = dict(zip((row.name for row in found.rows), LETTERS, strict=False))
    marks: Marks = {}
    for measure in found.tested:
        for pair, p in _tukey(found, measure).items():
            for system, other in (pair, pair[::-1]):
                if p < ALPHA:
                    marks[system, measure] = marks.get((system, measure), "") + letters[other]
    return letters, marks


def legend(letters: Mapping[str, str], *, tukey: bool = False) -> str:
    """What bold and superscripts mean.

    Args:
        letters: system -> its letter; none where nothing differs significantly.
    """
    if not letters:
        return "Bold: the best."
    test = "Tukey's HSD" if tukey else "randomisation test, corrected by Holm"
    named = ", ".join(f"{letter}: {system}" for system, letter in letters.items())
    return f"Bold: the best. Superscripts: significantly different from that system ({named}; {test}, p < {ALPHA})."


def comparisons_table(found: Evaluation) -> Table:
    """One row a system and measure: how it differs from the baseline."""
    head = [f"minus {found.baseline}", "measure", "difference", "95% interval"]
    head += ["p (t)", "p (Fisher)", "d", "detectable", "reading"]
    others = ", ".join(dict.fromkeys(one.system for one in found.comparisons))
    return Table(
        head,
        [_against(one) for one in found.comparisons],
        words=frozenset({0, 1, 8}),
        title=f"Mean differences of {others} from {found.baseline}.",
        note=rests_on(found.comparisons, len(found.queries)),
    )


def _against(one: Comparison) -> list[Cell]:
    change = "up" if one.mean > 0 else "down" if one.mean < 0 else ""
    start = [Cell(one.system), Cell(compared_name(one.measure)), Cell(figure(one.mean, "+.4f"), change=change)]
    return [*start, *cells(comparison_cells(one)), Cell(one.reading)]


def tukey_table(found: Evaluation) -> Table:
    """One row a pair of systems: p of Tukey's HSD on each measure."""
    pairs = {measure: _tukey(found, measure) for measure in found.tested}
    first = next(iter(pairs.values()))
    rows = [cells([f"{a} - {b}", *(figure(ps[a, b], ".2g") for ps in pairs.values())]) for a, b in first]
    note = f"Pairs of systems: {len(rows)}; the test corrects for their number within each measure."
    return Table(["Tukey's HSD, p", *pairs], rows, title="Pairs of systems by Tukey's HSD.", note=note)


def _tukey(found: Evaluation, measure: str) -> dict[tuple[str, str], float]:
    return tukey_hsd({row.name: list(row.per_query[measure].values()) for row in found.rows})


# -- frames -----------------------------------------------------------------------------------------------------------


Records = list[Mapping[str, object]]


def _system_records(found: Evaluation) -> Records:
    return [dict(zip(systems_head(found), _system_values(found, row), strict=True)) for row in found.rows]


def _system_values(found: Evaluation, row: Row) -> list[object]:
    return [row.name, *row.means.values(), *([row.judged] if JUDGED in systems_head(found) else [])]


def _comparison_records(found: Evaluation) -> Records:
    return [asdict(one) | {"reading": one.reading} for one in found.comparisons]


_COLUMNS = {
    "comparisons": [*(one.name for one in fields(Comparison)), "reading"],
    "tukey": ["system", "other", "measure", "p"],
}  # of frames that have no rows where there is one system


def _query_records(found: Evaluation) -> Records:
    return [dict(zip(LONG_HEAD, line, strict=True)) for line in _long(found)[1]]


def _tukey_records(found: Evaluation) -> Records:
    return [
        dict(zip(_COLUMNS["tukey"], (system, other, measure, p), strict=True))
        for measure in found.tested
        for (system, other), p in _tukey(found, measure).items()
    ]


_FRAMES = {
    "systems": _system_records,
    "comparisons": _comparison_records,
    "queries": _query_records,
    "tukey": _tukey_records,
}


# -- CSV --------------------------------------------------------------------------------------------------------------

LONG_HEAD = ["qid", "measure", "system", "value"]
Lines = list[list[object]]


def _wide(found: Evaluation) -> tuple[Sequence[str], Lines]:
    head = ["qid", "measure", *(row.name for row in found.rows)]
    return head, [
        [qid, measure, *(row.per_query[measure][qid] for row in found.rows)]
        for measure in found.floor
        for qid in found.queries
    ]


def _long(found: Evaluation) -> tuple[Sequence[str], Lines]:
    head, lines = _wide(found)
    systems = head[2:]
    return LONG_HEAD, [
        [qid, measure, system, value]
        for qid, measure, *values in lines
        for system, value in zip(systems, values, strict=True)
    ]
