"""Ranked documents: small frozen results that print as tables."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from math import isnan, nan
from typing import Any, overload

from rrarank.data.calibration import RelevanceMap
from rrarank.data.trec import best_first, place_of
from rrarank.data.types import Hit, Ranking, Run, blank_last, is_blank
from rrarank.engine.floor import Floor
from rrarank.engine.requests import Given
from rrarank.errors import RrarankError, did_you_mean, printable, shown
from rrarank.extras import importing


@dataclass(frozen=True)
class RankedDocument:
    """A document with its rank (from 1) and score (higher is better).

    Args:
        score: NaN if it has no text, as nothing was scored then.
        id: its own id, or its place in the input, from 0.
        document: the object that was given.
        relevance: the probability that it is relevant; None if the model has no calibration, or it has no text.
    """

    rank: int
    score: float
    id: Any
    text: str
    document: Any
    relevance: float | None = None

    @property
    def score_or_none(self) -> float | None:
        """The score; None if it has no text. JSON has no NaN."""
        return None if isnan(self.score) else self.score


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

    def above(self, floor: Floor) -> RankedDocuments:
        """The documents that the floor keeps, which are the first ones; those without a text are left out.

        Raises:
            RrarankError: a least relevance, and the model has no calibration.
        """
        if not floor:
            return self
        seen = [one for one in self._documents if not is_blank(one.text)]
        if floor.relevance is not None and any(one.relevance is None for one in seen):
            raise RrarankError("min_relevance: the model has no calibration; make one with rrarank calibrate")
        return RankedDocuments(one for one in seen if floor.keeps(one.score, one.relevance))

    def __repr__(self) -> str:
        rows = [f"{one.rank:>4}  {one.score:>8.4f}  {_cell(one.id)}  {_short(one.text)}" for one in self._documents]
        return "\n".join([f"{'rank':>4}  {'score':>8}  {'id':<12}  text", *rows])

    def _repr_html_(self) -> str:
        cells = [(str(one.rank), f"{one.score:.4f}", str(one.id), _short(one.text)) for one in self._documents]
        rows = (f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
        return f"<table><tr><th>rank</th><th>score</th><th>id</th><th>text</th></tr>{''.join(rows)}</table>"

    def to_pandas(self) -> Any:  # pandas has no types here
        """A DataFrame with the columns rank, score, id, text, document, relevance."""
        with importing():
            import pandas

        return pandas.DataFrame([_row(one) for one in self._documents], columns=_COLUMNS)


_COLUMNS = [field.name for field in fields(RankedDocument)]


def _row(one: RankedDocument) -> list[Any]:
    return [getattr(one, name) for name in _COLUMNS]


class RankedLists(Sequence[RankedDocuments]):
    """The documents of several queries, one list a query in the order of the queries; prints the best of each.

    `found["q1"]` is the list of that qid, `found[0]` the first.

    Attributes:
        queries: qid -> query. Where the queries came without ids, the qid is the place, from 0.
    """

    def __init__(self, queries: Mapping[Any, str], lists: Iterable[RankedDocuments]) -> None:
        self.queries = dict(queries)
        self._lists = tuple(lists)

    @overload
    def __getitem__(self, place: int | str) -> RankedDocuments: ...
    @overload
    def __getitem__(self, place: slice) -> RankedLists: ...
    def __getitem__(self, place: int | str | slice) -> RankedDocuments | RankedLists:
        """
        Raises:
            KeyError: no query has that id.
        """
        if isinstance(place, str):
            return self._list_of(place)
        found = self._lists[place]
        if isinstance(found, RankedDocuments):
            return found
        return RankedLists(dict(list(self.queries.items())[place]), found)

    def _list_of(self, qid: str) -> RankedDocuments:
        known = self.by_qid
        if qid not in known:
            hint = did_you_mean(qid, (one for one in known if isinstance(one, str)))
            numbers = "" if all(isinstance(one, str) for one in known) else "; a number is a place, so use .by_qid"
            raise KeyError(f"no query {qid!r}{hint} (known: {shown(known)}{numbers})")
        return known[qid]

    def __contains__(self, thing: object) -> bool:
        return thing in self.queries if isinstance(thing, str) else thing in self._lists

    def __len__(self) -> int:
        return len(self._lists)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RankedLists) and (self.queries, self._lists) == (other.queries, other._lists)

    def __hash__(self) -> int:
        return hash(self._lists)

    def above(self, floor: Floor) -> RankedLists:
        """Each list as `RankedDocuments.above` leaves it."""
        return RankedLists(self.queries, [found.above(floor) for found in self._lists]) if floor else self

    @property
    def by_qid(self) -> dict[Any, RankedDocuments]:
        return dict(zip(self.queries, self._lists, strict=True))

    def __repr__(self) -> str:
        lines = [f"{'qid':<12}  {'docs':>4}  {'score':>8}  {'id':<12}  best text"]
        for qid, found in islice(self.by_qid.items(), _SHOWN):
            best = f"{found[0].score:>8.4f}  {_cell(found[0].id)}  {_short(found[0].text)}" if found else ""
            lines.append(f"{_cell(qid)}  {len(found):>4}  {best}".rstrip())
        more = [f"… and {len(self) - _SHOWN:,} more queries"] if len(self) > _SHOWN else []
        return "\n".join([*lines, *more])

    def _repr_html_(self) -> str:
        parts = (
            f"<p>{html.escape(f'{qid}: {self.queries[qid]}')}</p>{found[:3]._repr_html_()}"
            for qid, found in islice(self.by_qid.items(), _SHOWN)
        )
        more = f"<p>… and {len(self) - _SHOWN:,} more queries</p>" if len(self) > _SHOWN else ""
        return "".join(parts) + more

    def to_pandas(self) -> Any:  # pandas has no types here
        """A DataFrame with the columns qid, query, rank, score, id, text, document, relevance."""
        with importing():
            import pandas

        rows = [[qid, self.queries[qid], *_row(one)] for qid, found in self.by_qid.items() for one in found]
        return pandas.DataFrame(rows, columns=["qid", "query", *_COLUMNS])

    def to_run(self, tag: str = "rrarank") -> Run:
        """A run of these scores, whose qids and docids are strings: for `evaluate_runs` and `write_run`. Documents
        without a text follow the others with falling scores, as in a run of `rerank_run`."""
        return Run({str(qid): _hits(found) for qid, found in self.by_qid.items()}, tag)


def _hits(found: RankedDocuments) -> list[Hit]:
    scores = blank_last([one.text for one in found], [one.score for one in found])
    return [Hit(str(one.id), score) for one, score in zip(found, scores, strict=True)]


_SHOWN = 10
"""Queries in a table."""


def ranked_documents(
    given: Given, ranking: Ranking, top_k: int | None, relevance: RelevanceMap | None = None
) -> RankedDocuments:
    """What a reranker made of the documents, as results. Those without a text, which it was not shown, come last, in
    the given order. `relevance` is its map from scores."""
    hits = best_first(Hit(candidate.docid, candidate.score) for candidate in ranking.candidates)
    scores = {place_of(hit.docid): hit.score for hit in hits}
    order = [*scores, *(place for place in range(len(given.texts)) if place not in scores)][:top_k]
    likely = {place: relevance(scores[place]) for place in order if relevance and place in scores}
    rows = ((place, scores.get(place, nan), likely.get(place)) for place in order)
    return RankedDocuments(
        RankedDocument(rank, score, given.ids[place], given.texts[place], given.documents[place], relevant)
        for rank, (place, score, relevant) in enumerate(rows, start=1)
    )


def _cell(name: object) -> str:
    return f"{printable(str(name)):<12.12}"


def _short(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= 60 else f"{text[:59]}…"
