"""What the rerankers share that sort candidates by an LLM's choices of the best of a few."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rrarank.data.types import Ranking
from rrarank.llm.base import Answer
from rrarank.llm.conversations import Asked, Conversation
from rrarank.llm.sorting import SORTS, Group, check_sort
from rrarank.rerankers.llm_reranker import LLMReranker, LLMRerankerConfig, in_order

Choices = Generator[list[Asked], list[Answer], list[int | None]]
"""Asks about groups, and returns the best of each; None: the answer names none."""


@dataclass(frozen=True)
class SortingConfig(LLMRerankerConfig):
    """How to sort.

    Args:
        sort: `heapsort` asks least; the questions of the others can be counted beforehand.
        top: documents that are brought to the top; the others keep their order.
    """

    max_tokens: int = 32
    sort: str = "heapsort"
    top: int = 10


class SortingLLM(LLMReranker):
    """Sort by the best of a group of candidates."""

    Config = SortingConfig
    config: SortingConfig
    sorts: ClassVar[Sequence[str]] = tuple(SORTS)

    def __init__(self, config: SortingConfig | None = None) -> None:
        super().__init__(config)
        check_sort(self.config.sort, self.group, self.config.top, self.sorts)

    @property
    @abstractmethod
    def group(self) -> int:
        """Passages in one question."""

    def passages(self, ranking: Ranking) -> list[str]:
        """The candidates' texts, as the questions show them."""
        return [candidate.text for candidate in ranking.candidates]

    @abstractmethod
    def chosen(self, query: str, passages: Sequence[str], groups: Sequence[Group], verdicts: Counter[str]) -> Choices:
        """Ask which of each group is best; count each answer's verdict."""

    def conversation(self, ranking: Ranking, verdicts: Counter[str]) -> Conversation[Ranking]:
        passages = self.passages(ranking)
        sort = SORTS[self.config.sort](len(passages), self.group, self.config.top)
        best: list[int | None] | None = None
        while True:
            try:
                groups = next(sort) if best is None else sort.send(best)
            except StopIteration as end:
                return in_order(ranking, end.value)
            best = yield from self.chosen(ranking.query.text, passages, groups, verdicts)

    @property
    def is_exact(self) -> bool:
        return self.config.sort != "heapsort"
