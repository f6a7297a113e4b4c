"""What the rerankers that ask an LLM share: its settings, the conversation about each query, forecasts and counts."""

from __future__ import annotations

import logging
import random
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Literal

from rrarank.data.types import Candidate, Ranking
from rrarank.engine.reranker import AsksLLM, HeardOf, Reranker, RerankerConfig
from rrarank.errors import MissingResource, RrarankError
from rrarank.llm.base import Answer, LLMConfig
from rrarank.llm.conversations import Asked, Conversation, Forecast, Unanswered, converse, foresee
from rrarank.llm.keys import check_key_name
from rrarank.llm.listwise import NO_ORDER
from rrarank.llm.load import load_llm
from rrarank.llm.questions import cut_passage

_LOG = logging.getLogger(__name__)
PASSAGE_TOKENS = 300  # of a passage in a prompt, where no max_length says otherwise (rank_llm: 300 words)


@dataclass(frozen=True)
class LLMRerankerConfig(RerankerConfig):
    """Model and endpoint.

    Args:
        base_url: an OpenAI-compatible endpoint; empty: OPENAI_BASE_URL, or `model` is a folder.
        api_key_env: variable with the key: RRARANK_… or the usual name of a provider's key, as a table may name it.
        temperature: 0 is greedy; `none` sends no temperature, as some models refuse one.
        max_tokens: longest answer; `thought_tokens` are added for a model that thinks first.
        reasoning_effort: `low`, `medium`, `high`, …, for models that take one.
        tokenizer: folder of the model's tokenizer, to count tokens as the endpoint does; empty: they are estimated.
        context: tokens of question and answer; `max_length` cuts a passage (0: 300 tokens; rank_llm: 300 words).
        in_flight: maximum number of concurrent requests; the queries of a block are asked concurrently.
        extra: more fields of the request's JSON body.
    """

    base_url: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    key_header: str = "Authorization"
    prompt: str = ""
    context: int = 8192
    max_tokens: int = 1024
    thought_tokens: int = 0
    reasoning_effort: str = ""
    temperature: float | Literal["none"] = 0.0
    tokenizer: str = ""
    in_flight: int = 8
    timeout_s: float = 60.0
    total_s: float = 300.0
    extra: Mapping[str, object] = field(default_factory=dict)


class LLMReranker(Reranker, AsksLLM):
    """Hold a conversation about each query of a block, all at once.

    An LLM gives an order, not scores: a document's score is the number of candidates at or below it.
    """

    Config = LLMRerankerConfig
    model_is_files = False
    config: LLMRerankerConfig

    def __init__(self, config: LLMRerankerConfig | None = None) -> None:
        super().__init__(config)
        if not self.config.model:
            raise RrarankError(f"{self.name} needs --model: a model folder, or the name of a model at the endpoint")
        check_key_name(self.config.api_key_env)
        names = {field.name for field in fields(LLMConfig)} & {field.name for field in fields(self.config)}
        settings = {name: getattr(self.config, name) for name in names} | dict(self.llm_settings())
        temperature = None if self.config.temperature == "none" else self.config.temperature
        self.llm = load_llm(LLMConfig(**settings | {"temperature": temperature}))
        self.passage_tokens = self.config.max_length or PASSAGE_TOKENS

    def llm_settings(self) -> Mapping[str, object]:
        """More settings of the LLM, which the method needs."""
        return {}

    @abstractmethod
    def conversation(self, ranking: Ranking, verdicts: Counter[str]) -> Conversation[Ranking]:
        """Ask about a query; count each answer's verdict; return the query's ranking."""

    @abstractmethod
    def stand_in(self, asked: Asked, worth: Sequence[float]) -> str:
        """What a model would answer that knows how much each candidate is worth."""

    @property
    def is_exact(self) -> bool:
        """Whether the number of questions does not depend on the answers."""
        return True

    def rerank_block(self, queries: Sequence[Ranking]) -> list[Ranking]:
        heard = [HeardOf() for _ in queries]
        conversations = [self.conversation(one, of.verdicts) for one, of in zip(queries, heard, strict=True)]
        try:
            ranked = converse(self.llm, conversations, lambda number, answer: _count(heard[number], answer))
        except Unanswered as error:
            qid = queries[error.number].query.qid
            raise MissingResource(f"query {qid!r}: {self.model_name} did not answer ({error})") from None
        for ranking, of in zip(queries, heard, strict=True):
            if self.report:
                self.report(ranking.query.qid, of)
            elif of.verdicts and of.verdicts.keys() <= NO_ORDER:
                _LOG.warning("query %r keeps its order: %s ranked nothing", ranking.query.qid, self.model_name)
        return ranked

    def forecast(self, queries: Sequence[Ranking]) -> Forecast:
        """How many questions these queries would take, and how many tokens, for a model whose order is random."""
        conversations = []
        for place, ranking in enumerate(queries):
            rng = random.Random(place)
            worth = [rng.random() for _ in ranking.candidates]
            conversations.append((self.conversation(ranking, Counter()), partial(self.stand_in, worth=worth)))
        return foresee(self.llm, conversations, is_exact=self.is_exact)

    def cut_passages(self, ranking: Ranking) -> list[str]:
        """The candidates' texts, neutralised and cut, for prompts that show a few of them."""
        return [cut_passage(self.llm, candidate.text, self.passage_tokens) for candidate in ranking.candidates]

    def fingerprint_with(self, prompt: str, *settings: object) -> str:
        """The fingerprint: the model, the prompt's hash and what else determines the order."""
        return f"{self.name} {self.llm.fingerprint()} {prompt} {(*settings, self.passage_tokens)}"


def _count(heard: HeardOf, answer: Answer) -> None:
    heard.questions += 1
    heard.prompt_tokens += answer.prompt_tokens
    heard.answer_tokens += answer.completion_tokens


def in_order(ranking: Ranking, order: Sequence[int]) -> Ranking:
    """The ranking with its candidates in another order, best first, each scored by its place."""
    placed = [ranking.candidates[number] for number in order]
    scored = (Candidate(c.docid, c.text, float(len(placed) - place)) for place, c in enumerate(placed))
    return Ranking(ranking.query, tuple(scored))
