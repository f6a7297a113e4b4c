"""RRA-GPT's joint training: a decoder learns an order, and to say relevant or irrelevant, and why (RRADistill).

One forward pass serves all three: the score is a dense layer's at the prompt's last token, behind which verdict and
reason follow; as a decoder never looks ahead, they do not change the score. Only so much is published; weights, prompt
and the rule of who gets a verdict are our choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy, linear

from rrarank.data import LabelledRanking
from rrarank.training.lists import Answer, Collator, TrainingList
from rrarank.training.prompted import PromptConfig
from rrarank.training.student import Chunks, Student
from rrarank.training.term_control import PADDING

if TYPE_CHECKING:
    from torch import Tensor

VERDICT, REASON = 5, 6  # roles of tokens, beside those of `term_control`
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class ReasoningConfig:
    """L = L_rank + classification x L_cls + reasons x L_reason.

    Args:
        classification: beta, of the verdict's cross-entropy, the mean over its tokens.
        reasons: gamma, of the reason's; 0 for RRA-GPT without generation.
        relevant: so many of the listed documents, from the first on, are relevant.
        bottom: listed documents among the pre-ranker's last so many are not; at most half of the list.
        reason_tokens: most tokens of a reason.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # an unknown key is an error

    classification: Weight = 0.5
    reasons: Weight = 0.5
    relevant: Annotated[int, Field(ge=1)] = 3
    bottom: Annotated[int, Field(ge=0)] = 10
    reason_tokens: Annotated[int, Field(ge=1)] = 48


def answers(label: LabelledRanking, config: ReasoningConfig) -> dict[str, Answer]:
    """docid -> what is to be said of it; nothing of the documents in the middle of the list.

    A reason's own verdict counts first; then the first listed documents are relevant; missing ones, and listed ones
    from the bottom of the pre-ranker's order, are not.
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
    """Of `Relevant: it names the year`; no verdict where it opens with other words."""
    opening, _, rest = text.partition(":")
    verdict = {"relevant": True, "irrelevant": False}.get(opening.strip(" *").lower())
    return verdict, (text if verdict is None else rest).strip()


@dataclass(frozen=True)
class ReasoningCollator(Collator):
    """Verdict and reason behind the tokens of each pair that has them, told by their roles; then the end of text.

    Args:
        prompt: its yes and no are the verdicts.
    """

    prompt: PromptConfig = field(default_factory=PromptConfig)
    reason_tokens: int = ReasoningConfig.reason_tokens

    def __call__(self, lists: Sequence[TrainingList]) -> dict[str, Any]:
        batch = super().__call__(lists)
        said = [answer for item in lists for answer in item.answers or [None] * len(item.texts)]
        batch["chunks"] = [
            self._answered(chunk, [said[place] for place in chunk["places"]]) for chunk in batch["chunks"]
        ]
        return batch

    def _answered(self, chunk: Mapping[str, Tensor], said: Sequence[Answer | None]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` and `roles` grow to (pairs, longest pair with its answer)."""
        added = [self._tokens(answer) if answer else [] for answer in said]
        starts = (chunk["roles"] != PADDING).sum(1).tolist()  # padding lies on the right
        length = max(start + len(tokens) for start, tokens in zip(starts, added, strict=True))
        blank = {"input_ids": self.tokenizer.pad_token_id, "attention_mask": 0, "roles": PADDING}
        grown = {name: torch.full((len(said), length), value) for name, value in blank.items()}
        for row, (start, tokens) in enumerate(zip(starts, added, strict=True)):
            for name, values in grown.items():
                values[row, :start] = chunk[name][row, :start]
            for place, (number, role) in enumerate(tokens, start=start):
                grown["input_ids"][row, place], grown["roles"][row, place] = number, role
                grown["attention_mask"][row, place] = 1
        return {**grown, "places": chunk["places"]}

    def _tokens(self, answer: Answer) -> list[tuple[int, int]]:
        """(id, role) of each."""
        verdict = self._ids(f"{self.prompt.yes if answer.relevant else self.prompt.no}.")
        reason = self._ids(f" {answer.reason}")[: self.reason_tokens] if answer.reason else []
        end = [self.tokenizer.eos_token_id] if answer.reason else []
        return [(number, VERDICT) for number in verdict] + [(number, REASON) for number in reason + end]

    def _ids(self, text: str) -> list[int]:
        """The tokenizer itself may put a space before every text (`prompted`)."""
        text = text.removeprefix(self.prompt.lead)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


class ReasoningStudent(Student):
    """A decoder with a dense ranking layer, and its language model's head.

    Args:
        base: a `…ForSequenceClassification` with one label whose head is `score`.
        head: the language model's output layer; one that is the base's own embeddings is not kept twice.
    """

    def __init__(self, base: Any, tokenizer: Any, config: ReasoningConfig, head: Any) -> None:
        super().__init__(base, tokenizer)
        self.reasoning = config
        self.language_head = None if head.weight is base.get_input_embeddings().weight else head
        if self.language_head is not None and not base.get_input_embeddings().weight.requires_grad:
            self.language_head.requires_grad_(False)  # as all is beside adapters

    def forward(self, chunks: Chunks, levels: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        back = torch.cat([chunk["places"] for chunk in chunks]).argsort()
        passes = [self._read(chunk) for chunk in chunks]
        scores = torch.cat([found for found, _, _ in passes])[back]
        rank_loss, parts = self._loss(scores, levels, targets)
        verdict_loss, reason_loss = (_mean_or_nothing([one[part] for one in passes]) for part in (1, 2))
        weights = self.reasoning
        loss = rank_loss + weights.classification * verdict_loss + weights.reasons * reason_loss
        told = {"rank_loss": rank_loss, "verdict_loss": verdict_loss, "reason_loss": reason_loss}
        return {"loss": loss, **parts, **told, "scores": scores}

    def _read(self, chunk: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (pairs,), and the cross-entropy of each token of a verdict and of a reason."""
        roles = chunk["roles"]
        inputs = {name: chunk[name] for name in ("input_ids", "attention_mask")}
        hidden = self.base.base_model(**inputs).last_hidden_state  # (pairs, length, width)
        last = ((roles != PADDING) & (roles < VERDICT)).sum(1) - 1  # of the prompt
        scores = self.base.score(hidden[torch.arange(len(last)), last])[:, 0].float()
        return scores, self._surprise(hidden, chunk, VERDICT), self._surprise(hidden, chunk, REASON)

    def _surprise(self, hidden: Tensor, chunk: Mapping[str, Tensor], role: int) -> Tensor:
        rows, places = (chunk["roles"] == role).nonzero(as_tuple=True)
        weight = (self.language_head or self.base.get_input_embeddings()).weight
        logits = linear(hidden[rows, places - 1], weight).float()  # (tokens, vocabulary)
        return cross_entropy(logits, chunk["input_ids"][rows, places], reduction="none")


def _mean_or_nothing(losses: Sequence[Tensor]) -> Tensor:
    """A 0 that still has a gradient where nothing is to be said."""
    found = torch.cat(list(losses))
    return found.sum() / max(1, len(found))
