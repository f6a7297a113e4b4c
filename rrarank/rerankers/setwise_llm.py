"""Zero-shot set-wise re-ranking: an LLM picks the best of a few passages, and a sort does the rest.

Zhuang et al., A Setwise Approach for Effective and Highly Efficient Zero-shot Ranking, SIGIR 2024.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rrarank.llm.choices import read_number
from rrarank.llm.conversations import Asked
from rrarank.llm.listwise import NO_IDS
from rrarank.llm.prompts import SETWISE, load_prompt
from rrarank.llm.questions import PromptedLLM, is_complete
from rrarank.llm.sorting import Group
from rrarank.rerankers.sorting_llm import Choices, SortingConfig, SortingLLM


@dataclass(frozen=True)
class SetwiseConfig(SortingConfig):
    """Prompt and sort.

    Args:
        prompt: `most-relevant`, or a YAML file of the same form.
        sort: `heapsort` asks least; the questions of `bubblesort` can be counted beforehand.
        group: passages in one question (4: three children and their parent, as in the paper).
        top: documents that are brought to the top; the others keep their order.
    """

    prompt: str = "most-relevant"
    group: int = 4


class SetwiseLLM(SortingLLM):
    """Sort by the best of a group. Where an answer names none, the order stays."""

    name = "setwise-llm"

    Config = SetwiseConfig
    config: SetwiseConfig
    sorts = ("heapsort", "bubblesort")

    def __init__(self, config: SetwiseConfig | None = None) -> None:
        super().__init__(config)
        prompt = load_prompt(self.config.prompt, SETWISE)
        self.prompted = PromptedLLM(self.llm, prompt, self.config.prompt, self.passage_tokens, self.config.context)

    @property
    def group(self) -> int:
        return self.config.group

    def chosen(self, query: str, passages: Sequence[str], groups: Sequence[Group], verdicts: Counter[str]) -> Choices:
        answers = yield [self._asked(query, passages, group) for group in groups]
        found = [
            read_number(answer.text, len(group), finished=is_complete(answer))
            for answer, group in zip(answers, groups, strict=True)
        ]
        verdicts.update(NO_IDS if place is None else "ok" for place in found)
        return [None if place is None else group[place] for place, group in zip(found, groups, strict=True)]

    def _asked(self, query: str, passages: Sequence[str], shown: Sequence[int]) -> Asked:
        return Asked(lambda: self.prompted.question(query, [passages[number] for number in shown])[1], shown)

    def stand_in(self, asked: Asked, worth: Sequence[float]) -> str:
        best = max(range(len(asked.shown)), key=lambda place: worth[asked.shown[place]])
        return f"[{best + 1}]"

    def fingerprint(self) -> str:
        settings = (self.config.sort, self.config.group, self.config.top, self.config.context)
        return self.fingerprint_with(self.prompted.prompt.sha256, *settings)
