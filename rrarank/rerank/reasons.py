"""Why the first documents of a run are where they are, in its reranker's words: a JSONL file beside the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tqdm import tqdm

from rrarank.data.distillation_set import write_rows

Explain = Callable[[str, Sequence[str]], Iterable[str]]
"""A query and texts -> for each text, whether and why it is relevant."""


def reasons_path(output: str) -> str:
    return f"{output}.reasons.jsonl"


def write_reasons(
    output: str,
    ranked: Mapping[str, Sequence[str]],
    explain: Explain,
    topics: Mapping[str, str],
    texts: Mapping[str, str],
) -> None:
    """Write lines of {qid, docid, rank, reason} beside `output`, whole or not at all.

    Args:
        ranked: qid -> the docids to explain, best first; those without a text are left out.
        explain: of the reranker that ranked them (`engine.reranker.Explains`).
    """
    rows = _reasons(ranked, explain, topics, texts)
    write_rows(reasons_path(output), tqdm(rows, unit=" reasons", disable=None))


def _reasons(
    ranked: Mapping[str, Sequence[str]], explain: Explain, topics: Mapping[str, str], texts: Mapping[str, str]
) -> Iterator[Mapping[str, object]]:
    for qid in (qid for qid in ranked if qid in topics):
        known = [(rank, docid) for rank, docid in enumerate(ranked[qid], start=1) if docid in texts]
        reasons = explain(topics[qid], [texts[docid] for _, docid in known])
        for (rank, docid), reason in zip(known, reasons, strict=True):
            yield {"qid": qid, "docid": docid, "rank": rank, "reason": reason}
