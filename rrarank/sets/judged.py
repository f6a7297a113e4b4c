"""Judgments laid over a set: which of the shown documents a person found relevant, beside what the teacher said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rrarank.data.types import LabelledRanking, Qrels


def judged(labels: Iterable[LabelledRanking], qrels: Qrels) -> Iterator[LabelledRanking]:
    """The labels with `grades` in their provenance: docid -> grade, of the shown ones that are judged relevant.

    Training then takes the grades for its levels, every other document that the teacher listed or left out for 0, and
    keeps the teacher's scores. Queries none of whose shown documents is relevant are left out: they teach no contrast.
    """
    for label in labels:
        found = qrels.get(label.query.qid, {})
        known = {*label.listed, *label.missing}
        grades = {c.docid: found[c.docid] for c in label.shown if c.docid in known and found.get(c.docid, 0) > 0}
        if grades:
            yield replace(label, provenance={**label.provenance, "grades": grades})
