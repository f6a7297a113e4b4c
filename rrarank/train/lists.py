"""Training lists: labelled rankings cut into short lists, and their pairs tokenised into chunks."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from rrarank.data.distillation_set import levels
from rrarank.data.types import LabelledRanking, blocks
from rrarank.data.verdicts import Answer
from rrarank.errors import RrarankError
from rrarank.train.term_control import CLS, DOCUMENT, PADDING, QUERY, SPECIAL

if TYPE_CHECKING:
    from torch import Tensor

Treatment = Literal["hard-negative", "re-append", "drop", "random"]


@dataclass(frozen=True)
class TrainingList:
    """A query and its documents, best first, with label levels, and the teacher's scores and answers if any."""

    query: str
    texts: tuple[str, ...]
    levels: tuple[float, ...]
    scores: tuple[float, ...] = ()
    answers: tuple[Answer | None, ...] = ()


def training_list(
    label: LabelledRanking, missing: Treatment, rng: random.Random, answers: Mapping[str, Answer] | None = None
) -> TrainingList | None:
    """The training list of a label; None if the label gives no pair.

    Args:
        missing: how missing documents are used: `hard-negative`: below every listed one and tied (RRADistill);
            `re-append`: below, in the order shown, as RankGPT does; `drop`; `random`: below, in random order.
        rng: draws for `random`.
        answers: docid -> verdict and reason, for the documents that have one.
    """
    treated = _treat(label, missing, rng)
    level = _levels(treated)
    if len(set(level.values())) < 2:
        return None
    texts = {candidate.docid: candidate.text for candidate in treated.shown}
    docids = sorted(level, key=lambda docid: -level[docid])
    scores = _scores(treated)
    known = tuple(scores[docid] for docid in docids) if all(docid in scores for docid in docids) else ()
    said = tuple(answers.get(docid) for docid in docids) if answers else ()
    return TrainingList(
        treated.query.text, tuple(texts[i] for i in docids), tuple(float(level[i]) for i in docids), known, said
    )


def _treat(label: LabelledRanking, missing: Treatment, rng: random.Random) -> LabelledRanking:
    if missing == "hard-negative" or not label.missing:
        return label
    if missing == "drop":
        return replace(label, missing=(), unknown=(*label.unknown, *label.missing))
    left_out = set(label.missing)
    below = [candidate.docid for candidate in label.shown if candidate.docid in left_out]
    if missing == "random":
        rng.shuffle(below)
    return replace(label, listed=(*label.listed, *below), missing=())


def _levels(label: LabelledRanking) -> Mapping[str, float]:
    """Levels from the teacher's grades if it gave grades, so that equal grades tie; else from its order."""
    grades = label.provenance.get("grades")
    known = levels(label)
    return {docid: grades.get(docid, 0) for docid in known} if isinstance(grades, Mapping) else known


def _scores(label: LabelledRanking) -> Mapping[str, float]:
    scores = label.provenance.get("scores")
    return scores if isinstance(scores, Mapping) else {}


def cut(whole: TrainingList, size: int, rng: random.Random) -> Iterator[TrainingList]:
    """Cut a list into lists of about `size` documents, each of which spans the whole range of levels.

    Neighbours in the teacher's order go to different lists. Lists without a pair are left out.
    """
    count = -(-len(whole.texts) // size)
    parts: list[list[int]] = [[] for _ in range(count)]
    for neighbours in blocks(range(len(whole.texts)), count):
        for place, part in zip(neighbours, rng.sample(parts, len(neighbours)), strict=True):
            part.append(place)
    for part in parts:
        if len({whole.levels[place] for place in part}) > 1:
            yield replace(
                whole,
                texts=tuple(whole.texts[place] for place in part),
                levels=tuple(whole.levels[place] for place in part),
                scores=tuple(whole.scores[place] for place in part) if whole.scores else (),
                answers=tuple(whole.answers[place] for place in part) if whole.answers else (),
            )


def epoch(wholes: Sequence[TrainingList], size: int, seed: int, number: int) -> list[TrainingList]:
    """All lists of an epoch in random order. Cut and order differ between epochs and depend only on the seed."""
    rng = random.Random(f"{seed} {number}")  # a string seeds random.Random equally in every process
    found = [part for whole in wholes for part in cut(whole, size, rng)]
    rng.shuffle(found)
    return found


# -- tokens -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Collator:
    """Training lists to chunks: pairs of similar length, padded to the longest, and their places in the batch.

    Args:
        tokenizer: a fast one, which tells query tokens from document tokens.
        max_length: most tokens of a pair; longer pairs are cut as the reranker cuts them.
        chunk: pairs encoded at once.
    """

    tokenizer: Any  # a PreTrainedTokenizerFast; transformers is untyped
    max_length: int
    chunk: int

    def __call__(self, lists: Sequence[TrainingList]) -> dict[str, Any]:
        pairs = [(item.query, text) for item in lists for text in item.texts]
        rows = self.tokenizer(
            [query for query, _ in pairs],
            [text for _, text in pairs],
            truncation="longest_first",
            max_length=self.max_length,
        )
        order = sorted(range(len(pairs)), key=lambda row: len(rows["input_ids"][row]))
        chunks = [self._chunk(rows, order[start : start + self.chunk]) for start in range(0, len(order), self.chunk)]
        return {
            "chunks": chunks,
            "levels": [torch.tensor(item.levels) for item in lists],
            "targets": [torch.tensor(item.scores or item.levels) for item in lists],
        }

    def _chunk(self, rows: Any, places: Sequence[int]) -> dict[str, Tensor]:
        """`input_ids`, … and `roles`, each (pairs, length); `places`, (pairs,)."""
        names = [name for name in rows if name in self.tokenizer.model_input_names]
        inputs = self.tokenizer.pad({name: [rows[name][row] for row in places] for name in names}, return_tensors="pt")
        length = inputs["input_ids"].shape[1]
        roles = torch.full((len(places), length), PADDING)
        for i, row in enumerate(places):
            given = torch.tensor([_role(sequence) for sequence in rows.sequence_ids(row)])
            start = length - len(given) if self.tokenizer.padding_side == "left" else 0
            roles[i, start : start + len(given)] = given
        roles[torch.arange(len(places)), (roles != PADDING).int().argmax(1)] = CLS
        return {**inputs, "roles": roles, "places": torch.tensor(places)}


def _role(sequence: int | None) -> int:
    return SPECIAL if sequence is None else (QUERY, DOCUMENT)[sequence]


def punctuation(tokenizer: Any) -> frozenset[int]:
    """Ids of special tokens and of tokens that are only punctuation."""
    marks = set(string.punctuation) | set("“”‘’–—…·、。，「」")
    bare = {number for token, number in tokenizer.get_vocab().items() if set(token.lstrip("#Ġ▁")) <= marks}
    return frozenset(bare | set(tokenizer.all_special_ids))


def check_fast_tokenizer(tokenizer: Any) -> None:
    if not tokenizer.is_fast:
        raise RrarankError("training needs a fast tokenizer (tokenizer.json), which tells query from document tokens")
