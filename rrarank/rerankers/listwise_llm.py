"""Zero-shot list-wise re-ranking by an LLM, in windows that slide from the bottom to the top (RankGPT).

Sun et al., EMNLP 2023. RRADistill's row HCX-L (zero-shot), for any OpenAI-compatible endpoint or local model.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

from rrarank.data.types import Candidate, Ranking
from rrarank.engine.reranker import AsksLLM, Reranker, RerankerConfig
from rrarank.errors import MissingResource, RrarankError
from rrarank.llm.base import Answer, Failure, LLMConfig, Messages
from rrarank.llm.keys import check_key_name
from rrarank.llm.listwise import NO_ORDER, Parsed, parse_answer, reappend, windows
from rrarank.llm.load import load_llm
from rrarank.llm.prompts import load_prompt
from rrarank.llm.questions import PromptedLLM, is_complete

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ListwiseConfig(RerankerConfig):
    """Model, prompt and windows.

    Args:
        base_url: an OpenAI-compatible endpoint; empty: OPENAI_BASE_URL, or `model` is a folder.
        api_key_env: variable with the key: RRARANK_… or the usual name of a provider's key, as a table may name it.
        temperature: 0 is greedy; `none` sends no temperature, as some models refuse one.
        prompt: `rank-all`, `relevant-only`, or a YAML file with rank_llm's keys.
        window, step: passages in one question, and how far the window moves (20 and 10: RankGPT).
        context: tokens of question and answer; `max_length` cuts a passage (0: 300 tokens; rank_llm: 300 words).
        in_flight: maximum number of concurrent requests; the queries of a block are asked concurrently.
        extra: more fields of the request's JSON body.
    """

    base_url: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    key_header: str = "Authorization"
    prompt: str = "rank-all"
    window: int = 20
    step: int = 10
    context: int = 8192
    max_tokens: int = 1024
    temperature: float | Literal["none"] = 0.0
    in_flight: int = 8
    timeout_s: float = 60.0
    total_s: float = 300.0
    extra: Mapping[str, object] = field(default_factory=dict)


class ListwiseLLM(Reranker, AsksLLM):
    """Ask about the windows of a query one by one, bottom to top; re-append the documents that an answer omits.

    An LLM gives an order, not scores: a document's score is the number of candidates at or below it.
    """

    name = "listwise-llm"

    Config = ListwiseConfig
    model_is_files = False
    config: ListwiseConfig

    def __init__(self, config: ListwiseConfig | None = None) -> None:
        super().__init__(config)
        if not self.config.model:
            raise RrarankError("listwise-llm needs --model: a model folder, or the name of a model at the endpoint")
        list(windows(0, self.config.window, self.config.step))  # raises if the step would skip positions
        check_key_name(self.config.api_key_env)
        names = {field.name for field in fields(LLMConfig)} & {field.name for field in fields(self.config)}
        settings = {name: getattr(self.config, name) for name in names}
        temperature = None if self.config.temperature == "none" else self.config.temperature
        llm = load_llm(LLMConfig(**settings | {"temperature": temperature}))
        passage_tokens = self.config.max_length or PromptedLLM.passage_tokens
        prompt = load_prompt(self.config.prompt)
        self.prompted = PromptedLLM(llm, prompt, self.config.prompt, passage_tokens, self.config.context)

    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        orders = [list(ranking.candidates) for ranking in queries]
        verdicts = [Counter[str]() for _ in queries]
        spans = [list(windows(len(order), self.config.window, self.config.step)) for order in orders]
        for turn in range(max(map(len, spans), default=0)):
            asked = {str(i): spans[i][turn] for i in range(len(queries)) if turn < len(spans[i])}
            asked = {i: (start, end) for i, (start, end) in asked.items() if end - start > 1}
            for i, outcome in self.prompted.llm.answers(self._questions(queries, orders, asked)):
                start, end = asked[i]
                order = orders[int(i)]
                parsed = self._parsed(outcome, end - start, queries[int(i)].query.qid)
                order[start:end] = [order[start + place] for place in reappend(parsed)]
                verdicts[int(i)][parsed.verdict] += 1
        for ranking, counted in zip(queries, verdicts, strict=True):
            if self.report:
                self.report(ranking.query.qid, counted)
            elif counted and counted.keys() <= NO_ORDER:
                _LOG.warning("query %r keeps its order: %s ranked nothing", ranking.query.qid, self.model_name)
        return [self._scored(ranking, order) for ranking, order in zip(queries, orders, strict=True)]

    def _questions(
        self, queries: Sequence[Ranking], orders: Sequence[Sequence[Candidate]], asked: Mapping[str, tuple[int, int]]
    ) -> Iterator[tuple[str, Messages]]:
        for i, (start, end) in asked.items():
            passages = [candidate.text for candidate in orders[int(i)][start:end]]
            yield i, self.prompted.question(queries[int(i)].query.text, passages)[1]

    def _parsed(self, outcome: Answer | Failure, count: int, qid: str) -> Parsed:
        if isinstance(outcome, Failure):
            raise MissingResource(f"query {qid!r}: {self.model_name} did not answer ({outcome.reason})")
        return parse_answer(outcome.text, count, finished=is_complete(outcome))

    @staticmethod
    def _scored(ranking: Ranking, order: Sequence[Candidate]) -> Ranking:
        scored = (Candidate(c.docid, c.text, float(len(order) - place)) for place, c in enumerate(order))
        return Ranking(ranking.query, tuple(scored))

    def fingerprint(self) -> str:
        settings = (self.config.window, self.config.step, self.prompted.passage_tokens, self.config.context)
        return f"{self.name} {self.prompted.llm.fingerprint()} {self.prompted.prompt.sha256} {settings}"
