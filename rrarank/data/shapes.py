"""Runs, judgments, queries and texts in the shapes in which Python programs hold them, as our own types.

ranx is recognised by what its objects have; this file does not import it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rrarank.data.documents import check_text, document_text
from rrarank.data.frames import (
    Frame,
    column,
    find_column,
    is_frame,
    is_missing,
    is_series,
    kind_of,
    number,
    seen_value,
)
from rrarank.data.run_files import RunFile, read_run_file
from rrarank.data.trec import FLOAT32_MAX, GRADE_EXPECTED, MAX_GRADE, best_first, fits_run, kept_or_best_first
from rrarank.data.types import Hit, PackedHits, Qrels, QrelsRead, Run
from rrarank.errors import RrarankError, shown
from rrarank.storage.files import STDIO, find, stem

if TYPE_CHECKING:
    from typing_extensions import TypeIs

RunLike: TypeAlias = "Run | str | Path | Mapping[str, Mapping[str, float]] | Mapping[str, Sequence[Hit]] | Frame"
"""A run: our own, a file's path, `{qid: {docid: score}}`, a ranx Run, or a DataFrame (`RUN_COLUMNS`)."""
QrelsLike: TypeAlias = "Qrels | str | Path | Frame"
"""Judgments: `{qid: {docid: grade}}`, a file's path, an ir_datasets id, a ranx Qrels, or a DataFrame."""
TextsLike: TypeAlias = "Mapping[str, str] | str | Path | Frame"
"""Queries or documents: `{id: text}`, a file's path, an ir_datasets id, or a DataFrame."""

QIDS = ("qid", "query_id", "q_id")  # PyTerrier's, ir_measures', ranx's
DOCIDS = ("docno", "doc_id", "docid")
SCORES = ("score",)
RANKS = ("rank",)
GRADES = ("label", "relevance", "grade", "rel")
QUERIES = ("query", "text", "title")
TEXTS = ("text", "contents", "body", "passage")

_RUNS = "a path, a Run, {qid: {docid: score}}, a ranx Run, or a DataFrame (qid, docno, score)"
_QRELS = "a path, an ir_datasets id, {qid: {docid: grade}}, a ranx Qrels, or a DataFrame (qid, docno, label)"
_TEXTS = "a path, an ir_datasets id, {id: text}, a Series, or a DataFrame"


# -- runs -------------------------------------------------------------------------------------------------------------


def as_run(given: RunLike, name: str = "run") -> Run:
    """A run of any shape; hits come best first by trec_eval's rule, ties in a list of hits in its order.

    Args:
        name: of the argument, for messages.

    Raises:
        RrarankError: it is something else, or a score or an id is none that a run can hold.
    """
    return as_run_file(given, name).run


def as_run_file(given: RunLike, name: str = "run") -> RunFile:
    """The same with the queries and texts that came with it, as in a DataFrame of PyTerrier's."""
    if isinstance(given, Run):
        return RunFile(_checked(given, name))
    if is_path(given):
        return read_run_file(given if str(given) == STDIO else find(given, "runs"))
    if hasattr(given, "to_run"):  # a result of `rank_many`
        return RunFile(_checked(given.to_run(), name))
    if is_frame(given):
        return _frame_run(given, name)
    tag, content = _content(given, "Run", name, _RUNS)
    return RunFile(Run({qid: _hits(qid, hits, name) for qid, hits in content.items()}, tag))


def _checked(run: Run, name: str) -> Run:
    """A run that a program made, its hits checked and best first; the reader of files has done both."""
    if isinstance(run.hits, PackedHits):
        return run
    if not isinstance(run.hits, Mapping):
        raise RrarankError(f"{name} is a Run of {kind_of(run.hits)}, expected {{qid: hits}}")
    return Run({qid: _hits(qid, hits, name) for qid, hits in run.hits.items()}, run.tag)


def as_runs(given: Any, name: str = "runs") -> dict[str, Run]:
    """name -> run, from {name: run}, a list of runs, or one run; a run is named by its file, its tag, or its place.

    Raises:
        RrarankError: two runs have one name, or as `as_run` does.
    """
    if isinstance(given, Mapping) and not isinstance(given, Run) and not is_one_run(given):
        check_names(given, name)
        return {str(key): as_run(one, f"{name}[{key!r}]") for key, one in given.items()}
    if is_series(given):
        raise RrarankError(f"{name} is a Series, expected {_RUNS}, several of them, or {{name: run}}")
    several = isinstance(given, Iterable) and not is_one_run(given)
    found: dict[str, Run] = {}
    for place, one in enumerate(given if several else [given], start=1):
        run = as_run(one, f"{name}, item {place}")
        key = stem(one) if is_path(one) else run.tag or f"run-{place}"
        if key in found:
            raise RrarankError(f"{name}: two are named {key!r}; give {{name: run}}")
        found[key] = run
    return found


def check_names(names: Iterable[Any], what: str) -> None:
    """Refuse names that a table or a run could not tell apart, such as 1 and "1"."""
    found: dict[str, Any] = {}
    for name in names:
        if str(name) in found:
            raise RrarankError(f"{what}: {found[str(name)]!r} and {name!r} are one name as strings; rename one")
        found[str(name)] = name


def is_one_run(given: Any) -> bool:
    """Whether it is a run, such as {qid: {docid: score}}, and not a list of runs or {name: run}."""
    if isinstance(given, Run) or is_path(given) or is_frame(given) or hasattr(given, "to_run"):
        return True
    return isinstance(given, Mapping) and _is_table(given)


def _is_table(given: Mapping[Any, Any]) -> bool:
    """Whether it is {qid: {docid: score}} or {qid: hits}, not {name: run}."""
    first = next((one for one in given.values() if is_path(one) or not isinstance(one, Mapping | list) or one), None)
    if isinstance(first, Mapping) and not isinstance(first, Run):
        return not any(isinstance(inner, Mapping | Sequence) for inner in list(first.values())[:1])
    return isinstance(first, list | tuple)


def _hits(qid: Any, given: Any, name: str) -> list[Hit]:
    """The hits of a query, from {docid: score} or (docid, score) pairs."""
    _check_id(qid, "qid", name)
    if not isinstance(given, Mapping | Sequence) or isinstance(given, str):
        raise RrarankError(f"{name}: query {qid!r} holds {kind_of(given)}, expected {{docid: score}} or hits")
    pairs = list(given.items() if isinstance(given, Mapping) else given)
    where = f"{name}, query {qid!r}"
    if odd := [pair for pair in pairs if not (isinstance(pair, tuple) and len(pair) == 2)]:
        raise RrarankError(f"{name}: query {qid!r} holds {odd[0]!r}, expected (docid, score)")
    for docid, _ in pairs:
        _check_id(docid, "docid", where)
    if len({docid for docid, _ in pairs}) < len(pairs):
        raise RrarankError(f"{name}: query {qid!r} holds a docid twice; keep one")
    hits = [Hit(docid, _score(score, f"{where}, docid {docid!r}")) for docid, score in pairs]
    return best_first(hits) if isinstance(given, Mapping | _Rows) else kept_or_best_first(hits)


class _Rows(list[tuple[Any, Any]]):
    """(docid, score) of the rows of a table, whose order says nothing."""


def _score(score: Any, where: str) -> float:
    value = number(score)
    if not abs(value) < FLOAT32_MAX:
        hint = "; is this {name: run}? give one run" if isinstance(score, Mapping) else ""
        raise RrarankError(f"{where}: score {seen_value(score)}, expected a number that is finite as float32{hint}")
    return value


def _frame_run(frame: Frame, name: str) -> RunFile:
    """From PyTerrier's columns (qid, docno, score or rank, query, text) or ir_measures' (query_id, doc_id, score)."""
    qids, docids = column(frame, QIDS, name), column(frame, DOCIDS, name)
    if find_column(frame, SCORES):
        scores = column(frame, SCORES, name)
    elif find_column(frame, RANKS):
        scores = [-_rank(rank, name) for rank in column(frame, RANKS, name)]
    else:
        seen = f"a DataFrame with the columns {shown(frame.columns, 10)}, expected 'score' or 'rank'"
        raise RrarankError(f"{name}: {seen}; for rows that come best first: frame.assign(rank=range(len(frame)))")
    hits: dict[Any, _Rows] = {}
    for qid, docid, score in zip(qids, docids, scores, strict=True):
        hits.setdefault(qid, _Rows()).append((docid, score))
    run = Run({qid: _hits(qid, pairs, name) for qid, pairs in hits.items()})
    topics = _pairs(qids, column(frame, ("query",), name), name) if find_column(frame, ("query",)) else {}
    texts = _pairs(docids, column(frame, TEXTS, name), name) if find_column(frame, TEXTS) else {}
    return RunFile(run, topics, texts)


def _rank(rank: Any, name: str) -> float:
    value = number(rank)
    if not isfinite(value):
        raise RrarankError(f"{name}: rank {seen_value(rank)}, expected a number; there is no column 'score'")
    return value


# -- judgments --------------------------------------------------------------------------------------------------------


def as_qrels(given: Any, name: str = "qrels") -> QrelsRead:
    """qid -> docid -> grade, from any shape but a path or an id.

    Raises:
        RrarankError: it is something else, a grade is no whole number, or a document is judged twice.
    """
    if is_frame(given):
        return _frame_qrels(given, name)
    _, content = _content(given, "Qrels", name, _QRELS)
    found = QrelsRead()
    for qid, grades in content.items():
        _check_id(qid, "qid", name)
        if not isinstance(grades, Mapping):
            raise RrarankError(f"{name}: query {qid!r} holds {kind_of(grades)}, expected {{docid: grade}}")
        found[qid] = {docid: _grade(grade, qid, docid, name) for docid, grade in grades.items()}
    return found


def _frame_qrels(frame: Frame, name: str) -> QrelsRead:
    """From PyTerrier's columns (qid, docno, label) or ir_measures' (query_id, doc_id, relevance)."""
    found = QrelsRead()
    rows = zip(*(column(frame, names, name) for names in (QIDS, DOCIDS, GRADES)), strict=True)
    for qid, docid, grade in rows:
        _check_id(qid, "qid", name)
        if docid in found.setdefault(qid, {}):
            raise RrarankError(f"{name}: docid {docid!r} is judged twice for query {qid!r}; keep one row")
        found[qid][docid] = _grade(grade, qid, docid, name)
    return found


def _grade(grade: Any, qid: str, docid: Any, name: str) -> int:
    _check_id(docid, "docid", f"{name}, query {qid!r}")
    value = number(grade)
    if not abs(value) <= MAX_GRADE or value != int(value):
        raise RrarankError(f"{name}, query {qid!r}, docid {docid!r}: grade {seen_value(grade)}, {GRADE_EXPECTED}")
    return int(value)


# -- queries and texts ------------------------------------------------------------------------------------------------


def as_texts(given: Any, name: str) -> dict[str, str]:
    """id -> text, from {id: text}, {id: object with a text field}, a Series or a DataFrame.

    Raises:
        RrarankError: it is something else, a text is missing, or an id has two texts.
    """
    ids, names = (QIDS, QUERIES) if name == "topics" else (DOCIDS, TEXTS)
    if is_frame(given):
        return _pairs(column(given, ids, name), column(given, names, name), name)
    if is_series(given):
        return _pairs(given.index, given, name)
    if not isinstance(given, Mapping):
        raise RrarankError(f"{name} is {kind_of(given)}, expected {_TEXTS}")
    return _pairs(given, given.values(), name)


def _pairs(ids: Iterable[Any], texts: Iterable[Any], name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for one, text in zip(ids, texts, strict=True):
        _check_id(one, "id", name)
        if isinstance(text, Mapping):
            text = document_text(text, f"{name}: {one!r}")
        if not isinstance(text, str):
            seen = str(text) if is_missing(text) else kind_of(text)
            raise RrarankError(f"{name}: the text of {one!r} is {seen}, expected a string")
        check_text(text, f"{name}: the text of {one!r}")
        if found.setdefault(one, text) != text:
            raise RrarankError(f"{name}: {one!r} has two different texts; keep one")
    return found


# -- what the objects of others are -----------------------------------------------------------------------------------


def is_path(thing: object) -> TypeIs[str | Path]:
    return isinstance(thing, str | Path)


def run_name(given: RunLike) -> str:
    """The path, or `run` for what has none."""
    return str(given) if is_path(given) else "run"


def _content(given: Any, kind: str, name: str, expected: str) -> tuple[str, Mapping[Any, Any]]:
    """A name, and {qid: …}, of a dict or of a ranx object."""
    if type(given).__module__.split(".")[0] == "ranx":
        if type(given).__name__ != kind:
            raise RrarankError(f"{name} is a ranx {type(given).__name__}, expected {expected}")
        return str(given.name or ""), given.to_dict()
    if not isinstance(given, Mapping):
        raise RrarankError(f"{name} is {kind_of(given)}, expected {expected}")
    if not given:
        raise RrarankError(f"{name} is empty, expected {expected}")
    if odd := [one for one in given.values() if not isinstance(one, Mapping | list | tuple)]:
        raise RrarankError(f"{name} is a {type(given).__name__} of {kind_of(odd[0])}, expected {expected}")
    return "", given


def _check_id(one: Any, what: str, name: str) -> None:
    if not isinstance(one, str):
        raise RrarankError(f"{name}: {what} {one!r} is {kind_of(one)}, expected a string; use str, or .astype(str)")
    if not fits_run(one):
        raise RrarankError(f"{name}: the {what} {one!r} is empty or contains a space, which a run cannot hold")
