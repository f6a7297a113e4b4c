"""How a `BertForMaskedLM` scores queries with passages: as a sparse encoder, or by late interaction."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from scores import FAST
from torch import Tensor

PAD, CHUNK_TOKENS = 0, 4096
SHARPNESS = 16  # what a cosine counts for the losses; the order is the same
Ids = Sequence[int]


class Student(ABC):
    """Scores queries with passages.

    Args:
        terms: how many of a query's heaviest terms count, of a sparse encoder.
    """

    def __init__(self, model: torch.nn.Module, terms: int) -> None:
        self.model, self.terms = model, terms

    def scores(self, queries: Sequence[Sequence[Ids]], passages: Sequence[Sequence[Ids]]) -> Tensor:
        """(groups, queries, passages): of each group every query with every passage."""
        with torch.autocast("cpu", torch.bfloat16, enabled=FAST is torch.bfloat16):
            return torch.stack([self._group(*group) for group in zip(queries, passages, strict=True)])

    def _group(self, queries: Sequence[Ids], passages: Sequence[Ids]) -> Tensor:
        asked = self.asked(queries)
        order = sorted(range(len(passages)), key=lambda place: -len(passages[place]))
        found: list[Tensor] = []
        start = 0
        while start < len(order):
            size = max(1, CHUNK_TOKENS // len(passages[order[start]]))
            found.append(self.matched(*self.states([passages[place] for place in order[start : start + size]]), *asked))
            start += size
        back = torch.empty(len(order), dtype=torch.int64)
        back[torch.tensor(order)] = torch.arange(len(order))
        return torch.cat(found)[back].T

    @abstractmethod
    def asked(self, queries: Sequence[Ids]) -> tuple[Tensor, ...]:
        """What of the queries a passage needs."""

    @abstractmethod
    def matched(self, states: Tensor, mask: Tensor, *asked: Tensor) -> Tensor:
        """Scores (passages, queries) float32 of passages by their tokens' states."""

    def states(self, texts: Sequence[Ids]) -> tuple[Tensor, Tensor]:
        """What the vocabulary is multiplied with, (texts, tokens, width), and which tokens are real."""
        longest = max(map(len, texts))
        ids = torch.tensor([[*text, *[PAD] * (longest - len(text))] for text in texts])
        mask = ids != PAD
        return self.model.cls.predictions.transform(self.model.bert(ids, attention_mask=mask).last_hidden_state), mask


class Sparse(Student):
    """A text's weight of a term is the largest over tokens of log(1 + relu(logit)) (SPLADE, Formal et al. 2021).

    Only the query's heaviest terms are computed for a passage.
    """

    def __init__(self, model: torch.nn.Module, terms: int) -> None:
        super().__init__(model, terms)
        decoder = model.cls.predictions.decoder
        self.words, self.bias = decoder.weight, decoder.bias  # (vocabulary, width), (vocabulary,)

    def asked(self, queries: Sequence[Ids]) -> tuple[Tensor, ...]:
        """Vectors and biases of the terms that are among the heaviest of any query, and weights (queries, terms)."""
        states, mask = self.states(queries)
        with torch.no_grad():
            logits = (states @ self.words.T).masked_fill(~mask[..., None], -1e4).amax(1) + self.bias
            best = logits.topk(self.terms)
            terms = best.indices[best.values > 0].unique()
        words, bias = F.embedding(terms, self.words), self.bias[terms]
        return words, bias, self._weights(states, mask, words, bias)

    def matched(self, states: Tensor, mask: Tensor, *asked: Tensor) -> Tensor:
        words, bias, weights = asked
        own = self._weights(states, mask, words, bias)
        with torch.autocast("cpu", enabled=False):
            return own @ weights.T

    def _weights(self, states: Tensor, mask: Tensor, words: Tensor, bias: Tensor) -> Tensor:
        """(texts, terms) float32."""
        logits = (states @ words.T).masked_fill(~mask[..., None], -1e4).amax(1)
        return torch.log1p(torch.relu(logits.float() + bias.float()))


class LateInteraction(Student):
    """Each token of the query counts the cosine of the passage's token that is most like it (ColBERT, Khattab 2020)."""

    def asked(self, queries: Sequence[Ids]) -> tuple[Tensor, ...]:
        states, mask = self.states(queries)
        return F.normalize(states.float(), dim=-1), mask

    def matched(self, states: Tensor, mask: Tensor, *asked: Tensor) -> Tensor:
        tokens, real = asked  # (queries, their tokens, width), (queries, their tokens)
        like = F.normalize(states.float(), dim=-1) @ tokens.flatten(0, 1).T  # (passages, their tokens, queries' tokens)
        best = like.masked_fill(~mask[..., None], -1).amax(1).float().unflatten(1, real.shape)
        return SHARPNESS * (best * real).sum(-1)


STUDENTS = {"sparse": Sparse, "late-interaction": LateInteraction}
