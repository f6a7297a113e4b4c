"""A model and how it is asked: a query and passages in, a list-wise question out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from rrarank.llm.base import LLM, Answer, Failure, Messages
from rrarank.llm.prompts import Prompt, estimate_tokens, fit, messages
from rrarank.storage.journal import Journal, work_key

T = TypeVar("T")
ENDED = ("stop", "", "eos", "eos_token", "stop_sequence", "end_turn")  # finish reasons of one that ended by itself
TOKENS_AN_ID = 5  # `[12] > `


@dataclass(frozen=True)
class Asking:
    """A model and how it is asked.

    Args:
        name: of the prompt, for those who read what came of it.
        longest: most tokens of a passage.
        context: tokens that the model holds, question and answer together.
    """

    llm: LLM
    prompt: Prompt
    name: str
    longest: int = 300
    context: int = 8192

    def question(self, query: str, passages: Sequence[str], addition: str = "") -> tuple[str, Messages]:
        """(key, messages): the key names all that determines the answer, the messages end with the addition."""
        count = self.llm.count_tokens or estimate_tokens
        budget = min(self.context, self.llm.context or self.context) - self.llm.config.max_tokens - count(addition)
        cut = fit(self.prompt, query, passages, budget=budget, longest=self.longest, count_tokens=count)
        said = messages(self.prompt, query, cut)
        said[-1]["content"] += addition
        return work_key(self.llm.fingerprint(), said), said

    def tokens(self, query: str, passages: Sequence[str]) -> tuple[int, int]:
        """How long question and answer are likely to be."""
        count = self.llm.count_tokens or estimate_tokens
        return sum(count(message["content"]) for message in self.question(query, passages)[1]), (
            TOKENS_AN_ID * len(passages)
        )

    @property
    def described(self) -> dict[str, object]:
        """What determines every answer, as JSON values: no host, no time."""
        own = {"prompt": self.name, "prompt_sha256": self.prompt.sha256}
        return {**self.llm.fingerprint(), **own, "passage_tokens": self.longest, "context": self.context}

    def provenance(self, answer: Answer) -> dict[str, object]:
        """The same of one answer."""
        return {
            **self.described,
            "answered_by": answer.model,
            "answer_id": answer.id,
            "finish_reason": answer.finish_reason,
            "tokens": [answer.prompt_tokens, answer.completion_tokens],
        }


def ended(answer: Answer) -> bool:
    """Whether the model ended its answer by itself."""
    return answer.finish_reason in ENDED


def ask_new(
    llm: LLM, journal: Journal, questions: Iterable[tuple[T, str, Messages]]
) -> Iterator[tuple[T, Answer | Failure]]:
    """(what it is about, outcome) of each (what, key, messages) without an answer on record, in order of completion.

    Questions of one key are asked once, for the first of them. An answer goes to the journal before anything else
    happens to it.
    """
    asked: set[str] = set()
    waiting: dict[str, T] = {}

    def unanswered() -> Iterator[tuple[str, Messages]]:
        for what, key, said in questions:
            if key not in journal and key not in asked:
                asked.add(key)
                waiting[key] = what
                yield key, said

    for key, outcome in llm.answers(unanswered()):
        if isinstance(outcome, Answer):
            journal.add(key, asdict(outcome))
        yield waiting.pop(key), outcome


def recorded(journal: Journal, key: str) -> Answer | None:
    """The answer on record."""
    return Answer(**journal[key]) if key in journal else None
