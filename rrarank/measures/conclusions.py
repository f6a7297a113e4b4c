"""Every conclusion twice: by people's judgments alone, and with an LLM's of documents that no person judged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields

from rrarank.data.judges import Judgments
from rrarank.measures.evaluation import JUDGED, Evaluation, compared_name, shown_value, systems_head
from rrarank.measures.kappa import kendall_tau
from rrarank.measures.numbers import figure, interval
from rrarank.measures.significance import Comparison
from rrarank.measures.tables import Cell, Table, bold_best, cells


@dataclass(frozen=True)
class Conclusion:
    """One system against the baseline on one measure, by both sets of judgments.

    Args:
        change: what the LLM's judgments change: `sign`, `reading`, both, or nothing.
    """

    people: Comparison
    both: Comparison
    change: str

    @property
    def sentence(self) -> str:
        before, after = ((one.reading or "no test", figure(one.mean, "+.4f")) for one in (self.people, self.both))
        changed = f"{self.people.system} on {compared_name(self.people.measure)}"
        return f"{changed} ({before[0]} {before[1]} -> {after[0]} {after[1]})"


@dataclass(frozen=True, repr=False)
class EvaluationByTwo(Evaluation):
    """An evaluation by people's judgments, and the same with an LLM's added.

    Args:
        both: by both.
        judges: the marks of the LLMs in the judgments.
        added: how many of the LLM's judgments `both` holds.
        agreement: what is known of each judge's agreement with people, a sentence each.
        conclusions: every system against the baseline, on every measure.
    """

    both: Evaluation = field(kw_only=True)
    judges: Sequence[str] = field(kw_only=True)
    added: int = field(kw_only=True)
    agreement: Sequence[str] = field(kw_only=True)
    conclusions: Sequence[Conclusion] = field(kw_only=True)

    def tables(self, *, circular: Collection[str] = (), tukey: bool = False) -> dict[str, Table]:
        """Those of the evaluation by people, the systems by both, and the conclusions side by side."""
        by_both = {"systems-with-llm": _systems(self, circular)}
        by_both |= {"conclusions": _conclusions(self)} if self.conclusions else {}
        return super().tables(circular=circular, tukey=tukey) | by_both


def by_two(people: Evaluation, both: Evaluation, judgments: Judgments, agreement: Sequence[str]) -> EvaluationByTwo:
    """Join the two evaluations of the same runs, and say what the LLM's judgments change."""
    own = {one.name: getattr(people, one.name) for one in fields(Evaluation)}
    found = [
        Conclusion(ours, theirs, _change(ours, theirs))
        for ours, theirs in zip(people.comparisons, both.comparisons, strict=True)
    ]
    return EvaluationByTwo(
        **own, both=both, judges=judgments.judges, added=judgments.added, agreement=agreement, conclusions=found
    )


def _change(people: Comparison, both: Comparison) -> str:
    changes = ["sign"] if people.mean * both.mean < 0 else []
    return " and ".join([*changes, "reading"] if people.reading != both.reading else changes)


# -- tables -----------------------------------------------------------------------------------------------------------


def _systems(found: EvaluationByTwo, circular: Collection[str]) -> Table:
    """The systems by both sets of judgments."""
    head = systems_head(found)
    rows = [
        [
            Cell(row.name, marks="†" if row.name in circular else ""),
            *cells(shown_value(measure, value) for measure, value in row.means.items()),
            *([Cell(f"{row.judged:.0%}")] if JUDGED in head else []),
        ]
        for row in found.both.rows
    ]
    notes = [f"With {found.added:,} judgments by {', '.join(found.judges)} of documents that no person judged."]
    notes += ["†: its teacher is the LLM that judged."] if circular else []
    if len(found.rows) > 2:
        taus = ", ".join(f"{measure} {_tau(found, measure):.2f}" for measure in found.tested)
        notes.append(f"Kendall's tau with the order of the systems by people's judgments alone: {taus}.")
    return Table(
        head,
        bold_best(rows, map(head.index, found.tested)),
        title="Means of each system with an LLM's judgments.",
        note=" ".join([*notes, *found.agreement]),
        legend="Bold: the best.",
    )


def _tau(found: EvaluationByTwo, measure: str) -> float:
    return kendall_tau(*([row.means[measure] for row in one.rows] for one in (found, found.both)))


def _conclusions(found: EvaluationByTwo) -> Table:
    head = [f"minus {found.baseline}", "measure", "by people", "95% interval", "", "with the LLM", "95% interval", ""]
    rows = [
        cells(
            [one.people.system, compared_name(one.people.measure), *_cells(one.people), *_cells(one.both), one.change]
        )
        for one in found.conclusions
    ]
    changed = [one.sentence for one in found.conclusions if one.change]
    which = f"{len(changed)} would change: {'; '.join(changed)}." if changed else "none would change."
    return Table(
        [*head, "changes"],
        rows,
        words=frozenset({0, 1, 4, 7, 8}),
        title="Conclusions by people's judgments, and with an LLM's.",
        note=f"Of {len(found.conclusions)} conclusions, {which}",
    )


def _cells(one: Comparison) -> list[str]:
    return [figure(one.mean, "+.4f"), interval(one.low, one.high, "+.4f"), one.reading]
