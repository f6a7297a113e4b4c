"""Zero-shot set-wise re-ranking: an LLM picks the best of a few passages, and a sort does the rest.

Zhuang et al., A Setwise Approach for Effective and Highly Efficient Zero-shot Ranking, SIGIR 2024.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rrarank.data.types import Ranking
from rrarank.engine.reranker import RerankerConfig
from rrarank.llm.base import Messages
from rrarank.llm.choices import read_number
from rrarank.llm.conversations import Asked, Conversation
from rrarank.llm.prompts import SETWISE, load_prompt
from rrarank.llm.questions import PromptedLLM, is_complete
from rrarank.llm.sorting import SORTS, check_sort
from rrarank.rerankers.llm_reranker import LLMReranker, LLMRerankerConfig, in_order

NO_CHOICE = "no ids"
_KNOWN = ("heapsort", "bubblesort")


@dataclass(frozen=True)
class SetwiseConfig(LLMRerankerConfig):
    """Prompt and sort.

    Args:
        prompt: `most-relevant`, or a YAML file of the same form.
        sort: `heapsort` asks least; the questions of `bubblesort` can be counted beforehand.
        group: passages in one question (4: three children and their parent, as in the paper).
        top: documents that are brought to the top; the others keep their order.
    """

    prompt: str = "most-relevant"
    max_tokens: int = 32
    sort: str = "heapsort"
    group: int = 4
    top: int = 10


class SetwiseLLM(LLMReranker):
    """Sort by the best of a group. Where an answer names none, the order stays."""

    name = "setwise-llm"

    Config = SetwiseConfig
    config: SetwiseConfig

    def __init__(self, config: RerankerConfig | None = None) -> None:
        super().__init__(config)  # type: ignore[arg-type]
        check_sort(self.config.sort, self.config.group, self.config.top, _KNOWN)
        prompt = load_prompt(self.config.prompt, SETWISE)
        self.prompted = PromptedLLM(self.llm, prompt, self.config.prompt, self.passage_tokens, self.config.context)

    def conversation(self, ranking: Ranking, verdicts: Counter[str]) -> Conversation[Ranking]:
        sort = SORTS[self.config.sort](len(ranking.candidates), self.config.group, self.config.top)
        best: list[int | None] | None = None
        while True:
            try:
                groups = next(sort) if best is None else sort.send(best)
            except StopIteration as end:
                return in_order(ranking, end.value)
            answers = yield [self._asked(ranking, group) for group in groups]
            found = [
                read_number(answer.text, len(group), finished=is_complete(answer))
                for answer, group in zip(answers, groups, strict=True)
            ]
            verdicts.update(NO_CHOICE if place is None else "ok" for place in found)
            best = [None if place is None else group[place] for place, group in zip(found, groups, strict=True)]

    def _asked(self, ranking: Ranking, shown: Sequence[int]) -> Asked:
        def messages() -> Messages:
            return self.prompted.question(ranking.query.text, [ranking.candidates[n].text for n in shown])[1]

        return Asked(messages, shown)

    def stand_in(self, asked: Asked, worth: Sequence[float]) -> str:
        best = max(range(len(asked.shown)), key=lambda place: worth[asked.shown[place]])
        return f"[{best + 1}]"

    @property
    def is_exact(self) -> bool:
        return self.config.sort != "heapsort"

    def fingerprint(self) -> str:
        settings = (self.config.sort, self.config.group, self.config.top, self.config.context)
        return self.fingerprint_with(self.prompted.prompt.sha256, *settings)
