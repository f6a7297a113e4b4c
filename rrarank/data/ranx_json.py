"""ranx JSON, `{qid: {docid: number}}`: the scores of a run or the grades of judgments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rrarank.data.documents import check_surrogates, each_key_once
from rrarank.data.trec import FLOAT32_MAX, GRADE_EXPECTED, MAX_GRADE, best_first, fits_run
from rrarank.data.types import Hit, QrelsRead, Run
from rrarank.errors import RrarankError
from rrarank.storage.files import read_text

_LIKE_GRADES = range(-9, 10)


def read_ranx_qrels(path: str | Path) -> QrelsRead:
    """qid -> docid -> grade; a query without judgments is left out, as in a TREC file."""
    qrels = QrelsRead()
    for qid, judged in _tables(read_json(path), path, "{qid: {docid: grade}}").items():
        for docid, grade in judged.items():
            if type(grade) is not int or not abs(grade) <= MAX_GRADE:
                hint = "; this looks like a run" if isinstance(grade, float) else ""
                seen = f"query {qid!r}, docid {docid!r}: grade {grade!r}"
                raise RrarankError(f"{path}: {seen}, {GRADE_EXPECTED}{hint}")
            qrels.setdefault(qid, {})[docid] = grade
    if not qrels:
        raise RrarankError(f"{path}: no judgments; expected {{qid: {{docid: grade}}}}")
    return qrels


def ranx_run(content: object, where: str | Path) -> Run:
    """A run from the content of `read_json`; a JSON object has no order, so ties are settled as in a TREC run."""
    tables = _tables(content, where, "{qid: {docid: score}}")
    scores = [(qid, docid, score) for qid, table in tables.items() for docid, score in table.items()]
    for qid, docid, score in scores:
        if type(score) not in (int, float) or not abs(score) < FLOAT32_MAX:
            seen = f"query {qid!r}, docid {docid!r}: score {score!r}"
            raise RrarankError(f"{where}: {seen}, expected a number that is finite as float32")
    if scores and all(type(score) is int and score in _LIKE_GRADES for *_, score in scores):
        raise RrarankError(f"{where}: grades, not scores: all are small whole numbers; write a run's scores as 3.0")
    return Run(
        {qid: best_first(Hit(docid, float(score)) for docid, score in table.items()) for qid, table in tables.items()}
    )


def _tables(content: object, where: str | Path, expected: str) -> Mapping[str, Mapping[str, float]]:
    """Check that the content is an object of objects whose keys are ids, and return it."""
    if not isinstance(content, dict) or not content:
        raise RrarankError(f"{where}: {_seen(content)}, expected {expected}")
    for qid, table in content.items():
        if not isinstance(table, dict):
            raise RrarankError(f"{where}: query {qid!r} holds {_seen(table)}, expected {expected}")
        for name in (qid, *table):
            if not fits_run(name):
                raise RrarankError(f"{where}: the id {name!r} is empty or contains a space, which a run cannot hold")
    return content


def _seen(content: object) -> str:
    kind = {dict: "object", list: "list", str: "string", type(None): "null"}.get(type(content), "number")
    return f"{'an empty' if content in ({}, []) else 'a'} JSON {kind}"


def read_json(path: str | Path) -> object:
    """The one JSON value of a file, plain or `.gz`.

    Raises:
        RrarankError: it is not JSON, a key occurs twice in one object, or the file is a sidecar of rrarank.
    """
    text = read_text(path)
    if not text.strip():
        raise RrarankError(f"{path}: empty, expected JSON")
    try:
        content = json.loads(text, object_pairs_hook=each_key_once(path))
    except json.JSONDecodeError as error:
        hint = "; JSON lines belong in a file named .jsonl" if error.msg == "Extra data" else ""
        where = f"{path}:{error.lineno}"
        raise RrarankError(f"{where}: not JSON ({error.msg} at column {error.colno}){hint}") from error
    except (ValueError, RecursionError) as error:
        raise RrarankError(f"{path}: JSON that Python cannot hold ({error})") from error
    check_surrogates(content, text, path)
    if isinstance(content, dict) and str(content.get("format")).startswith("rrarank.sidecar/"):
        described = str(path).removesuffix(".json")
        raise RrarankError(f"{path}: the sidecar of {described}; give {described} itself")
    return content
