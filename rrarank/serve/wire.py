"""Requests and replies: the shapes of Cohere's, Jina's and vLLM's rerank clients, and Pyserini's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    JsonValue,
    Strict,
    Tag,
    WithJsonSchema,
)

from rrarank.data.calibration import RelevanceMap, sigmoid
from rrarank.data.documents import TEXT_FIELDS, document_text
from rrarank.data.documents import field as field_text
from rrarank.data.run_files import candidate_text
from rrarank.data.types import Ranking
from rrarank.errors import RrarankError, shown
from rrarank.serve.events import Answering, Asking, Placed
from rrarank.serve.options import Options
from rrarank.serve.scoring import Asked, Ranked

FLOAT32 = 3.4028234663852886e38  # the largest: runs are sorted by float32 scores

Text = Annotated[str, Strict()]
AsWhole = BeforeValidator(lambda value: _whole(value))
Id: TypeAlias = Text | Annotated[int, Strict(), AsWhole]
Flag = Annotated[bool, Strict()]
Number = Annotated[float, Field(strict=True, ge=-FLOAT32, le=FLOAT32)]
TopN = Annotated[int, Field(strict=True, ge=0), AsWhole]

WHICH = "name of a model of /v1/models (default: the first); a server of one model without a name takes any"

_TEXT = {"type": ["string", "integer"]}
_NONE: dict[str, object] = {"type": "null"}
_TITLE = {"anyOf": [_TEXT, _NONE, {"enum": [False, [], {}]}]}
_HELD = [  # as `document_text` reads it: the first of these fields that the object has
    {"required": [name], "properties": dict.fromkeys(TEXT_FIELDS[:place], _NONE) | {name: _TEXT}}
    for place, name in enumerate(TEXT_FIELDS)
]
_DOCUMENT = {"type": "object", "properties": {"title": _TITLE}, "anyOf": _HELD}
DocumentObject = Annotated[dict[str, JsonValue], WithJsonSchema(_DOCUMENT)]


@dataclass(frozen=True)
class Heading:
    """What a reply says about itself: the request's id, the model's name, the version in the path.

    Args:
        relevance: the model's map from scores to relevance; None: the sigmoid stands in for it.
        warnings: what was done other than asked.
    """

    id: str
    model: str
    version: str
    relevance: RelevanceMap | None = None
    warnings: Sequence[str] = ()

    def relevance_of(self, score: float) -> float:
        return sigmoid(score) if self.relevance is None else self.relevance(score)


# -- rerank requests ---------------------------------------------------------------------------------------------------


class _Request(Options):
    model_config = ConfigDict(extra="allow")  # unknown fields are named in the reply's warnings

    model: Text | None = Field(None, description=WHICH)
    top_n: TopN | None = Field(None, description="number of results; 0 or absent: all")

    def meta(self, heading: Heading) -> Meta:
        ignored = [name[:40] for name in sorted(self.model_extra or {})]
        warnings = [*([f"ignored: {shown(ignored)}"] if ignored else []), *heading.warnings]
        kind: Kind = "sigmoid" if heading.relevance is None else "calibrated"
        return Meta(api_version=ApiVersion(version=heading.version), warnings=warnings, relevance_score=kind)


class RerankRequest(_Request):
    """The request of Cohere's, Jina's and vLLM's clients."""

    query: Text = Field(min_length=1)
    documents: Annotated[list[Text | DocumentObject], FailFast()]
    rank_fields: list[Text] | None = Field(None, description="the fields of documents that are scored, joined in order")
    return_documents: Flag | None = Field(None, description="return each document")

    def asked(self) -> Asked:
        """
        Raises:
            RrarankError: a document holds no text, `rank_fields` names none of its fields, or it needs a score.
        """
        texts = [self._text(one, f"documents.{place}") for place, one in enumerate(self.documents)]
        return Asked(self.query, texts, self._scores())

    def _scores(self) -> list[float]:
        """The first stage's, if they are to be joined in; for ranks the order of the documents will do."""
        by_order = self.norm == "rank" and not any(isinstance(one, dict) and "score" in one for one in self.documents)
        if not self.joins or by_order:
            return []
        return [_score(one, place) for place, one in enumerate(self.documents)]

    def _text(self, document: str | dict[str, JsonValue], where: str) -> str:
        if not self.rank_fields:
            return document if isinstance(document, str) else document_text(document, where)
        if isinstance(document, str):
            raise RrarankError(f"rank_fields: {where} is a string without fields; send objects or leave it out")
        if not (named := [name for name in self.rank_fields if document.get(name) is not None]):
            raise RrarankError(f"rank_fields: {where} has none of {shown(self.rank_fields)}; it has {shown(document)}")
        return " ".join(field_text(document, [name], where) for name in named)

    def reply(self, ranked: Ranked, heading: Heading, own: Mapping[int, float] = MappingProxyType({})) -> RerankReply:
        """
        Args:
            own: position -> the reranker's own score, where `ranked` has joined ones.
        """
        results = [
            Result(
                index=place,
                relevance_score=heading.relevance_of(own.get(place, score)),
                score=score,
                document=self._returned(place),
            )
            for place, score in ranked.order[: self.top_n or None]
        ]
        usage = Usage(total_tokens=ranked.tokens)
        return RerankReply(id=heading.id, model=heading.model, results=results, usage=usage, meta=self.meta(heading))

    def _returned(self, place: int) -> dict[str, JsonValue] | None:
        document = self.documents[place]
        if not self.return_documents:
            return None
        return {"text": document} if isinstance(document, str) else document


class AskedQuery(BaseModel):
    text: Text = Field(min_length=1, validation_alias=AliasChoices("text", "query_txt"))  # query_txt: Pyserini 1.6
    qid: Id | None = None


class FirstStageCandidate(BaseModel):
    docid: Id
    score: Number
    doc: Text | DocumentObject = Field(validation_alias=AliasChoices("doc", "document_txt"))


class CandidatesRequest(_Request):
    """The reply of Pyserini's server, and the request of rank_llm."""

    query: AskedQuery
    candidates: Annotated[list[FirstStageCandidate], FailFast()]
    api: JsonValue = Field(None, description="in replies of Pyserini's server, which may be sent unchanged")
    index: Text = Field("", description="in the same replies; returned")

    def asked(self) -> Asked:
        """
        Raises:
            RrarankError: a document holds no text.
        """
        if "rank_fields" in (self.model_extra or {}):
            raise RrarankError("rank_fields: candidates are scored whole; leave it out, or send documents as objects")
        texts = [candidate_text(one.doc, f"candidates.{place}.doc") for place, one in enumerate(self.candidates)]
        return Asked(self.query.text, texts, [one.score for one in self.candidates])

    def reply(
        self, ranked: Ranked, heading: Heading, own: Mapping[int, float] = MappingProxyType({})
    ) -> CandidatesReply:
        """As of `RerankRequest`."""
        candidates = [
            RankedCandidate(
                docid=self.candidates[place].docid,
                score=score,
                relevance_score=heading.relevance_of(own.get(place, score)),
                rank=rank,
                doc=self.candidates[place].doc,
            )
            for rank, (place, score) in enumerate(ranked.order[: self.top_n or None], start=1)
        ]
        query = ReplyQuery(text=self.query.text, qid=self.query.qid)
        return CandidatesReply(
            index=self.index,
            query=query,
            candidates=candidates,
            id=heading.id,
            model=heading.model,
            meta=self.meta(heading),
        )


def _shape(content: object) -> str:
    """A request with `candidates` is of Pyserini's shape."""
    has_candidates = isinstance(content, dict) and "candidates" in content and "documents" not in content
    return "CandidatesRequest" if has_candidates else "RerankRequest"


ShapedRequest = Annotated[
    Annotated[RerankRequest, Tag("RerankRequest")] | Annotated[CandidatesRequest, Tag("CandidatesRequest")],
    Discriminator(_shape),
]


# -- search ------------------------------------------------------------------------------------------------------------


class SearchRequest(Asking):
    query: Text = Field(min_length=1)
    hits: Annotated[int, Field(strict=True, ge=1, le=1_000), AsWhole] = 20

    def reply(self, found: Ranking, index: str) -> SearchReply:
        candidates = [
            FoundCandidate(docid=one.docid, score=one.score, rank=rank, doc=FoundDocument(contents=one.text))
            for rank, one in enumerate(found.candidates, start=1)
        ]
        return SearchReply(index=index, query=ReplyQuery(text=self.query), candidates=candidates)


class FoundDocument(BaseModel):
    contents: str


class FoundCandidate(Placed):
    docid: str
    score: float
    rank: int
    doc: FoundDocument


class SearchReply(Answering):
    """The reply of Pyserini's server; POST it to /v1/rerank unchanged."""

    api: Literal["v1"] = "v1"
    index: str
    query: ReplyQuery
    candidates: list[FoundCandidate]


# -- rerank replies ----------------------------------------------------------------------------------------------------


Kind = Literal["calibrated", "sigmoid", "rank"]
_RELEVANCE = Field(description="by the reranker's own score: probability of relevance, or sigmoid; see meta")
_SCORE = Field(description="the reranker's own score, as in a run; with interpolate, the joined one")


class Result(Placed):
    index: int = Field(description="position in the request's documents, from 0")
    relevance_score: float = _RELEVANCE
    score: float = _SCORE
    document: dict[str, JsonValue] | None = None


class Usage(BaseModel):
    total_tokens: int = Field(description="of all pairs; 0 if the reranker does not score pairs")


class ApiVersion(BaseModel):
    version: str


class Meta(BaseModel):
    api_version: ApiVersion
    warnings: list[str]
    relevance_score: Kind = Field(description="calibrated: a probability of relevance; sigmoid: only between 0 and 1")


class RerankReply(Answering):
    id: str
    model: str
    results: list[Result] = Field(description="best first")
    usage: Usage
    meta: Meta


class ReplyQuery(BaseModel):
    text: str
    qid: Id | None = None


class RankedCandidate(Placed):
    docid: Id
    score: float = _SCORE
    relevance_score: float = _RELEVANCE
    rank: int
    doc: str | dict[str, JsonValue]


class CandidatesReply(Answering):
    """The reply of Pyserini's server, with new scores."""

    api: Literal["v1"] = "v1"
    index: str
    query: ReplyQuery
    candidates: list[RankedCandidate] = Field(description="best first")
    id: str
    model: str
    meta: Meta


class Health(BaseModel):
    status: Literal["ok"] = "ok"
    version: str
    reranker: str
    model: str = Field(description="answers requests that name none; reranker and calibrated are of it")
    models: list[str] = Field(description="the names that requests may give")
    index: str | None = Field(None, description="name of the index of /v1/search, if there is one")
    keys: bool = Field(description="whether the server needs an API key")
    calibrated: bool = Field(description="whether relevance_score is a probability of relevance, not a sigmoid")
    experiment: bool = Field(description="whether users that requests name may be in an experiment")
    log: bool = Field(description="whether their queries are logged, and /v1/events takes what they do")
    waiting: int = Field(description="requests not begun")
    limits: dict[str, int | float] = Field(description="of a request")


class ErrorReply(BaseModel):
    message: str
    id: str


def _score(document: str | dict[str, JsonValue], place: int) -> float:
    """The first stage's score of a document.

    Raises:
        RrarankError: it has none, or one that is no number.
    """
    score = None if isinstance(document, str) else document.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not abs(score) <= FLOAT32:
        raise RrarankError(
            f"interpolate: documents.{place} has no number in the field score; send objects with the first stage's "
            "scores, or norm rank to go by the order sent"
        )
    return float(score)


def _whole(value: object) -> object:
    """JSON has one kind of number: 2.0 is whole."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
