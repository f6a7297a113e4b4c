"""Documents as Python programs have them, in; the same documents with rank and score, out."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, overload

from rrarank.data.documents import ID_FIELDS, document_text
from rrarank.data.trec import best_first, falling_docid, place_of
from rrarank.data.types import Candidate, Hit, Query, Ranking, blank_last
from rrarank.errors import RrarankError
from rrarank.extras import importing

_EXPECTED = "expected a string, an object with a text field, or (id, text)"


@dataclass(frozen=True)
class RankedDocument:
    """A document with its rank (from 1) and score (higher is better).

    Args:
        id: its own id, or its place in the input, from 0.
        document: the object that was given.
    """

    rank: int
    score: float
    id: Any
    text: str
    document: Any


class RankedDocuments(Sequence[RankedDocument]):
    """Documents, best first; prints as a table."""

    def __init__(self, documents: Iterable[RankedDocument]) -> None:
        self._documents = tuple(documents)

    @overload
    def __getitem__(self, place: int) -> RankedDocument: ...
    @overload
    def __getitem__(self, place: slice) -> RankedDocuments: ...
    def __getitem__(self, place: int | slice) -> RankedDocument | RankedDocuments:
        found = self._documents[place]
        return RankedDocuments(found) if isinstance(found, tuple) else found

    def __len__(self) -> int:
        return len(self._documents)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RankedDocuments) and self._documents == other._documents

    def __hash__(self) -> int:
        return hash(tuple((one.rank, one.score, one.text) for one in self._documents))

    def __repr__(self) -> str:
        rows = [f"{one.rank:>4}  {one.score:>8.4f}  {one.id!s:<12.12}  {_short(one.text)}" for one in self._documents]
        return "\n".join([f"{'rank':>4}  {'score':>8}  {'id':<12}  text", *rows])

    def _repr_html_(self) -> str:
        cells = [(str(one.rank), f"{one.score:.4f}", str(one.id), _short(one.text)) for one in self._documents]
        rows = (f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
        return f"<table><tr><th>rank</th><th>score</th><th>id</th><th>text</th></tr>{''.join(rows)}</table>"

    def to_pandas(self) -> Any:  # pandas has no types here
        """A DataFrame with the columns rank, score, id, text, document."""
        with importing():
            import pandas

        names = [field.name for field in fields(RankedDocument)]
        return pandas.DataFrame([[getattr(one, name) for name in names] for one in self._documents], columns=names)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:59]}…"


@dataclass(frozen=True)
class Given:
    """The documents of a caller: ids, texts and the objects themselves, in the same order."""

    ids: Sequence[Any]
    texts: Sequence[str]
    documents: Sequence[Any]

    def ranking(self, query: str) -> Ranking:
        """The documents as candidates in the given order; equal scores keep that order."""
        places = range(len(self.texts))
        candidates = (Candidate(falling_docid(n), self.texts[n], float(-n)) for n in places)
        return Ranking(Query("1", query), tuple(candidates))

    def ranked(self, ranking: Ranking, top_k: int | None) -> RankedDocuments:
        """What a reranker made of `ranking`, as results."""
        scores = {place_of(c.docid): c.score for c in ranking.candidates}
        kept = blank_last(self.texts, [scores[place] for place in range(len(self.texts))])
        hits = best_first(Hit(falling_docid(place), score) for place, score in enumerate(kept))[:top_k]
        order = [(place_of(hit.docid), hit.score) for hit in hits]
        return RankedDocuments(
            RankedDocument(rank, score, self.ids[place], self.texts[place], self.documents[place])
            for rank, (place, score) in enumerate(order, start=1)
        )


def read_documents(documents: Any) -> Given:  # Any: all the shapes below
    """From strings, objects with a text field, (id, text) pairs, {id: text}, a pandas Series or DataFrame.

    Raises:
        RrarankError: something else is among them.
    """
    rows: list[Any]
    if isinstance(documents, str | bytes) or not hasattr(documents, "__iter__"):
        raise RrarankError(f"documents is of type {type(documents).__name__}, expected a list of documents")
    if hasattr(documents, "columns") and hasattr(documents, "to_dict"):  # a DataFrame
        rows, names = documents.to_dict("records"), list(documents.index)
    elif isinstance(documents, Mapping):
        rows, names = list(documents.values()), list(documents)
    elif hasattr(documents, "index") and hasattr(documents, "items"):  # a Series
        rows, names = list(documents), list(documents.index)
    else:
        rows = list(documents)
        names = list(range(len(rows)))
    parts = [_parts(row, name, f"document {place}") for place, (row, name) in enumerate(zip(rows, names, strict=True))]
    return Given([name for name, _ in parts], [text for _, text in parts], rows)


def _parts(row: Any, name: Any, where: str) -> tuple[Any, str]:
    """The id and the text."""
    if isinstance(row, str):
        return name, row
    if isinstance(row, Mapping):
        return next((row[field] for field in ID_FIELDS if row.get(field) is not None), name), document_text(row, where)
    if isinstance(row, tuple) and len(row) == 2 and isinstance(row[1], str):
        return row[0], row[1]
    raise RrarankError(f"{where} is of type {type(row).__name__}, {_EXPECTED}")


def check_request(query: object, top_k: object) -> None:
    if not isinstance(query, str):
        raise RrarankError(f"query is of type {type(query).__name__}, expected a string")
    if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
        raise RrarankError(f"top_k {top_k!r}: expected a whole number from 1, or None for all")
