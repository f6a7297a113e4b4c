"""rank_llm's requests: JSONL in which each query carries its candidates with their texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rrarank.data import Hit, Run
from rrarank.errors import RrarankError
from rrarank.files import read_lines
from rrarank.texts import document_text
from rrarank.trec import FLOAT32_MAX, best_first, columns, field, json_object

_EXPECTED = '{"query": {"qid", "text"}, "candidates": [{"docid", "score", "doc"}]}'


def is_requests(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".jsonl")


def read_requests(path: Path) -> tuple[Run, dict[str, str], dict[str, str]]:
    """The run, its topics (qid -> query) and its texts (docid -> text).

    Each line is `{"query": {"qid", "text"}, "candidates": [{"docid", "score", "doc"}]}`, `doc` an object or its text.

    Raises:
        RrarankError: naming the line; a docid that stands in two requests with different texts is one too.
    """
    hits: dict[str, list[Hit]] = {}
    topics: dict[str, str] = {}
    texts: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        qid, query, candidates = _request(json_object(line, where), where)
        if qid in hits:
            raise RrarankError(f"{where}: query {qid!r} stands twice; keep one line")
        topics[qid] = query
        hits[qid] = best_first(hit for hit, _ in candidates)
        for hit, text in candidates:
            if texts.setdefault(hit.docid, text) != text:
                raise RrarankError(f"{where}: docid {hit.docid!r} has another text than in an earlier request")
    if not hits:
        raise RrarankError(f"{path}: no requests; expected lines of {_EXPECTED}")
    return Run(hits, "first-stage"), topics, texts


def _request(request: Mapping[str, Any], where: str) -> tuple[str, str, list[tuple[Hit, str]]]:
    try:
        query, candidates = request["query"], [_candidate(candidate, where) for candidate in request["candidates"]]
        qid, text = field(query, ("qid",), where), field(query, ("text",), where).strip()
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RrarankError(f"{where}: {type(error).__name__} {error}; expected {_EXPECTED}") from None
    if columns(qid) != [qid] or any(columns(hit.docid) != [hit.docid] for hit, _ in candidates):
        raise RrarankError(f"{where}: an id that is empty or holds a space, which a run cannot hold")
    if not text:
        raise RrarankError(f"{where}: an empty query; expected {_EXPECTED}")
    if len({hit.docid for hit, _ in candidates}) < len(candidates):
        raise RrarankError(f"{where}: query {qid!r} holds a docid twice; keep one")
    return qid, text, candidates


def _candidate(candidate: Mapping[str, Any], where: str) -> tuple[Hit, str]:
    hit = Hit(field(candidate, ("docid",), where), float(candidate["score"]))
    if not abs(hit.score) < FLOAT32_MAX:
        raise RrarankError(f"{where}: docid {hit.docid!r} has the score {hit.score}, expected a finite number")
    doc = candidate["doc"]
    return hit, doc if isinstance(doc, str) else document_text(doc, where)
