"""List-wise questions to an LLM, and the answers that the journal holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from rrarank.llm.base import LLM, Answer, Failure, Messages
from rrarank.llm.listwise import Parsed, parse_answer
from rrarank.llm.prompts import Prompt, cut, estimate_tokens, fit, messages, neutralise
from rrarank.storage.journal import Journal, work_key

T = TypeVar("T")
COMPLETE = ("stop", "", "eos", "eos_token", "stop_sequence", "end_turn")  # finish reasons of a complete answer
TOKENS_AN_ID = 5  # `[12] > `


@dataclass(frozen=True)
class PromptedLLM:
    """An LLM with a prompt and the limits of its questions.

    Args:
        name: the prompt's name, for provenance.
        passage_tokens: maximum number of tokens of a passage.
        context: maximum number of tokens of question and answer together.
    """

    llm: LLM
    prompt: Prompt
    name: str
    passage_tokens: int = 300
    context: int = 8192

    def question(
        self, query: str, passages: Sequence[str], addition: str = "", scores: Sequence[float] = ()
    ) -> tuple[str, Messages]:
        """The messages, which end with the addition, and their key, a hash of all that determines the answer.

        Args:
            scores: the first stage's, for prompts that show them.
        """
        count = token_counter(self.llm)
        budget = min(self.context, self.llm.context or self.context) - self.llm.config.longest - count(addition)
        limits = {"budget": budget, "longest": self.passage_tokens}
        fitting = fit(self.prompt, query, passages, **limits, count_tokens=count, scores=scores)
        chat = messages(self.prompt, query, fitting, scores)
        chat[-1]["content"] += addition
        return work_key(self.llm.fingerprint(), chat), chat

    def tokens(self, query: str, passages: Sequence[str]) -> tuple[int, int]:
        """Estimate the tokens of the question and of the answer."""
        return count_texts(self.llm, self.question(query, passages)[1]), TOKENS_AN_ID * len(passages)

    def parse(self, answer: str, count: int, finished: bool = True) -> Parsed:
        """The order of `count` passages in an answer, whose ids are numbers, or letters as the prompt says."""
        if self.prompt.letters:
            answer = _LETTERS.sub(lambda found: f"[{ord(found[1] or found[2]) - ord('A') + 1}]", answer)
        return parse_answer(answer, count, finished=finished)

    @property
    def settings(self) -> dict[str, object]:
        """The settings that determine every answer, as JSON values, without host and time."""
        own = {"prompt": self.name, "prompt_sha256": self.prompt.sha256}
        return {**self.llm.fingerprint(), **own, "passage_tokens": self.passage_tokens, "context": self.context}

    def provenance(self, answer: Answer) -> dict[str, object]:
        """The settings and the facts of one answer."""
        return {
            **self.settings,
            "answered_by": answer.model,
            "answer_id": answer.id,
            "finish_reason": answer.finish_reason,
            "tokens": [answer.prompt_tokens, answer.completion_tokens],
        }


_LETTERS = re.compile(r"\[ ?([A-Z]) ?\]|(?<![\w\[])([A-Z])(?=\s*(?:>|$))", re.MULTILINE)


def token_counter(llm: LLM) -> Callable[[str], int]:
    """Counts the tokens of a text: the model's tokenizer if it is known, else an estimate."""
    return llm.count_tokens or estimate_tokens


def cut_passage(llm: LLM, text: str, limit: int) -> str:
    """The text neutralised, and cut to at most `limit` tokens, for a prompt."""
    return cut(neutralise(text), limit, token_counter(llm))


def count_texts(llm: LLM, chat: Messages) -> int:
    """The tokens of a question's texts, without the marks of a template."""
    count = token_counter(llm)
    return sum(count(message["content"]) for message in chat)


def count_chat(llm: LLM, chat: Messages) -> int:
    """The tokens of a question: by the model's tokenizer and template if they are known, else an estimate."""
    known = llm.count_chat(chat)
    return known or sum(estimate_tokens(message["content"]) + 4 for message in chat)  # 4: marks around a message


def is_complete(answer: Answer) -> bool:
    """Whether the answer is complete, not cut off by a limit or a filter."""
    return answer.finish_reason in COMPLETE


def ask_unrecorded(
    llm: LLM, journal: Journal, questions: Iterable[tuple[T, str, Messages]]
) -> Iterator[tuple[T, Answer | Failure]]:
    """Ask each (subject, key, messages) that has no answer in the journal; yield (subject, outcome) as they complete.

    Questions with the same key are asked once, for the first subject. Each answer is journaled before it is yielded.
    """
    asked: set[str] = set()
    waiting: dict[str, T] = {}

    def unanswered() -> Iterator[tuple[str, Messages]]:
        for subject, key, chat in questions:
            if key not in journal and key not in asked:
                asked.add(key)
                waiting[key] = subject
                yield key, chat

    for key, outcome in llm.answers(unanswered()):
        if isinstance(outcome, Answer):
            journal.add(key, asdict(outcome))
        yield waiting.pop(key), outcome


def recorded_answer(journal: Journal, key: str) -> Answer | None:
    """The answer that the journal holds for this key."""
    return Answer(**journal[key]) if key in journal else None
