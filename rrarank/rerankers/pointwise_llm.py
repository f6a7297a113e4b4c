"""Zero-shot point-wise re-ranking: an LLM says whether a passage answers the query; the score is its log-odds of yes.

As in rank_llm's and llm-rankers' yes/no ranking (Liang et al., HELM, 2022). The endpoint must give log-probabilities;
without them a passage is above another only if the one gets a yes and the other a no.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rrarank.data.types import Ranking
from rrarank.engine.reranker import reorder
from rrarank.llm.choices import read_yes_no
from rrarank.llm.conversations import Asked, Conversation
from rrarank.llm.listwise import NO_IDS
from rrarank.llm.pair_prompts import load_pair_prompt, pair_messages
from rrarank.rerankers.llm_reranker import LLMReranker, LLMRerankerConfig, in_order

_LOG = logging.getLogger(__name__)
ALTERNATIVES = 20  # the most that OpenAI gives


@dataclass(frozen=True)
class PointwiseConfig(LLMRerankerConfig):
    """The prompt.

    Args:
        prompt: `yes-no`, or a YAML file with rank_llm's keys for point-wise prompts.
    """

    prompt: str = "yes-no"
    max_tokens: int = 1


class PointwiseLLM(LLMReranker):
    """Score each passage on its own, by the log-odds of yes against no as first token.

    An answer that is neither puts its passage last. With no log-probability at all, a passage's score is its place.
    """

    name = "pointwise-llm"

    Config = PointwiseConfig
    config: PointwiseConfig

    def __init__(self, config: PointwiseConfig | None = None) -> None:
        super().__init__(config)
        self.prompt = load_pair_prompt(self.config.prompt, "pointwise")
        self._warned = False

    def llm_settings(self) -> Mapping[str, object]:
        return {"top_logprobs": ALTERNATIVES}

    def conversation(self, ranking: Ranking, verdicts: Counter[str]) -> Conversation[Ranking]:
        if not ranking.candidates:
            return ranking
        answers = yield [self._asked(ranking, *one) for one in enumerate(self.cut_passages(ranking))]
        found = [read_yes_no(answer.text, answer.first) for answer in answers]
        verdicts.update(NO_IDS if one is None else "ok" for one in found)
        known = [one for one in found if one is not None]
        scores = [min(known) - 1 if one is None else one for one in found] if known else [0.0] * len(found)
        if known and all(answer.first for answer in answers):
            return reorder(ranking, scores)
        self._warn()
        return in_order(ranking, sorted(range(len(scores)), key=lambda number: -scores[number]))

    def _asked(self, ranking: Ranking, number: int, passage: str) -> Asked:
        return Asked(lambda: pair_messages(self.prompt, ranking.query.text, [passage]), [number])

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            _LOG.warning("%s gives no log-probabilities: answers are only yes or no, and ties stay", self.model_name)

    def stand_in(self, asked: Asked, worth: Sequence[float]) -> str:
        return "yes"

    def fingerprint(self) -> str:
        return self.fingerprint_with(self.prompt.sha256)
