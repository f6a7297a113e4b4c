"""The module that is trained: a sequence classifier and, for RRA-BERT, a term control layer that inference drops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rrarank.train.lists import punctuation
from rrarank.train.lora import merged
from rrarank.train.losses import BY_SCORES, LOSSES, LossConfig, infonce, ranknet_parts
from rrarank.train.term_control import DOCUMENT, QUERY, TermControl, TermControlConfig, closeness, select

if TYPE_CHECKING:
    from torch import Tensor

Chunks = Sequence[Mapping[str, "Tensor"]]


class Student(nn.Module):
    """{base, term_control}: two scores a pair, one loss.

    Args:
        base: a `…ForSequenceClassification` with one label.
    """

    def __init__(
        self,
        base: Any,  # transformers is untyped
        tokenizer: Any,
        config: TermControlConfig | None = None,
    ) -> None:
        super().__init__()
        self.base = base
        self.control = config
        self.loss = LossConfig()
        self.term_control: TermControl | None = None
        if config:
            sizes = base.config.get_text_config()
            self.term_control = TermControl(
                config, sizes.hidden_size, sizes.num_attention_heads, getattr(sizes, "hidden_dropout_prob", 0.0)
            )
            self.register_buffer("silent", _flags(len(tokenizer), punctuation(tokenizer)), persistent=False)

    def classifier(self) -> Any:
        """The classifier to save, with adapters merged into the weights."""
        return merged(self.base) if any("lora_" in name for name, _ in self.base.named_parameters()) else self.base

    def forward(self, chunks: Chunks, levels: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """The loss, its parts, and both scores.

        Args:
            chunks: by `lists.Collator`.
            levels: one a list, (documents,).
            targets: one a list, (documents,): the teacher's scores, or the levels again.
        """
        scores, term_scores, taken = self._score(chunks, [len(level) for level in levels])
        loss, parts = self._loss(scores, levels, targets)
        result = {"loss": loss, **parts, "scores": scores}
        if term_scores is not None and taken is not None and self.control:
            term_loss, term_parts = self._loss(term_scores, levels, targets)
            result |= {f"term_{name}": value for name, value in term_parts.items()}
            result |= {"loss": loss + self.control.weight * term_loss, "base_loss": loss, "term_loss": term_loss}
            missing = torch.cat(list(levels)) == 0
            result |= {"selected_of_listed": taken[~missing].mean(), "term_scores": term_scores}
            result |= {"selected_of_missing": taken[missing].mean()} if missing.any() else {}
        return result

    def _score(self, chunks: Chunks, sizes: Sequence[int]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """s_base, s_TCL and the share of selected document tokens, each (pairs,) in the order of the lists."""
        places = torch.cat([chunk["places"] for chunk in chunks])
        back = places.argsort()
        layer = self.control.selection.layer if self.control else -1
        passes = [self._encode(chunk, layer) for chunk in chunks]
        scores = torch.cat([logits for logits, _, _ in passes])[back]
        if self.term_control is None:
            return scores, None, None
        selected = self.selected(chunks, [compared for _, _, compared in passes], sizes)
        term_scores = torch.cat(
            [
                self.term_control(last, chunk["roles"], chosen)
                for chunk, (_, last, _), chosen in zip(chunks, passes, selected, strict=True)
            ]
        )[back]
        taken = torch.cat([_share(chosen, chunk["roles"]) for chosen, chunk in zip(selected, chunks, strict=True)])[
            back
        ]
        return scores, term_scores, taken

    def _encode(self, chunk: Mapping[str, Tensor], layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """s_base (pairs,); the last hidden states and those that Token Selection compares, (pairs, length, width)."""
        inputs = {name: value for name, value in chunk.items() if name not in ("roles", "places")}
        output = self.base(**inputs, output_hidden_states=self.term_control is not None)
        scores = output.logits[:, 0].float()
        if self.term_control is None:
            return scores, scores, scores
        return scores, output.hidden_states[-1], output.hidden_states[layer]

    def selected(self, chunks: Chunks, hidden: Sequence[Tensor], sizes: Sequence[int]) -> list[Tensor]:
        """Token Selection, one list at a time; returns one (pairs, length) tensor a chunk."""
        assert self.control  # only asked with a term control
        ids, roles = ([chunk[name] for chunk in chunks] for name in ("input_ids", "roles"))
        queries = [(role == QUERY) & ~self._silent(i) for i, role in zip(ids, roles, strict=True)]
        documents = [(role == DOCUMENT) & ~self._silent(i) for i, role in zip(ids, roles, strict=True)]
        close = [closeness(h, q, d) for h, q, d in zip(hidden, queries, documents, strict=True)]
        same = [((i[:, :, None] == i[:, None, :]) & q[:, None, :]).any(-1) for i, q in zip(ids, queries, strict=True)]
        places = [chunk["places"] for chunk in chunks]
        whole = [
            _gather(parts, places, fill) for parts, fill in ((close, -torch.inf), (documents, False), (same, False))
        ]
        lists = zip(*(torch.split(part, list(sizes)) for part in whole), strict=True)
        chosen = torch.cat([select(self.control.selection, *parts) for parts in lists])
        return [chosen[place, : role.shape[1]] for place, role in zip(places, roles, strict=True)]

    @torch.no_grad()
    def examples(self, chunks: Chunks, sizes: Sequence[int], tokenizer: Any) -> list[str]:
        """The pairs of a batch as text, query and document, the selected tokens in [brackets]; for a reader."""
        layer = self.control.selection.layer if self.control else -1
        selected = self.selected(chunks, [self._encode(chunk, layer)[2] for chunk in chunks], sizes)
        lines = {}
        for chunk, chosen in zip(chunks, selected, strict=True):
            for place, ids, roles, row in zip(chunk["places"], chunk["input_ids"], chunk["roles"], chosen, strict=True):
                tokens = tokenizer.convert_ids_to_tokens(ids)
                marked = [f"[{token}]" if taken else token for token, taken in zip(tokens, row, strict=True)]
                parts = [[t for t, r in zip(marked, roles, strict=True) if r == role] for role in (QUERY, DOCUMENT)]
                lines[int(place)] = " | ".join(map(" ".join, parts))
        return [lines[place] for place in sorted(lines)]

    def _silent(self, ids: Tensor) -> Tensor:
        """Which ids are punctuation or special tokens: they neither select nor are selected."""
        return self.get_buffer("silent")[ids]

    def _loss(
        self, scores: Tensor, levels: Sequence[Tensor], targets: Sequence[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss over lists; for ranknet also its two parts."""
        sizes = [len(level) for level in levels]
        found = zip(torch.split(scores, sizes), levels, targets, strict=True)
        each = [list_loss(self.loss, *one) for one in found]
        parts = {}
        if self.loss.name == "ranknet":
            lists = zip(torch.split(scores.detach(), sizes), levels, strict=True)
            both = [ranknet_parts(one, level) for one, level in lists]
            parts = {"listed_pairs": _mean(a for a, _ in both), "missing_pairs": _mean(b for _, b in both)}
        return _mean(each), parts


def list_loss(config: LossConfig, scores: Tensor, levels: Tensor, targets: Tensor) -> Tensor:
    """The loss of one list; all (documents,)."""
    labels = targets * config.scale if config.name in BY_SCORES else levels
    loss = LOSSES[config.name](scores, labels, **config.options)
    return loss + config.infonce * infonce(scores, levels) if config.infonce else loss


def _share(chosen: Tensor, roles: Tensor) -> Tensor:
    """(pairs,): of the document's tokens."""
    return chosen.sum(1) / (roles == DOCUMENT).sum(1).clamp(min=1)


def _flags(size: int, numbers: Iterable[int]) -> Tensor:
    flags = torch.zeros(size, dtype=torch.bool)
    flags[list(numbers)] = True
    return flags


def _gather(parts: Sequence[Tensor], places: Sequence[Tensor], fill: float | bool) -> Tensor:
    """Chunks as one tensor (pairs, longest), each row at its place."""
    longest = max(part.shape[1] for part in parts)
    whole = parts[0].new_full((sum(len(part) for part in parts), longest), fill)
    for part, place in zip(parts, places, strict=True):
        whole[place, : part.shape[1]] = part
    return whole


def _mean(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()
