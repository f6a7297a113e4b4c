"""The data that flows: queries, hits, candidates, rankings, runs. Small and frozen."""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from itertools import count, islice
from typing import Any, NamedTuple, TypeVar

from rrarank.extras import importing

T = TypeVar("T")
_UNSEEN = {"Zs", "Zl", "Zp", "Cc", "Cf"}  # spaces, line ends, controls, zero-width characters


class Hit(NamedTuple):
    """One line of a run: a document and its score (higher is better)."""

    docid: str
    score: float


make_hit = partial(tuple.__new__, Hit)  # Hit._make without a Python call; a run has millions of hits


@dataclass(frozen=True, slots=True)
class Query:
    qid: str
    text: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A hit with its text."""

    docid: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """A query and its candidates, best first."""

    query: Query
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class LabelledRanking:
    """A teacher's order of the candidates it was shown; each is exactly one of listed, missing and unknown.

    Args:
        shown: in prompt order, each with the pre-ranker's score.
        listed: docids, best first.
        missing: docids that the teacher left out: hard negatives, tied, below every listed one.
        unknown: docids about which nothing is known; they give no pairs.
        not_shown: docids of the first stage that the pre-ranker left out.
        faults: of the teacher's answer, the most serious first; empty if there are none.
        answer: the teacher's raw text, if any.
        reasons: docid -> why it is or is not relevant.
        provenance: teacher, rule, model, prompt, parameters, answer id: JSON values.
    """

    query: Query
    shown: tuple[Candidate, ...]
    listed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    not_shown: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    answer: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The gravest fault of the answer, or `ok`."""
        return self.faults[0] if self.faults else "ok"


@dataclass(frozen=True, repr=False)
class Run(Mapping[str, Sequence[Hit]]):
    """qid -> hits, best first; queries keep the order of the file. `tag` names the system."""

    hits: Mapping[str, Sequence[Hit]]
    tag: str = ""

    def __getitem__(self, qid: str) -> Sequence[Hit]:
        return self.hits[qid]

    def __iter__(self) -> Iterator[str]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    def __repr__(self) -> str:
        return f"<Run {self.tag!r}: {len(self):,} queries, {self.hit_count:,} hits>"

    def _repr_html_(self) -> str:
        """The first hits of the first queries, for a notebook."""
        rows = [(qid, ", ".join(f"{hit.docid} ({hit.score:.4g})" for hit in self[qid][:3])) for qid in islice(self, 5)]
        cells = "".join(f"<tr><td>{escape(qid)}</td><td>{escape(hits)}</td></tr>" for qid, hits in rows)
        head = "<tr><th>qid</th><th>best first</th></tr>"
        return f"<p>{escape(repr(self)[1:-1])}</p><table>{head}{cells}</table>"

    def to_pandas(self) -> Any:  # pandas has no types here
        """A DataFrame with PyTerrier's columns: qid, docno, score, and rank, from 0."""
        with importing():
            import pandas

        rows = [(qid, *hit, rank) for qid, hits in self.items() for rank, hit in enumerate(hits)]
        return pandas.DataFrame(rows, columns=["qid", "docno", "score", "rank"])

    @property
    def hit_count(self) -> int:
        if isinstance(self.hits, PackedHits):
            return self.hits.hit_count
        return sum(map(len, self.hits.values()))


class PackedHits(Mapping[str, Sequence[Hit]]):
    """qid -> hits, stored as one string of docids and one array of scores: about 20 bytes per hit instead of 200.

    Docids contain no line feed, as in a TREC file.
    """

    def __init__(self) -> None:
        self._packed: dict[str, tuple[str, array[float]]] = {}

    def add(self, qid: str, hits: Iterable[Hit]) -> None:
        docids, scores = zip(*hits, strict=True)
        self._packed[qid] = ("\n".join(docids), array("d", scores))

    def __getitem__(self, qid: str) -> list[Hit]:
        docids, scores = self._packed[qid]
        return list(map(make_hit, zip(docids.split("\n"), scores, strict=True)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    @property
    def hit_count(self) -> int:
        """Without unpacking them."""
        return sum(len(scores) for _, scores in self._packed.values())


Qrels = Mapping[str, Mapping[str, int]]
"""qid -> docid -> grade."""


class QrelsRead(dict[str, dict[str, int]]):
    """`Qrels` that were read: they print in one line."""

    def __repr__(self) -> str:
        return f"<qrels: {len(self):,} queries, {sum(map(len, self.values())):,} judgments>"


def ranking_of(qid: str, hits: Sequence[Hit], topics: Mapping[str, str], texts: Mapping[str, str]) -> Ranking:
    """The query with its hits whose text is not blank; without hits if the query has no topic."""
    found = ((hit, texts.get(hit.docid, "")) for hit in (hits if qid in topics else ()))
    candidates = (Candidate(hit.docid, text, hit.score) for hit, text in found if not is_blank(text))
    return Ranking(Query(qid, topics.get(qid, "")), tuple(candidates))


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: it is empty, or only spaces, controls and zero-width characters."""
    return all(unicodedata.category(char) in _UNSEEN for char in text)


def blank_last(texts: Sequence[str], scores: Sequence[float]) -> list[float]:
    """The scores, one a text, with every blank text a whole score below the one before it and below all others."""
    seen = [score for text, score in zip(texts, scores, strict=True) if not is_blank(text)]
    below = count(min(seen, default=0.0) - 1, -1)
    return [next(below) if is_blank(text) else score for text, score in zip(texts, scores, strict=True)]


def blocks(things: Iterable[T], size: int) -> Iterator[list[T]]:
    """Consecutive groups of `size`, the last one shorter; itertools.batched from Python 3.12."""
    iterator = iter(things)
    while block := list(islice(iterator, size)):
        yield block
