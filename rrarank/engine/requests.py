"""Queries and documents as Python programs have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rrarank.data.documents import OBJECT_IDS, TEXT_FIELDS, check_text, document_text, fields_of, text_field
from rrarank.data.frames import check_columns, column, find_column, is_frame, is_missing, is_series, is_whole, kind_of
from rrarank.data.shapes import QIDS, QUERIES, check_names
from rrarank.data.trec import falling_docid
from rrarank.data.types import Candidate, Query, Ranking, is_blank
from rrarank.errors import RrarankError, shown

_EXPECTED = "expected a string, an object with a text field, or (id, text)"


@dataclass(frozen=True)
class Given:
    """The documents of a caller: ids, texts and the objects themselves, in the same order."""

    ids: Sequence[Any]
    texts: Sequence[str]
    documents: Sequence[Any]


@dataclass(frozen=True)
class Request:
    """A query and the documents to rank for it."""

    qid: Any
    query: str
    given: Given

    def ranking(self, qid: str = "1") -> Ranking:
        """The documents with a text as candidates in the given order; equal scores keep that order."""
        texts = [(n, text) for n, text in enumerate(self.given.texts) if not is_blank(text)]
        candidates = (Candidate(falling_docid(n), text, float(-n)) for n, text in texts)
        return Ranking(Query(qid, self.query), tuple(candidates))


def check_top_k(top_k: Any) -> None:
    if top_k is not None:
        check_count("top_k", top_k, ", or None for all")


def check_count(name: str, value: Any, more: str = "") -> None:
    if not is_whole(value) or value < 1:
        raise RrarankError(f"{name} {value!r}: expected a whole number from 1{more}")


# -- one query --------------------------------------------------------------------------------------------------------


def read_request(query: object, documents: Any) -> Request:
    """
    Raises:
        RrarankError: the query is no string, or as `read_documents` does.
    """
    return Request(0, _query(query, "query"), read_documents(documents))


def read_documents(documents: Any, what: str = "document") -> Given:  # Any: all the shapes below
    """From strings, objects with a text field, (id, text) pairs, {id: text}, a pandas Series or DataFrame.

    Raises:
        RrarankError: something else is among them, or a text is missing.
    """
    rows: list[Any]
    if field := text_field(documents):
        raise RrarankError(f"{what}s is one document, as it has the field {field!r}; put it in a list")
    if not _is_listing(documents):
        raise RrarankError(f"{what}s is of type {type(documents).__name__}, expected a list of documents")
    if is_frame(documents):
        check_columns(documents, f"{what}s")
        rows, names = documents.to_dict("records"), list(documents.index)
    elif isinstance(documents, Mapping):
        rows, names = list(documents.values()), list(documents)
    elif is_series(documents):
        rows, names = list(documents), list(documents.index)
    else:
        rows = list(documents)
        names = list(range(len(rows)))
    parts = [_parts(row, f"{what} {place}") for place, row in enumerate(rows)]
    texts = [check_text(text, f"{what} {place}") for place, (_, text) in enumerate(parts)]
    own = names if isinstance(documents, Mapping) else [one for one, _ in parts]
    ids = _checked_ids(own, names, what, hint=", or use .reset_index(drop=True)" if hasattr(documents, "iloc") else "")
    return Given(ids, texts, rows)


def _checked_ids(own: Sequence[Any], names: Sequence[Any], what: str, hint: str) -> Sequence[Any]:
    """The documents' own ids, or where none has one, their names: keys, the index, or places.

    Raises:
        RrarankError: some have an id and some have none, or two ids are one as strings.
    """
    without = [place for place, one in enumerate(own) if is_missing(one)]
    if 0 < len(without) < len(own):
        place, one = next((place, one) for place, one in enumerate(own) if not is_missing(one))
        seen = f"{what} {place} has the id {one!r}, {what} {without[0]} has none"
        raise RrarankError(f"{what}s: {seen}; give all an id, or none")
    ids = names if without else own
    first: dict[str, int] = {}
    for place, one in enumerate(ids):
        if (other := first.setdefault(str(one), place)) != place:
            seen = f"{what} {other} has the id {ids[other]!r}, {what} {place} has the id {one!r}"
            raise RrarankError(f"{what}s: {seen}; give each its own{hint if without else ''}")
    return ids


def _parts(row: Any, where: str) -> tuple[Any, str]:
    """Its own id, None if it has none, and the text."""
    if isinstance(row, str):
        return None, row
    held = fields_of(row)
    if held or isinstance(row, Mapping):
        there = {field: value for field, value in held.items() if not is_missing(value)}
        empty = [field for field in TEXT_FIELDS if field in held and field not in there]
        if empty and not any(field in there for field in TEXT_FIELDS):
            raise RrarankError(f"{where}: its {empty[0]!r} is {held[empty[0]]}, expected a string")
        return next((there[field] for field in OBJECT_IDS if field in there), None), document_text(there, where)
    if isinstance(row, tuple) and len(row) == 2 and isinstance(row[1], str):
        return row[0], row[1]
    raise RrarankError(f"{where} {_seen(row)}, {_EXPECTED}")


# -- several queries --------------------------------------------------------------------------------------------------


def read_requests(queries: Any, documents: Any = None) -> list[Request]:
    """The queries, each with its documents.

    Args:
        queries: strings, {qid: query}, or a DataFrame with the columns qid and query.
        documents: a list of documents for each query, one list for all, {qid: documents}, or a DataFrame, whose column
            qid says to which query a row belongs; None where the DataFrame of the queries holds the documents too.

    Raises:
        RrarankError: queries and documents do not fit together, or one of them is of another kind.
    """
    asked = read_queries(queries)
    if documents is None and not is_frame(queries):
        raise RrarankError("documents is None, expected a list of documents; only a DataFrame of queries can hold them")
    found = _lists(asked, queries if documents is None else documents, is_keyed=_is_keyed(queries))
    return [Request(qid, query, found[qid]) for qid, query in asked.items()]


def read_queries(queries: Any) -> dict[Any, str]:
    """qid -> query; the place from 0 is the qid where there is none."""
    if not _is_listing(queries):
        raise RrarankError(f"queries is of type {type(queries).__name__}, expected a list of queries; one: `rank`")
    pairs: Iterable[tuple[Any, Any]]
    if is_frame(queries):
        pairs = zip(column(queries, QIDS, "queries"), column(queries, QUERIES, "queries"), strict=True)
    elif isinstance(queries, Mapping) or is_series(queries):
        pairs = queries.items()
    else:
        pairs = enumerate(queries)
    found: dict[Any, str] = {}
    for place, (qid, query) in enumerate(pairs):
        _check_there(qid, place, "queries")
        text = _query(query, f"query {qid!r}")
        if found.setdefault(qid, text) != text:
            raise RrarankError(f"queries: {qid!r} stands for {found[qid]!r} and for {text!r}; keep one")
    check_names(found, "queries")
    return found


def _check_there(qid: Any, place: int, what: str) -> None:
    if is_missing(qid):
        raise RrarankError(f"{what}: the qid in row {place} is {qid}, a missing value; give one, or drop the row")


def _query(query: object, what: str) -> str:
    if isinstance(query, str):
        return check_text(query, what)
    raise RrarankError(f"{what} {_seen(query)}, expected a string")


def _is_listing(thing: Any) -> bool:
    return isinstance(thing, Iterable) and not isinstance(thing, str | bytes)


def _seen(thing: object) -> str:
    kind = type(thing).__name__
    return f"is {thing}, a missing value" if is_missing(thing) and thing is not None else f"is of type {kind}"


def _is_keyed(queries: Any) -> bool:
    return isinstance(queries, Mapping) or is_frame(queries) or is_series(queries)


def _lists(asked: Mapping[Any, str], documents: Any, *, is_keyed: bool) -> Mapping[Any, Given]:
    """qid -> its documents."""
    if is_frame(documents) and find_column(documents, QIDS):
        for place, qid in enumerate(column(documents, QIDS, "documents")):
            _check_there(qid, place, "documents")
        rows = documents.groupby(find_column(documents, QIDS), sort=False, observed=True)
        found = {qid: read_documents(part, f"query {qid!r}: document") for qid, part in rows}
        _check_qids(asked, found)
        return {qid: found.get(qid, Given([], [], [])) for qid in asked}
    if isinstance(documents, Mapping) and is_keyed and all(map(_is_group, documents.values())):
        _check_qids(asked, documents)
        if absent := [qid for qid in asked if qid not in documents]:
            raise RrarankError(f"documents: none for {shown(absent)}; give an empty list where a query has none")
        return {qid: read_documents(documents[qid], f"query {qid!r}: document") for qid in asked}
    held = isinstance(documents, Mapping) or is_frame(documents) or is_series(documents) or text_field(documents)
    if _is_listing(documents) and not held:
        documents = list(documents)
        if documents and all(map(_is_list, documents)) and not any(isinstance(one, Mapping) for one in documents):
            return _a_list_each(asked, documents)
        if not is_keyed:
            _check_pairs(asked, documents)
    shared = read_documents(documents)
    return dict.fromkeys(asked, shared)


def _a_list_each(asked: Mapping[Any, str], documents: Sequence[Any]) -> dict[Any, Given]:
    if len(documents) != len(asked):
        raise RrarankError(f"{len(documents)} lists of documents for {len(asked)} queries; give one list a query")
    return {qid: read_documents(one, f"query {qid!r}: document") for qid, one in zip(asked, documents, strict=True)}


def _check_pairs(asked: Mapping[Any, str], documents: Sequence[Any]) -> None:
    """Refuse as many tuples of strings as there are queries: `zip` makes such groups, and pairs look the same."""
    plain = [one for one in documents if isinstance(one, tuple) and not text_field(one)]
    tuples = [one for one in plain if all(isinstance(part, str) for part in one)]
    if documents and len(tuples) == len(documents) == len(asked):
        seen = f"{len(tuples)} tuples for {len(asked)} queries are (id, text) pairs or the documents of each query"
        raise RrarankError(f"documents: {seen}; give {{id: text}} for the first, lists for the second")


def _is_list(thing: Any) -> bool:
    """Whether it is a list of documents, not a document."""
    if text_field(thing):
        return False
    return isinstance(thing, Iterable) and not isinstance(thing, str | bytes | tuple)


def _is_group(thing: Any) -> bool:
    """The same where a qid says whose documents they are: a tuple is no (id, text) there."""
    return _is_list(thing) or (isinstance(thing, tuple) and not text_field(thing))


def _check_qids(asked: Mapping[Any, str], documents: Iterable[Any]) -> None:
    if unknown := [qid for qid in documents if qid not in asked]:
        known = f"the queries are {shown(asked)}; are the ids of one type?"
        raise RrarankError(f"documents: of {shown(unknown)}, which is no query; {known} ({kind_of(unknown[0])})")
