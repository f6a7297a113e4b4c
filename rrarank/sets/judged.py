"""People's grades added to a set, beside the teacher's labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rrarank.data.types import LabelledRanking, Qrels


def judged(labels: Iterable[LabelledRanking], qrels: Qrels) -> Iterator[LabelledRanking]:
    """The labels with `grades` in their provenance: docid -> grade of the documents that are judged relevant.

    Training then uses the grades as levels, 0 for every other listed or missing document, and the teacher's scores.
    Queries without a relevant document are left out: they teach no contrast.
    """
    for label in labels:
        found = qrels.get(label.query.qid, {})
        known = {*label.listed, *label.missing}
        grades = {c.docid: found[c.docid] for c in label.shown if c.docid in known and found.get(c.docid, 0) > 0}
        if grades:
            yield replace(label, provenance={**label.provenance, "grades": grades})
