"""rank_llm's requests: JSONL in which each query carries its candidates with their texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rrarank.data import Hit, Run
from rrarank.errors import RrarankError
from rrarank.files import read_lines
from rrarank.texts import document_text
from rrarank.trec import best_first, json_object


def is_requests(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".jsonl")


def read_requests(path: Path) -> tuple[Run, dict[str, str], dict[str, str]]:
    """The run, its topics (qid -> query) and its texts (docid -> text) from lines of
    `{"query": {"qid", "text"}, "candidates": [{"docid", "score", "doc": {…}}]}`."""
    hits: dict[str, list[Hit]] = {}
    topics: dict[str, str] = {}
    texts: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        request: Any = json_object(line, where)
        try:
            qid = str(request["query"]["qid"])
            topics[qid] = str(request["query"]["text"])
            found = {str(c["docid"]): (float(c["score"]), c["doc"]) for c in request["candidates"]}
        except (KeyError, TypeError, ValueError) as error:
            expected = '{"query": {"qid", "text"}, "candidates": [{"docid", "score", "doc"}]}'
            raise RrarankError(f"{where}: {type(error).__name__} {error}; expected {expected}") from None
        if qid in hits or len(found) != len(request["candidates"]):
            raise RrarankError(f"{where}: query {qid!r} stands twice, or holds a docid twice; keep one")
        hits[qid] = best_first(Hit(docid, score) for docid, (score, _) in found.items())
        texts |= {docid: document_text(doc, where) for docid, (_, doc) in found.items()}
    if not hits:
        raise RrarankError(f"{path}: no requests")
    return Run(hits, "first-stage"), topics, texts
