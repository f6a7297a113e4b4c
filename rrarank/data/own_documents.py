"""Queries that are documents of the collection that is searched, as in ArguAna and Quora: qid and docid are equal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rrarank.data.types import Hit, Run
from rrarank.errors import shown

REMOVE_QUERY = "leave out the document whose id is the query's (ArguAna, Quora)"
"""Help of the flag `--remove-query`."""


def without_own_documents(run: Run) -> Run:
    """The run without the hits whose docid is their qid."""
    return Run({qid: [hit for hit in hits if hit.docid != qid] for qid, hits in run.items()}, run.tag)


def finding_themselves(run: Mapping[str, Sequence[Hit]], depth: int | None = None) -> list[str]:
    """The queries with a document of their own id among their first `depth` hits; None: among all."""
    return [qid for qid, hits in run.items() if any(hit.docid == qid for hit in hits[:depth])]


def own_documents_note(qids: Iterable[str]) -> str:
    """What to say of the queries of `finding_themselves`."""
    listed = list(qids)
    found = f"{len(listed):,} queries find a document of their own id ({shown(listed)})"
    return f"{found}; if it is the query itself, as in ArguAna and Quora, give --remove-query"
