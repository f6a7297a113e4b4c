"""Synthetic queries: a model says what a passage answers, and a search must find the passage by it.

After InPars (Bonifacio et al., SIGIR 2022), filtered by the round trip of Promptagator (Dai et al., ICLR 2023): there
the retriever in training searches, here BM25 does.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from string import Formatter

from rrarank.errors import RrarankError, shown
from rrarank.llm.base import LLM, Answer, Failure, Messages
from rrarank.llm.prompts import UNSPACED, cut, estimate_tokens
from rrarank.llm.questions import ask_new, ended, recorded
from rrarank.sources.lucene import LuceneIndex
from rrarank.sources.texts import Collection
from rrarank.storage.files import find, read_lines
from rrarank.storage.journal import Journal, work_key
from rrarank.storage.yaml_settings import read_yaml

FAULTS = ("refused", "cut short", "empty", "too long", "mentions the passage", "copied", "duplicate", "not found")
"""Why a query is dropped; the first that holds counts."""

COPIED_WORDS = 8  # in a row, of the passage; below it even a person may type them
COPIED_SENTENCE = 4  # words of a sentence copied whole; below it, it is rather a name or a title


@dataclass(frozen=True)
class Attempt:
    """What came of a passage: a query, and the fault for which it is dropped, if it is."""

    docid: str
    query: str
    fault: str = ""

    @property
    def qid(self) -> str:
        """Hangs on docid and query alone, so that the queries of several jobs can be joined."""
        return f"syn-{work_key(self.docid, self.query)[:12]}"


# -- which passages ---------------------------------------------------------------------------------------------------


def sample_passages(
    documents: Iterable[tuple[str, str]],
    number: int,
    *,
    seed: int = 42,
    fewest_words: int = 10,
    leave_out: Container[str] = (),
) -> dict[str, str]:
    """docid -> text of so many passages, in the order of a hash of seed and docid.

    So they stay, and stay in this order, when more are asked for; documents that are added only come between.
    """
    fit = (
        (docid, text)
        for docid, text in documents
        if docid not in leave_out and len(_WORD.findall(text)) >= fewest_words
    )
    return dict(heapq.nsmallest(number, fit, key=lambda document: _hash(f"{seed} {document[0]}")))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


# -- what is asked ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class QueryPrompt:
    """What a model is told: `{passage}` stands in the body, doubled braces are literal."""

    body: str
    system_message: str = ""

    @property
    def sha256(self) -> str:
        """Of what is said, not of the file."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def load_query_prompt(path: str | Path = "") -> QueryPrompt:
    """The prompt of a YAML file with the keys `body` and, if it likes, `system_message`; without one the package's own.

    Raises:
        RrarankError: not YAML, other keys, or a body without `{passage}` or with another placeholder.
    """
    shipped = resources.files("rrarank.prebuilt").joinpath("query-prompts", "query.yaml")
    content = read_yaml(find(path or str(shipped)))
    known = tuple(QueryPrompt.__dataclass_fields__)
    if "body" not in content or content.keys() - set(known):
        raise RrarankError(f"{path}: keys {shown(content)}, expected body and system_message")
    if wrong := [key for key, text in content.items() if not isinstance(text, str)]:
        raise RrarankError(f"{path}: key {wrong[0]!r} is no text; put it in quotes")
    prompt = QueryPrompt(**{key: str(text) for key, text in content.items()})
    if (slots := _slots(prompt.body, path)) != {"passage"}:
        seen = shown(f"{{{name}}}" for name in sorted(slots)) or "no placeholder"
        raise RrarankError(f"{path}: body holds {seen}, expected {{passage}} alone")
    return prompt


def _slots(body: str, path: str | Path) -> set[str]:
    try:
        parts = list(Formatter().parse(body))
    except ValueError as error:
        raise RrarankError(f"{path}: body: {error}; double the braces that stand for themselves") from error
    return {_slot(name, spec or "", conversion or "") for _, name, spec, conversion in parts if name is not None}


def _slot(name: str, spec: str, conversion: str) -> str:
    return name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")


@dataclass(frozen=True)
class Example:
    """A query that a passage answers, shown to the model before it is asked."""

    query: str
    docid: str
    passage: str


def read_examples(path: str | Path, collection: Collection) -> list[Example]:
    """The examples of a file of `query<TAB>docid` lines, with their passages, in the order of the file."""
    pairs = []
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            pairs.append(_example(line, f"{path}:{number}"))
    texts = dict(collection.stream({docid for _, docid in pairs}))
    if absent := [docid for _, docid in pairs if docid not in texts]:
        raise RrarankError(f"{path}: not in {collection.path}: docid {shown(absent)}; expected query<TAB>docid")
    return [Example(query, docid, texts[docid]) for query, docid in pairs]


def _example(line: str, where: str) -> tuple[str, str]:
    query, tab, docid = line.partition("\t")
    if not (query.strip() and docid.strip()):
        raise RrarankError(f"{where}: {'an empty part' if tab else 'no tab'}; expected query<TAB>docid")
    return query.strip(), docid.strip()


@dataclass(frozen=True)
class QueryWriter:
    """A model and how it is asked for a query.

    Args:
        examples: turns of a dialogue before the question.
        longest: most tokens of a passage.
    """

    llm: LLM
    prompt: QueryPrompt
    examples: Sequence[Example] = ()
    longest: int = 300

    def question(self, passage: str) -> tuple[str, Messages]:
        """(key, messages); the key names all that determines the answer."""
        said = [("system", self.prompt.system_message)] if self.prompt.system_message else []
        for example in self.examples:
            said += [("user", self._body(example.passage)), ("assistant", example.query)]
        said.append(("user", self._body(passage)))
        messages = [{"role": role, "content": text} for role, text in said]
        return work_key(self.llm.fingerprint(), messages), messages

    def _body(self, passage: str) -> str:
        count = self.llm.count_tokens or estimate_tokens
        return self.prompt.body.format(passage=cut(" ".join(passage.split()), self.longest, count))

    def tokens(self, passage: str) -> int:
        """How long the question is likely to be."""
        count = self.llm.count_tokens or estimate_tokens
        return sum(count(message["content"]) for message in self.question(passage)[1])

    def provenance(self, answers: Iterable[Answer]) -> dict[str, object]:
        """What determined the answers, as JSON values: no host, no time."""
        return {
            **self.llm.fingerprint(),
            "prompt_sha256": self.prompt.sha256,
            "passage_tokens": self.longest,
            "examples": len(self.examples),
            "answered_by": sorted({answer.model for answer in answers} - {""}),
        }

    def ask(self, passages: Mapping[str, str], journal: Journal) -> Iterator[tuple[str, Answer | Failure]]:
        """(docid, outcome) of every passage without an answer on record, in order of completion; each answer goes to
        the journal before anything else happens to it."""
        questions = ((docid, *self.question(passage)) for docid, passage in passages.items())
        yield from ask_new(self.llm, journal, questions)

    def answers(self, passages: Mapping[str, str], journal: Journal) -> dict[str, Answer]:
        """docid -> the answer on record, in the order of the passages; those without one are left out."""
        found = {docid: recorded(journal, self.question(passage)[0]) for docid, passage in passages.items()}
        return {docid: answer for docid, answer in found.items() if answer is not None}


# -- what is answered -------------------------------------------------------------------------------------------------


def read_attempts(
    passages: Mapping[str, str], answers: Mapping[str, Answer], *, most_words: int = 32, taken: Iterable[str] = ()
) -> list[Attempt]:
    """An attempt for each answer, in their order; of queries equal but for case the first is kept.

    Args:
        taken: queries that are there already.
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
    """The attempts; a query that does not return its passage within the first `keep_top` hits is at fault."""
    topics = {attempt.docid: attempt.query for attempt in attempts if not attempt.fault}
    run = index.search(topics, hits=keep_top, language=language) if topics else {}
    lost = {docid for docid in topics if docid not in {hit.docid for hit in run[docid]}}
    return [replace(attempt, fault="not found") if attempt.docid in lost else attempt for attempt in attempts]


_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")  # of unspaced scripts each character
_AROUND = re.compile(r"^[\W_]+|[\W_]+$")
_SENTENCE_END = re.compile(r"[.!?]+(?:\s|$)|[。！？\n]+")
_REFUSAL = re.compile(
    r"sorry[,.!]|(?:I['’]m|I am) (?:very |so |really )?sorry\b|(?:I['’]m|I am) (?:unable|not able) to\b"
    r"|as an AI\b|unfortunately,|(?:the|this) passage (?:does not|doesn['’]t|is not|isn['’]t)\b"
    r"|I (?:cannot|can not|can['’]t|will not|won['’]t) "
    r"(?:answer|assist|comply|create|fulfil|generate|help|produce|provide|write)"
    r"|죄송|.*할 수 없습니다",
    re.IGNORECASE,
)
_MENTION = re.compile(  # nobody who has not seen it would
    r"\b(?:the|this|given) passage\b|\baccording to (?:the|this) (?:article|author|document|paragraph|text)\b"
    r"|\bquery that\b|(?:이|위|본) ?글(?:에|은|을|의)|본문에",
    re.IGNORECASE,
)


def _fault(query: str, answer: Answer, passage: str, most_words: int) -> str:
    if _REFUSAL.match(query):
        return "refused"
    if not ended(answer) and not read_query("\n".join(_lines(answer.text)[:-1])):  # it broke off within its query
        return "cut short"
    if not query:
        return "empty"
    if len(_WORD.findall(query)) > most_words:
        return "too long"
    if _MENTION.search(query):
        return "mentions the passage"
    return "copied" if _is_copied(query, passage) else ""


def _is_copied(query: str, passage: str) -> bool:
    said = _bare_words(query)
    if len(said) >= COPIED_WORDS and f" {' '.join(said)} " in f" {' '.join(_bare_words(passage))} ":
        return True
    return len(said) >= COPIED_SENTENCE and any(
        said == _bare_words(sentence) for sentence in _SENTENCE_END.split(passage)
    )


def _bare_words(text: str) -> list[str]:
    """Casefolded, without the punctuation around them."""
    return [bare for word in _WORD.findall(text.casefold()) if (bare := _AROUND.sub("", word))]


def _without_case(query: str) -> str:
    return query.casefold().rstrip(" .!?。？")


_THOUGHT = r"(?:think|thinking|thought|reasoning)>"
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
    """The query in an answer, empty if there is none: its first line that is no heading, without mark-up, number,
    label and quotes. A model's thoughts are not read."""
    candidates = (_bare_line(line) for line in _lines(answer))
    return next((query for query in candidates if re.search(r"[^\W_]", query) and query[-1] not in ":："), "")


def _lines(answer: str) -> list[str]:
    """Those of the answer itself that are not blank; one that is empty if there are none."""
    said = re.split(rf"<{_THOUGHT}", re.split(rf"</{_THOUGHT}", answer)[-1])[0]
    return [line for line in said.splitlines() if line.strip()] or [""]


def _bare_line(line: str) -> str:
    line = " ".join(_NOISE.sub(" ", line).split())
    if line.count("**") % 2 == 0:  # an odd one may be meant: what is **kwargs
        line = line.replace("**", "")
    bare = _LEAD.sub("", _unquoted(line))
    return line if bare == line else _bare_line(bare)


def _unquoted(line: str) -> str:
    """The line without the quotes around all of it; `"a" or "b"` is not within quotes, `'what's a'` is."""
    whole = line.rstrip(" .,;")
    opening, inner = whole[:1], whole[1:-1]
    closing = _QUOTES.get(opening, "")
    edge = f"[{re.escape(opening + closing)}]"
    if not closing or whole[-1] != closing or re.search(rf"(?<!\w){edge}|{edge}(?!\w)", inner):
        return line
    return inner.strip()
