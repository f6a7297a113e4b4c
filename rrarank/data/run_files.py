"""A run in any format, read and written: TREC, rank_llm's requests and results, Pyserini's candidates, ranx JSON.

Requests, results and candidates hold queries and texts beside the hits, so one file is a whole job.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rrarank.data import trec
from rrarank.data.documents import TEXT_FIELDS, document_text, json_object
from rrarank.data.documents import field as document_field
from rrarank.data.ranx_json import ranx_run, read_json
from rrarank.data.types import Candidate, Hit, Qrels, Query, Ranking, Run
from rrarank.errors import RrarankError
from rrarank.storage.files import atomic_write, read_lines, stem
from rrarank.storage.packed import unpacked

SUFFIXES = {"trec": "", "requests": ".jsonl", "results": ".jsonl", "ranx": ".json", "candidates": ".json"}
"""format -> suffix of its files; where two formats share one, the first is the usual one."""

CARRYING = ("requests", "results", "candidates")
"""The formats that hold queries and texts."""

_EXPECTED = '{"query": {"qid", "text"}, "candidates": [{"docid", "score", "doc"}]}'


@dataclass(frozen=True)
class RunFile:
    """A run as its file holds it.

    Args:
        topics: qid -> query; empty if the format has none.
        texts: docid -> text; empty if the format has none.
    """

    run: Run
    topics: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


# -- reading ----------------------------------------------------------------------------------------------------------


def read_run_file(path: str | Path) -> RunFile:
    """A run from a file of any format, plain or `.gz`; a run without a tag gets the file's name as tag.

    `.jsonl` holds requests or results, one per line; `.json` holds a list of them, one reply of Pyserini's REST server,
    or ranx's `{qid: {docid: score}}`; any other name, and `-` for stdin, means TREC or MS MARCO.

    Raises:
        RrarankError: with the file and the place, what was seen and what was expected.
    """
    suffix = suffix_of(path)
    if suffix == ".jsonl":
        found = _gathered(_requests_by_line(path), path)
    elif suffix == ".json":
        found = _by_content(read_json(path), path)
    else:
        found = RunFile(trec.read_run(path))
    tag = found.run.tag or re.sub("[^A-Za-z0-9_.-]", "-", stem(path))[:20]
    return replace(found, run=replace(found.run, tag=tag))


def suffix_of(path: str | Path) -> str:
    """`.json` or `.jsonl`, whether or not a packing such as `.gz` follows; empty for all other names."""
    suffix = Path(unpacked(path)).suffix
    return suffix if suffix in SUFFIXES.values() else ""


def _by_content(content: object, path: str | Path) -> RunFile:
    if isinstance(content, dict) and isinstance(content.get("candidates"), list):
        content = [content]
    if isinstance(content, list):
        return _gathered(_requests_by_place(content, path), path)
    return RunFile(ranx_run(content, path))


def _requests_by_line(path: str | Path) -> Iterator[tuple[str, Ranking]]:
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, _request(json_object(line, where), where)


def _requests_by_place(content: Sequence[object], path: str | Path) -> Iterator[tuple[str, Ranking]]:
    """A reply of Pyserini's server may lack a qid; then its place in the file is used, from "1"."""
    for number, request in enumerate(content, start=1):
        where = f"{path}: request {number}"
        yield where, _request(request, where, unnamed=str(number))


def _gathered(rankings: Iterable[tuple[str, Ranking]], path: str | Path) -> RunFile:
    hits: dict[str, list[Hit]] = {}
    topics: dict[str, str] = {}
    texts: dict[str, str] = {}
    for where, ranking in rankings:
        qid = ranking.query.qid
        if qid in hits:
            raise RrarankError(f"{where}: query {qid!r} occurs twice; keep one")
        topics[qid] = ranking.query.text
        hits[qid] = trec.kept_or_best_first([Hit(candidate.docid, candidate.score) for candidate in ranking.candidates])
        for candidate in ranking.candidates:
            if texts.setdefault(candidate.docid, candidate.text) != candidate.text:
                raise RrarankError(f"{where}: docid {candidate.docid!r} has another text than in an earlier request")
    if not hits:
        raise RrarankError(f"{path}: no requests; expected {_EXPECTED}")
    return RunFile(Run(hits), topics, texts)


def _request(request: object, where: str, unnamed: str = "") -> Ranking:
    """One query and its candidates, in the order of the file; Pyserini 1.6 names the texts query_txt and
    document_txt."""
    if not isinstance(request, dict):
        raise RrarankError(f"{where}: a JSON {type(request).__name__}, expected {_EXPECTED}")
    try:
        asked = request["query"]
        qid = unnamed if unnamed and asked.get("qid") in (None, "") else document_field(asked, ("qid",), where)
        text = document_field(asked, ("text", "query_txt"), where).strip()
        candidates = tuple(_candidate(candidate, where) for candidate in request["candidates"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RrarankError(f"{where}: {type(error).__name__} {error}; expected {_EXPECTED}") from None
    docids = [candidate.docid for candidate in candidates]
    if not all(trec.fits_run(name) for name in (qid, *docids)):
        raise RrarankError(f"{where}: an id that is empty or contains a space, which a run cannot hold")
    if not text:
        raise RrarankError(f"{where}: an empty query; expected {_EXPECTED}")
    if len(set(docids)) < len(docids):
        raise RrarankError(f"{where}: query {qid!r} holds a docid twice; keep one")
    return Ranking(Query(qid, text), candidates)


def _candidate(candidate: Mapping[str, object], where: str) -> Candidate:
    docid, score = document_field(candidate, ("docid",), where), candidate["score"]
    value = float("nan") if isinstance(score, bool) else float(score)  # type: ignore[arg-type]  # a TypeError is caught
    if not abs(value) < trec.FLOAT32_MAX:
        raise RrarankError(f"{where}: docid {docid!r} has the score {score}, expected a finite number")
    doc = candidate["document_txt"] if "document_txt" in candidate else candidate["doc"]
    return Candidate(docid, candidate_text(doc, f"{where}, docid {docid!r}"), value)


def candidate_text(doc: object, where: str) -> str:
    if isinstance(doc, dict):
        return document_text(doc, where)
    if not isinstance(doc, str):
        raise RrarankError(f"{where}: the document is a {type(doc).__name__}, expected an object or its text")
    try:  # Pyserini's reply to parse=false: the stored JSON as a string
        stored = json.loads(doc) if doc.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        stored = None
    return document_text(stored, where) if stored and any(name in stored for name in TEXT_FIELDS) else doc


# -- writing ----------------------------------------------------------------------------------------------------------


def write_run_file(path: str | Path, content: RunFile, to: str) -> None:
    """Write a run whole or not at all, with strictly falling scores as in `trec.write_run`.

    Args:
        content: for a format of `CARRYING`, it has the query of every qid and the text of every hit.
        to: a format of `SUFFIXES`.
    """
    if to == "trec":
        return trec.write_run(path, content.run)
    lines = {"ranx": _ranx, "candidates": _replies, "requests": _requests, "results": _results}[to]
    with atomic_write(path) as file:
        file.writelines(lines(content))


def _ranx(content: RunFile) -> Iterator[str]:
    run = {qid: _written(qid, hits) for qid, hits in content.run.items() if hits}  # ranx fails on an empty query
    yield json.dumps({qid: {docid: score for docid, _, score in hits} for qid, hits in run.items()}, ensure_ascii=False)
    yield "\n"


def _requests(content: RunFile, **more: object) -> Iterator[str]:
    for qid in content.run:
        yield json.dumps({**_query_and_candidates(qid, content), **more}, ensure_ascii=False) + "\n"


def _results(content: RunFile) -> Iterator[str]:
    return _requests(content, invocations_history=[])


def _replies(content: RunFile) -> Iterator[str]:
    """One reply of Pyserini's REST server, or a list of replies if the run has several queries."""
    several = len(content.run) > 1
    for place, qid in enumerate(content.run):
        reply = {"api": "v1", "index": "", **_query_and_candidates(qid, content, ranked=True)}
        yield ("" if not several else ",\n" if place else "[\n") + json.dumps(reply, ensure_ascii=False)
    yield "\n]\n" if several else "\n"


def _query_and_candidates(qid: str, content: RunFile, ranked: bool = False) -> dict[str, object]:
    candidates = [
        {"docid": docid, "score": score}
        | ({"rank": rank} if ranked else {})
        | {"doc": {"contents": content.texts[docid]}}
        for docid, rank, score in _written(qid, content.run[qid])
    ]
    return {"query": {"text": content.topics[qid], "qid": qid}, "candidates": candidates}


def _written(qid: str, hits: Sequence[Hit]) -> Iterator[tuple[str, int, float]]:
    """(docid, rank, score) as in a TREC run: checked, strictly falling, float32 in its shortest form."""
    for line in trec.run_lines(qid, hits, tag=""):
        _, _, docid, rank, score, _ = line.split(" ")
        yield docid, int(rank), float(score)


def write_qrels(path: str | Path, qrels: Qrels) -> None:
    """Write judgments whole or not at all, in the format of the suffix: `.json` ranx, `.tsv` BEIR, any other TREC."""
    suffix = Path(path).suffix
    with atomic_write(path) as file:
        if suffix == ".json":
            file.write(json.dumps(qrels, ensure_ascii=False) + "\n")
        elif suffix == ".tsv":
            file.write("\t".join(trec.BEIR_QRELS) + "\n")
            file.writelines(f"{qid}\t{docid}\t{grade}\n" for qid, docid, grade in _judgments(qrels))
        else:
            file.writelines(f"{qid} 0 {docid} {grade}\n" for qid, docid, grade in _judgments(qrels))


def _judgments(qrels: Qrels) -> Iterator[tuple[str, str, int]]:
    for qid, grades in qrels.items():
        for docid, grade in grades.items():
            for name in (qid, docid):
                if not trec.fits_run(name) or name.startswith('"'):  # BEIR's loader would read CSV quotes
                    raise RrarankError(f"the id {name!r} is empty, contains a space or begins with a quote; rename it")
            yield qid, docid, grade
