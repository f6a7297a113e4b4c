"""Synthetic queries: choose passages, read queries from an LLM's answers, keep those that find their passage.

After InPars (Bonifacio et al., SIGIR 2022), with the round-trip filter of Promptagator (Dai et al., ICLR 2023), which
searches with the retriever in training; we search with BM25.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rrarank.data.words import words
from rrarank.llm.base import Answer
from rrarank.llm.questions import is_complete
from rrarank.llm.thoughts import without_thought
from rrarank.sources.lucene import LuceneIndex
from rrarank.storage.journal import work_key

FAULTS = ("refused", "cut short", "empty", "too long", "mentions the passage", "copied", "duplicate", "not found")
"""Why a query is dropped; the first fault that applies counts."""

COPIED_WORDS = 8  # consecutive words of the passage; a person may type fewer
MOST_LETTERS = 5_000  # of a line that is read
COPIED_SENTENCE = 4  # words of a copied sentence; fewer are rather a name or a title


@dataclass(frozen=True)
class Attempt:
    """The query for a passage, and the fault for which it is dropped, if any."""

    docid: str
    query: str
    fault: str = ""

    @property
    def qid(self) -> str:
        """A hash of docid and query, so that the queries of several jobs can be joined."""
        return f"syn-{work_key(self.docid, self.query)[:12]}"


# -- passages ---------------------------------------------------------------------------------------------------


def sample_passages(
    documents: Iterable[tuple[str, str]],
    number: int,
    *,
    seed: int = 42,
    fewest_words: int = 10,
    leave_out: Container[str] = (),
) -> dict[str, str]:
    """docid -> text of `number` passages, in the order of a hash of seed and docid.

    So the same passages come first, in the same order, when more are drawn or documents are added.
    """
    fit = ((docid, text) for docid, text in documents if docid not in leave_out and len(words(text)) >= fewest_words)
    return dict(heapq.nsmallest(number, fit, key=lambda document: _hash(f"{seed} {document[0]}")))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


# -- answers -------------------------------------------------------------------------------------------------


def read_attempts(
    passages: Mapping[str, str], answers: Mapping[str, Answer], *, most_words: int = 32, taken: Iterable[str] = ()
) -> list[Attempt]:
    """An attempt for each answer, in their order; of queries that differ only in case the first is kept.

    Args:
        taken: queries that exist already.
    """
    seen = {_without_case(query) for query in taken}
    attempts = []
    for docid, answer in answers.items():
        query = read_query(answer.text)
        fault = _fault(query, answer, passages[docid], most_words)
        if not fault and _without_case(query) in seen:
            fault = "duplicate"
        if not fault:
            seen.add(_without_case(query))
        attempts.append(Attempt(docid, query, fault))
    return attempts


def round_trip(
    attempts: Sequence[Attempt], index: LuceneIndex, *, keep_top: int = 3, language: str = "en"
) -> list[Attempt]:
    """The attempts; a query whose first `keep_top` hits lack its passage gets the fault `not found`."""
    topics = {attempt.docid: attempt.query for attempt in attempts if not attempt.fault}
    run = index.search(topics, hits=keep_top, language=language) if topics else {}
    lost = {docid for docid in topics if docid not in {hit.docid for hit in run[docid]}}
    return [replace(attempt, fault="not found") if attempt.docid in lost else attempt for attempt in attempts]


_SENTENCE_END = re.compile(r"[.!?]+(?:\s|$)|[。！？\n]+")
_REFUSAL = re.compile(
    r"sorry[,.!]|(?:I['’]m|I am) (?:very |so |really )?sorry\b|(?:I['’]m|I am) (?:unable|not able) to\b"
    r"|as an AI\b|unfortunately,|(?:the|this) passage (?:does not|doesn['’]t|is not|isn['’]t)\b"
    r"|I (?:cannot|can not|can['’]t|will not|won['’]t) "
    r"(?:answer|assist|comply|create|fulfil|generate|help|produce|provide|write)"
    r"|죄송|.*할 수 없습니다",
    re.IGNORECASE,
)
_MENTION = re.compile(  # words of someone who has seen the passage
    r"\b(?:the|this|given) passage\b|\baccording to (?:the|this) (?:article|author|document|paragraph|text)\b"
    r"|\bquery that\b|(?:이|위|본) ?글(?:에|은|을|의)|본문에",
    re.IGNORECASE,
)


def _fault(query: str, answer: Answer, passage: str, most_words: int) -> str:
    if _REFUSAL.match(query):
        return "refused"
    if not is_complete(answer) and not read_query("\n".join(_lines(answer.text)[:-1])):  # cut off within the query
        return "cut short"
    if not query:
        return "empty"
    if len(words(query)) > most_words:
        return "too long"
    if _MENTION.search(query):
        return "mentions the passage"
    return "copied" if _is_copied(query, passage) else ""


def _is_copied(query: str, passage: str) -> bool:
    said = words(query.casefold())
    if len(said) >= COPIED_WORDS and f" {' '.join(said)} " in f" {' '.join(words(passage.casefold()))} ":
        return True
    return len(said) >= COPIED_SENTENCE and any(
        said == words(sentence.casefold()) for sentence in _SENTENCE_END.split(passage)
    )


def _without_case(query: str) -> str:
    return query.casefold().rstrip(" .!?。？")


_NOISE = re.compile(r"[\x00-\x1f\x7f-\x9f]|<\|[^<>\n]*\|>|</?(?:s|query|question|answer)>", re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "`": "`", "*": "*", "“": "”", "‘": "’", "„": "“", "«": "»", "「": "」", "『": "』"}
_LEAD = re.compile(  # `# `, `- `, `1. `, `Query: `, `Sure! Here is a search query: `
    r"^(?:(?:[#>]+|[-–•*])\s+|[(\[]?1[.):\]]+\s+|q ?1?[:：]\s*"
    r"|(?:(?:sure|okay|ok|certainly|of course)[,.!]+ ?)?"
    r"(?:(?:here['’]s|here is|the|an?|one|your|relevant|search|generated|possible|good|web|user) )*"
    r"(?:query|question|검색어|질의|질문|쿼리) ?1?(?:(?: is)?[:：]\s*|$))",
    re.IGNORECASE,
)


def read_query(answer: str) -> str:
    """The query in an answer: its first line that is not a heading, without markup, number, label, quotes and thoughts.
    Empty if there is none."""
    candidates = (_bare_line(line) for line in _lines(answer))
    return next((query for query in candidates if re.search(r"[^\W_]", query) and query[-1] not in ":："), "")


def _lines(answer: str) -> list[str]:
    """The lines of an answer that are not blank; one empty line if there are none."""
    text, _ = without_thought(answer)
    return [line for line in text.splitlines() if line.strip()] or [""]


def _bare_line(line: str) -> str:
    """The line without markup, labels and quotes, however they are nested."""
    bare, line = line[:MOST_LETTERS], ""
    while bare != line:
        line = " ".join(_NOISE.sub(" ", bare).split())
        if line.count("**") % 2 == 0:  # an odd number may be part of the query: what is **kwargs
            line = line.replace("**", "")
        bare = _LEAD.sub("", _unquoted(line))
    return line


def _unquoted(line: str) -> str:
    """The line without quotes around the whole of it; `"a" or "b"` is not quoted, `'what's a'` is."""
    whole = line.rstrip(" .,;")
    opening, inner = whole[:1], whole[1:-1]
    closing = _QUOTES.get(opening, "")
    edge = f"[{re.escape(opening + closing)}]"
    if not closing or whole[-1] != closing or re.search(rf"(?<!\w){edge}|{edge}(?!\w)", inner):
        return line
    return inner.strip()
