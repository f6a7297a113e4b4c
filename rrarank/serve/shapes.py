"""Requests and replies of text-embeddings-inference's `/rerank`, which others send documents, and vLLM's `/score`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, Discriminator, FailFast, Field, JsonValue, Tag
from typing_extensions import TypeAliasType

from rrarank.data.calibration import sigmoid
from rrarank.errors import RrarankError
from rrarank.serve.scoring import Asked, Ranked
from rrarank.serve.wire import WHICH, Flag, Heading, RerankRequest, Text, TopN, Usage

Texts = TypeAliasType("Texts", Annotated[list[Text], FailFast()])  # an alias of its own, so that `|` takes it


class TeiRequest(BaseModel):
    model: Text | None = Field(default=None, description=WHICH)
    query: Text = Field(min_length=1)
    texts: Texts
    raw_scores: Flag = Field(default=False, description="return the reranker's own scores, not their sigmoid")
    return_text: Flag = Field(default=False, description="return each text")
    top_n: TopN | None = Field(default=None, description="number of results; LiteLLM and Elasticsearch send it")
    truncate: Flag | None = Field(default=None, description="accepted: long texts are always truncated")
    truncation_direction: Literal["Right", "right"] = Field(default="Right", description="the end is cut off")

    def asked(self) -> Asked:
        return Asked(self.query, self.texts)

    def reply(self, ranked: Ranked) -> list[TeiRank]:
        return [
            TeiRank(
                index=place,
                score=score if self.raw_scores else sigmoid(score),
                text=self.texts[place] if self.return_text else None,
            )
            for place, score in ranked.order[: self.top_n or None]
        ]


class TeiRank(BaseModel):
    index: int = Field(description="position in the request's texts, from 0")
    score: float
    text: str | None = None


def _shape(content: object) -> str:
    """vLLM's and infinity's clients send documents to the same path."""
    has_documents = isinstance(content, dict) and "documents" in content and "texts" not in content
    return "RerankRequest" if has_documents else "TeiRequest"


TextsOrDocuments = Annotated[
    Annotated[TeiRequest, Tag("TeiRequest")] | Annotated[RerankRequest, Tag("RerankRequest")], Discriminator(_shape)
]


class ScoreRequest(BaseModel):
    """One text with one or many others, or as many pairs as both lists are long."""

    model: Text | None = Field(default=None, description=WHICH)
    text_1: Text | Texts = Field(validation_alias=AliasChoices("text_1", "queries", "query"))
    text_2: Text | Texts = Field(validation_alias=AliasChoices("text_2", "documents", "items"))
    use_activation: Flag | None = Field(
        default=None,
        validation_alias=AliasChoices("use_activation", "activation"),
        description="false: return the reranker's own scores, not their sigmoid",
    )
    truncate_prompt_tokens: JsonValue = Field(default=None, description="accepted: long texts are always truncated")

    def pairs(self) -> list[tuple[str, str]]:
        """
        Raises:
            RrarankError: both are lists, of different lengths.
        """
        queries = [self.text_1] if isinstance(self.text_1, str) else self.text_1
        texts = [self.text_2] if isinstance(self.text_2, str) else self.text_2
        if len(queries) == 1:
            queries = queries * len(texts)
        if len(queries) != len(texts):
            raise RrarankError(f"text_1 has {len(queries)} texts and text_2 {len(texts)}; expected one, or as many")
        return list(zip(queries, texts, strict=True))

    def asked(self) -> list[Asked]:
        """One request a query."""
        texts: dict[str, list[str]] = {}
        for query, text in self.pairs():
            texts.setdefault(query, []).append(text)
        return [Asked(query, found) for query, found in texts.items()]

    def reply(self, ranked: Sequence[Ranked], heading: Heading) -> ScoreReply:
        """
        Args:
            ranked: the answers to `asked`, in its order.
        """
        queries = dict.fromkeys(query for query, _ in self.pairs())
        orders = [[score for _, score in sorted(one.order)] for one in ranked]
        scores = dict(zip(queries, map(iter, orders), strict=True))
        found = [next(scores[query]) for query, _ in self.pairs()]
        given = found if self.use_activation is False else list(map(sigmoid, found))
        data = [Score(index=place, score=score) for place, score in enumerate(given)]
        tokens = sum(one.tokens for one in ranked)
        usage = ScoreUsage(prompt_tokens=tokens, total_tokens=tokens)
        ident = f"score-{heading.id}"
        return ScoreReply(id=ident, created=int(time.time()), model=heading.model, data=data, usage=usage)


class Score(BaseModel):
    index: int
    object: Literal["score"] = "score"
    score: float = Field(description="sigmoid of the reranker's score, or that score; see use_activation")


class ScoreUsage(Usage):
    prompt_tokens: int
    completion_tokens: Literal[0] = 0


class ScoreReply(BaseModel):
    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[Score]
    usage: ScoreUsage


class ModelCard(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["rrarank"] = "rrarank"


class ModelList(BaseModel):
    """The reply of OpenAI's `/v1/models`."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Ready(BaseModel):
    status: Literal["ready"] = "ready"
