"""Why the first documents of a run are where they are, in its reranker's words: a JSONL file beside the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from tqdm import tqdm

from rrarank.data.distillation_set import write_rows
from rrarank.data.trec import read_run
from rrarank.data.types import Run

Explain = Callable[[str, Sequence[str]], Iterable[str]]
"""A query and texts -> text by text, whether and why it is relevant."""


def reasons_path(output: str) -> str:
    return f"{output}.reasons.jsonl"


def write_reasons(
    output: str, explain: Explain, topics: Mapping[str, str], texts: Mapping[str, str], first: int
) -> str:
    """Lines of {qid, docid, rank, reason} in the order of the run, whole or not at all; returns the file's path.

    Args:
        output: a run.
        explain: of the reranker that made it (`engine.Explains`).
        first: so many documents of each query; those without a text are left out.
    """
    path = reasons_path(output)
    rows = _reasons(read_run(output), explain, topics, texts, first)
    write_rows(path, tqdm(rows, unit=" reasons", disable=None))
    return path


def _reasons(
    run: Run, explain: Explain, topics: Mapping[str, str], texts: Mapping[str, str], first: int
) -> Iterator[Mapping[str, object]]:
    for qid, hits in run.items():
        ranked = islice(enumerate(hits, start=1), first) if qid in topics else ()
        known = [(rank, hit.docid) for rank, hit in ranked if hit.docid in texts]
        reasons = explain(topics.get(qid, ""), [texts[docid] for _, docid in known])
        for (rank, docid), reason in zip(known, reasons, strict=True):
            yield {"qid": qid, "docid": docid, "rank": rank, "reason": reason}
