"""Zero-shot list-wise re-ranking by an LLM, in windows that slide from the bottom to the top (RankGPT).

Sun et al., EMNLP 2023. RRADistill's row HCX-L (zero-shot), for any OpenAI-compatible endpoint or local model. Several
permutations of a window are merged as in permutation self-consistency (Tang et al., NAACL 2024).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rrarank.data.types import Ranking
from rrarank.errors import RrarankError
from rrarank.llm.base import Messages
from rrarank.llm.consistency import merge, shuffles, unshuffled
from rrarank.llm.conversations import Asked, Conversation
from rrarank.llm.listwise import windows
from rrarank.llm.prompts import load_prompt
from rrarank.llm.questions import PromptedLLM, is_complete
from rrarank.rerankers.llm_reranker import LLMReranker, LLMRerankerConfig, in_order

_SCHEMA: Mapping[str, object] = {
    "type": "object",
    "properties": {"ranking": {"type": "array", "items": {"type": "integer"}}},
    "required": ["ranking"],
    "additionalProperties": False,
}
_IN_JSON = '\n\nWrite the order as a JSON object and nothing else: {"ranking": [2, 1]} stands for [2] > [1].'


@dataclass(frozen=True)
class ListwiseConfig(LLMRerankerConfig):
    """Prompt and windows.

    Args:
        prompt: `rank-all`, `relevant-only`, the same with `-ko` in Korean, or a YAML file with rank_llm's keys.
        window, step: passages in one question, and how far the window moves (20 and 10: RankGPT). A window of 0 shows
            all candidates at once.
        permutations: how often a window is asked about, each time in another order; their answers are merged.
        seed: of these orders.
        json: ask for answers by a JSON schema; an endpoint that refuses one is asked without it.
    """

    prompt: str = "rank-all"
    window: int = 20
    step: int = 10
    permutations: int = 1
    seed: int = 42
    json: bool = False


class ListwiseLLM(LLMReranker):
    """Ask about the windows of a query one by one, bottom to top; re-append the documents that an answer omits."""

    name = "listwise-llm"

    Config = ListwiseConfig
    config: ListwiseConfig

    def __init__(self, config: ListwiseConfig | None = None) -> None:
        super().__init__(config)
        if self.config.window:
            list(windows(0, self.config.window, self.config.step))  # raises if the step would skip positions
        if self.config.permutations < 1:
            raise RrarankError(f"permutations {self.config.permutations}, expected 1 or more")
        prompt = load_prompt(self.config.prompt)
        if self.config.json and prompt.letters:
            raise RrarankError(f"{self.config.prompt}: names passages by letters; leave out json=true")
        self.prompted = PromptedLLM(self.llm, prompt, self.config.prompt, self.passage_tokens, self.config.context)

    def llm_settings(self) -> Mapping[str, object]:
        seed = {"seed": None}  # of the shuffles, not of the model
        return seed | {"schema": _SCHEMA} if self.config.json else seed

    def conversation(self, ranking: Ranking, verdicts: Counter[str]) -> Conversation[Ranking]:
        order = list(range(len(ranking.candidates)))
        for start, end in self._windows(len(order)):
            window, count = order[start:end], end - start
            shown = shuffles(count, self.config.permutations, self.config.seed)
            answers = yield [self._asked(ranking, [window[place] for place in one]) for one in shown]
            parsed = [self.prompted.parse(one.text, count, is_complete(one)) for one in answers]
            verdicts.update(one.verdict for one in parsed)
            places = merge([unshuffled(*both) for both in zip(parsed, shown, strict=True)], count)
            order[start:end] = [window[place] for place in places]
        return in_order(ranking, order)

    def _windows(self, count: int) -> list[tuple[int, int]]:
        size = self.config.window or max(count, 1)
        found = windows(count, size, min(self.config.step, size))
        return [(start, end) for start, end in found if end - start > 1]

    def _asked(self, ranking: Ranking, shown: Sequence[int]) -> Asked:
        def messages() -> Messages:
            found = [ranking.candidates[number] for number in shown]
            texts, scores = [one.text for one in found], [one.score for one in found]
            return self.prompted.question(ranking.query.text, texts, _IN_JSON * self.config.json, scores)[1]

        return Asked(messages, shown)

    def stand_in(self, asked: Asked, worth: Sequence[float]) -> str:
        best_first = sorted(range(len(asked.shown)), key=lambda place: -worth[asked.shown[place]])
        ids = [chr(ord("A") + n) if self.prompted.prompt.letters else str(n + 1) for n in best_first]
        return " > ".join(f"[{one}]" for one in ids)

    def fingerprint(self) -> str:
        settings: tuple[object, ...] = (self.config.window, self.config.step, self.passage_tokens, self.config.context)
        if self.config.permutations > 1:
            settings += (self.config.permutations, self.config.seed)
        return f"{self.name} {self.llm.fingerprint()} {self.prompted.prompt.sha256} {settings}"
