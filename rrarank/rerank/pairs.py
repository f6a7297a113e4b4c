"""How many pairs of each query a job scores."""

from __future__ import annotations

from rrarank.data.own_documents import finding_themselves, own_documents_note
from rrarank.errors import say
from rrarank.sources.inputs import Inputs


def pairs_of(inputs: Inputs, depth: int) -> dict[str, int]:
    """qid -> pairs to score. Says so if queries find a document of their own id."""
    missing, pairs = set(inputs.missing), {}
    for qid, hits in inputs.run.items():
        docids = [hit.docid for hit in hits[:depth]]
        pairs[qid] = sum(docid not in missing for docid in docids) if qid in inputs.topics else 0
    if themselves := finding_themselves(inputs.run, depth):
        say(own_documents_note(themselves))
    return pairs
