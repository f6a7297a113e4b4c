"""RRA-GPT's joint training: a decoder learns to rank, to judge relevance and to give a reason (RRADistill).

One forward pass computes all three losses. The score is a dense layer's output at the prompt's last token; verdict and
reason come after it and cannot change it, because a decoder never looks ahead. The paper publishes no more; weights,
prompt and the rule that assigns verdicts are our choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy, linear

from rrarank.data.verdicts import Answer, ReasoningConfig
from rrarank.train.lists import Collator, TrainingList
from rrarank.train.prompted import PromptConfig
from rrarank.train.student import Chunks, Student
from rrarank.train.term_control import PADDING

if TYPE_CHECKING:
    from torch import Tensor

VERDICT, REASON = 5, 6  # roles of tokens, beside those of `term_control`


@dataclass(frozen=True)
class ReasoningCollator(Collator):
    """Appends verdict, reason and end of text to the tokens of each pair that has them; roles tell them apart.

    Args:
        prompt: its yes and no are the words for the two verdicts.
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
        """Token ids; the tokenizer itself may add the space before the text (`prompted`)."""
        text = text.removeprefix(self.prompt.lead)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


class ReasoningStudent(Student):
    """A decoder with a dense ranking layer, and its language model's head.

    Args:
        base: a `…ForSequenceClassification` with one label whose head is `score`.
        head: the language model's output layer; kept only if it is not tied to the embeddings.
    """

    def __init__(self, base: Any, tokenizer: Any, config: ReasoningConfig, head: Any) -> None:
        super().__init__(base, tokenizer)
        self.reasoning = config
        self.language_head = None if head.weight is base.get_input_embeddings().weight else head
        if self.language_head is not None and not base.get_input_embeddings().weight.requires_grad:
            self.language_head.requires_grad_(False)  # frozen like everything but the adapters

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
    """The mean; without any token, a 0 that still has a gradient."""
    found = torch.cat(list(losses))
    return found.sum() / max(1, len(found))
