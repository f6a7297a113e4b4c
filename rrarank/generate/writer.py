"""The questions to the LLM: a prompt, a passage and perhaps examples; and the answers that the journal holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rrarank.errors import RrarankError, shown
from rrarank.llm.base import LLM, Answer, Failure, Messages
from rrarank.llm.questions import ask_unrecorded, count_texts, cut_passage, recorded_answer
from rrarank.llm.text_prompt import TextPrompt, load_text_prompt
from rrarank.sources.collection import Collection
from rrarank.storage.files import read_lines
from rrarank.storage.journal import Journal, work_key


def load_query_prompt(name: str | Path = "query") -> TextPrompt:
    """A prompt that shows one passage and asks for a query, as `load_text_prompt` finds it."""
    return load_text_prompt(name, "query-prompts", {"passage"})


@dataclass(frozen=True)
class Example:
    """A passage and a query that it answers, shown to the model before the question."""

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
    """An LLM with a prompt for queries.

    Args:
        examples: turns of a dialogue before the question.
        passage_tokens: maximum number of tokens of a passage.
    """

    llm: LLM
    prompt: TextPrompt
    examples: Sequence[Example] = ()
    passage_tokens: int = 300

    def question(self, passage: str) -> tuple[str, Messages]:
        """The messages, and their journal key: a hash of all that determines the answer."""
        turns = [("system", self.prompt.system_message)] if self.prompt.system_message else []
        for example in self.examples:
            turns += [("user", self._body(example.passage)), ("assistant", example.query)]
        turns.append(("user", self._body(passage)))
        messages = [{"role": role, "content": text} for role, text in turns]
        return work_key(self.llm.fingerprint(), messages), messages

    def _body(self, passage: str) -> str:
        return self.prompt.body.format(passage=cut_passage(self.llm, passage, self.passage_tokens))

    def tokens(self, passage: str) -> int:
        """Estimate the tokens of the question."""
        return count_texts(self.llm, self.question(passage)[1])

    def provenance(self, answers: Iterable[Answer]) -> dict[str, object]:
        """The settings that determined the answers, as JSON values, without host and time."""
        return {
            **self.llm.fingerprint(),
            "prompt_sha256": self.prompt.sha256,
            "passage_tokens": self.passage_tokens,
            "examples": len(self.examples),
            "answered_by": sorted({answer.model for answer in answers} - {""}),
        }

    def ask(self, passages: Mapping[str, str], journal: Journal) -> Iterator[tuple[str, Answer | Failure]]:
        """Yield (docid, outcome) for each passage without an answer in the journal, in order of completion."""
        questions = ((docid, *self.question(passage)) for docid, passage in passages.items())
        yield from ask_unrecorded(self.llm, journal, questions)

    def answers(self, passages: Mapping[str, str], journal: Journal) -> dict[str, Answer]:
        """docid -> answer from the journal, in the order of the passages; passages without one are left out."""
        found = {docid: recorded_answer(journal, self.question(passage)[0]) for docid, passage in passages.items()}
        return {docid: answer for docid, answer in found.items() if answer is not None}
