"""Zero-shot pair-wise ranking prompting (PRP): an LLM says which of two passages is better, asked in both orders.

Qin et al., Large Language Models are Effective Text Rankers with Pairwise Ranking Prompting, Findings of NAACL 2024.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rrarank.data.types import Ranking
from rrarank.llm.base import Answer
from rrarank.llm.choices import read_label
from rrarank.llm.conversations import Asked
from rrarank.llm.listwise import NO_IDS
from rrarank.llm.pair_prompts import load_pair_prompt, pair_messages
from rrarank.llm.sorting import Group
from rrarank.rerankers.sorting_llm import Choices, SortingConfig, SortingLLM


@dataclass(frozen=True)
class PairwiseConfig(SortingConfig):
    """Prompt and sort.

    Args:
        prompt: `better-of-two`, or a YAML file with rank_llm's keys for pair-wise prompts.
        sort: `heapsort`, `bubblesort` (PRP-Sliding with `top` passes), or `allpairs`.
        top: documents that the first two bring to the top; the others keep their order.
    """

    prompt: str = "better-of-two"


class PairwiseLLM(SortingLLM):
    """Sort by comparing two passages. Each pair is asked about in both orders; answers that contradict are a tie."""

    name = "pairwise-llm"

    Config = PairwiseConfig
    config: PairwiseConfig
    group = 2

    def __init__(self, config: PairwiseConfig | None = None) -> None:
        super().__init__(config)
        self.prompt = load_pair_prompt(self.config.prompt, "pairwise")

    def passages(self, ranking: Ranking) -> list[str]:
        return self.cut_passages(ranking)

    def chosen(self, query: str, passages: Sequence[str], groups: Sequence[Group], verdicts: Counter[str]) -> Choices:
        both = [order for pair in groups for order in (tuple(pair), tuple(pair)[::-1])]
        answers = yield [self._asked(query, passages, order) for order in both]
        found = [self._chosen(*one, verdicts) for one in zip(answers, both, strict=True)]
        return [one if one == other else None for one, other in zip(found[::2], found[1::2], strict=True)]

    def _asked(self, query: str, passages: Sequence[str], shown: Sequence[int]) -> Asked:
        texts = [passages[number] for number in shown]
        return Asked(lambda: pair_messages(self.prompt, query, texts), shown)

    def _chosen(self, answer: Answer, shown: Sequence[int], verdicts: Counter[str]) -> int | None:
        place = read_label(answer.text, self.prompt.labels)
        verdicts[NO_IDS if place is None else "ok"] += 1
        return None if place is None else shown[place]

    def stand_in(self, asked: Asked, worth: Sequence[float]) -> str:
        first, second = asked.shown
        return self.prompt.labels[0 if worth[first] > worth[second] else 1]

    def fingerprint(self) -> str:
        return self.fingerprint_with(self.prompt.sha256, self.config.sort, self.config.top)
