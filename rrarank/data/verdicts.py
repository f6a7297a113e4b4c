"""What a decoder learns to say about a document: relevant or not, and why (RRADistill's joint training of RRA-GPT)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from rrarank.data.types import LabelledRanking
from rrarank.storage.yaml_settings import STRICT

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class ReasoningConfig:
    """L = L_rank + classification x L_cls + reasons x L_reason.

    Args:
        classification: beta, the weight of the verdict's cross-entropy (mean over its tokens).
        reasons: gamma, the weight of the reason's cross-entropy; 0 for RRA-GPT without generation.
        relevant: the first so many listed documents are relevant.
        bottom: listed documents among the last so many of the pre-ranker are irrelevant; at most half of the list.
        reason_tokens: most tokens of a reason.
    """

    __pydantic_config__: ClassVar = STRICT

    classification: Weight = 0.5
    reasons: Weight = 0.5
    relevant: Annotated[int, Field(ge=1)] = 3
    bottom: Annotated[int, Field(ge=0)] = 10
    reason_tokens: Annotated[int, Field(ge=1)] = 48


class Answer(NamedTuple):
    """What the model should say about a document."""

    relevant: bool
    reason: str = ""


def answers(label: LabelledRanking, config: ReasoningConfig) -> dict[str, Answer]:
    """docid -> what to say about it; documents in the middle of the list are left out.

    The verdict in a reason comes first. Otherwise the first listed documents are relevant; missing documents, and
    listed ones from the bottom of the pre-ranker's order, are irrelevant.
    """
    order = sorted(label.shown, key=lambda candidate: -candidate.score)
    bottom = {candidate.docid for candidate in order[len(order) - min(config.bottom, len(order) // 2) :]}
    found = dict.fromkeys([*label.missing, *(docid for docid in label.listed if docid in bottom)], False)
    found |= dict.fromkeys(label.listed[: config.relevant], True)
    reasons = {docid: _verdict_and_reason(text) for docid, text in label.reasons.items()}
    found |= {docid: verdict for docid, (verdict, _) in reasons.items() if verdict is not None}
    wanted = reasons if config.reasons else {}
    return {docid: Answer(verdict, wanted.get(docid, (None, ""))[1]) for docid, verdict in found.items()}


def _verdict_and_reason(text: str) -> tuple[bool | None, str]:
    """Parse `Relevant: it names the year`; the verdict is None if the text begins otherwise."""
    opening, _, rest = text.partition(":")
    verdict = {"relevant": True, "irrelevant": False}.get(opening.strip(" *").lower())
    return verdict, (text if verdict is None else rest).strip()
