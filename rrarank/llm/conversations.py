"""Many conversations at once: each asks what its answers so far call for, and all share one line to the LLM.

A conversation is a generator: it yields questions that may be asked at the same time, gets their answers in the same
order, and returns its result. Whether the answers come from a model or from a stand-in makes no difference to it, so
that a forecast runs the same code.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeVar

from rrarank.llm.base import LLM, Answer, Failure, Messages
from rrarank.llm.questions import count_chat

T = TypeVar("T")
SAMPLE = 2000  # questions whose tokens are counted for a forecast


@dataclass(frozen=True)
class Asked:
    """A question.

    Args:
        messages: makes the chat, once it is needed.
        shown: the candidates, by number, in the order of the prompt.
    """

    messages: Callable[[], Messages]
    shown: Sequence[int]


Conversation = Generator[list[Asked], list[Answer], T]


class Unanswered(Exception):
    """A question got no answer.

    Args:
        number: of the conversation.
    """

    def __init__(self, number: int, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.number, self.failure = number, failure


class _Line:
    """Questions that wait; an iterator that may have more after it had none."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, Asked]] = deque()

    def add(self, key: str, asked: Asked) -> None:
        self._waiting.append((key, asked))

    def __iter__(self) -> Iterator[tuple[str, Messages]]:
        return self

    def __next__(self) -> tuple[str, Messages]:
        if not self._waiting:
            raise StopIteration
        key, asked = self._waiting.popleft()
        return key, asked.messages()


@dataclass
class _Turn:
    """The answers that a conversation waits for."""

    answers: list[Answer | None]
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = len(self.answers)


def converse(
    llm: LLM, conversations: Sequence[Conversation[T]], heard: Callable[[int, Answer], None] = lambda *_: None
) -> list[T]:
    """The results, in order.

    Args:
        heard: called with the number of the conversation and each of its answers.

    Raises:
        Unanswered: for the first question without an answer.
    """
    line, turns, results = _Line(), dict[int, _Turn](), dict[int, T]()

    def go_on(number: int, answers: list[Answer] | None) -> None:
        conversation = conversations[number]
        try:
            asked = next(conversation) if answers is None else conversation.send(answers)
        except StopIteration as end:
            results[number] = end.value
            return
        assert asked, "a conversation asks nothing and does not end"
        turns[number] = _Turn([None] * len(asked))
        for place, one in enumerate(asked):
            line.add(f"{number} {place}", one)

    for number in range(len(conversations)):
        go_on(number, None)
    for key, outcome in llm.answers(line) if turns else ():
        number, place = map(int, key.split())
        if isinstance(outcome, Failure):
            raise Unanswered(number, outcome)
        heard(number, outcome)
        turn = turns[number]
        turn.answers[place] = outcome
        turn.left -= 1
        if not turn.left:
            go_on(number, [one for one in turn.answers if one])
    return [results[number] for number in range(len(conversations))]


# -- forecast ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forecast:
    """What a job would ask.

    Args:
        prompt_tokens: of all questions, from the mean of a sample.
        answer_tokens: at most; 0 if there is no limit.
        is_exact: whether the number of questions does not depend on the answers.
        is_counted: whether the model's tokenizer counted, and not an estimate.
    """

    questions: int
    prompt_tokens: int
    answer_tokens: int
    is_exact: bool
    is_counted: bool

    def __str__(self) -> str:
        about, tokens = "" if self.is_exact else "about ", "" if self.is_counted else "about "
        most = f", at most {self.answer_tokens:,} answered" if self.answer_tokens else ""
        return f"{about}{self.questions:,} questions, {tokens}{self.prompt_tokens:,} tokens asked{most}"


def foresee(
    llm: LLM, conversations: Iterable[tuple[Conversation[T], Callable[[Asked], str]]], *, is_exact: bool
) -> Forecast:
    """Hold the conversations, each with a stand-in for the model that answers its questions, and count these."""
    questions, sample, rng = 0, list[Asked](), random.Random(0)
    for conversation, stand_in in conversations:
        try:
            asked = next(conversation)
            while True:
                for one in asked:
                    questions += 1
                    if len(sample) < SAMPLE:
                        sample.append(one)
                    elif (place := rng.randrange(questions)) < SAMPLE:
                        sample[place] = one
                asked = conversation.send([_sure(stand_in(one)) for one in asked])
        except StopIteration:
            pass
    tokens = fmean(count_chat(llm, one.messages()) for one in sample) if sample else 0.0
    answered = questions * llm.config.longest
    return Forecast(questions, round(questions * tokens), answered, is_exact, llm.count_tokens is not None)


def _sure(text: str) -> Answer:
    """The answer of a model that gives log-probabilities and sees no other word."""
    return Answer(text, "stop", first={text: 0.0})
