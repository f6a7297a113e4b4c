"""Zero-shot pair-wise ranking prompting (PRP): an LLM says which of two passages is better, asked in both orders.

Qin et al., Large Language Models are Effective Text Rankers with Pairwise Ranking Prompting, Findings of NAACL 2024.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rrarank.data.types import Ranking
from rrarank.engine.reranker import RerankerConfig
from rrarank.llm.base import Answer
from rrarank.llm.choices import read_label
from rrarank.llm.conversations import Asked, Conversation
from rrarank.llm.pair_prompts import load_pair_prompt, pair_messages
from rrarank.llm.sorting import SORTS, check_sort
from rrarank.rerankers.llm_reranker import LLMReranker, LLMRerankerConfig, in_order

NO_CHOICE = "no ids"


@dataclass(frozen=True)
class PairwiseConfig(LLMRerankerConfig):
    """Prompt and sort.

    Args:
        prompt: `better-of-two`, or a YAML file with rank_llm's keys for pair-wise prompts.
        sort: `heapsort`, `bubblesort` (PRP-Sliding with `top` passes), or `allpairs`.
        top: documents that the first two bring to the top; the others keep their order.
    """

    prompt: str = "better-of-two"
    max_tokens: int = 32
    sort: str = "heapsort"
    top: int = 10


class PairwiseLLM(LLMReranker):
    """Sort by comparing two passages. Each pair is asked about in both orders; answers that contradict are a tie."""

    name = "pairwise-llm"

    Config = PairwiseConfig
    config: PairwiseConfig

    def __init__(self, config: RerankerConfig | None = None) -> None:
        super().__init__(config)  # type: ignore[arg-type]
        check_sort(self.config.sort, 2, self.config.top, tuple(SORTS))
        self.prompt = load_pair_prompt(self.config.prompt, "pairwise")

    def conversation(self, ranking: Ranking, verdicts: Counter[str]) -> Conversation[Ranking]:
        passages = self.cut_passages(ranking)
        sort = SORTS[self.config.sort](len(passages), 2, self.config.top)
        best: list[int | None] | None = None
        while True:
            try:
                pairs = next(sort) if best is None else sort.send(best)
            except StopIteration as end:
                return in_order(ranking, end.value)
            both = [order for pair in pairs for order in (tuple(pair), tuple(pair)[::-1])]
            answers = yield [self._asked(ranking, passages, order) for order in both]
            chosen = [self._chosen(*one, verdicts) for one in zip(answers, both, strict=True)]
            best = [one if one == other else None for one, other in zip(chosen[::2], chosen[1::2], strict=True)]

    def _asked(self, ranking: Ranking, passages: Sequence[str], shown: Sequence[int]) -> Asked:
        texts = [passages[number] for number in shown]
        return Asked(lambda: pair_messages(self.prompt, ranking.query.text, texts), shown)

    def _chosen(self, answer: Answer, shown: Sequence[int], verdicts: Counter[str]) -> int | None:
        place = read_label(answer.text, self.prompt.labels)
        verdicts[NO_CHOICE if place is None else "ok"] += 1
        return None if place is None else shown[place]

    def stand_in(self, asked: Asked, worth: Sequence[float]) -> str:
        first, second = asked.shown
        return self.prompt.labels[0 if worth[first] > worth[second] else 1]

    @property
    def is_exact(self) -> bool:
        return self.config.sort != "heapsort"

    def fingerprint(self) -> str:
        return self.fingerprint_with(self.prompt.sha256, self.config.sort, self.config.top)
