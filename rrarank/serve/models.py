"""The models that a server holds, under the names that requests give."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rrarank.engine import registry
from rrarank.errors import RrarankError, did_you_mean, say, shown

if TYPE_CHECKING:
    from rrarank.data.calibration import RelevanceMap
    from rrarank.engine.reranker import Reranker


@dataclass(frozen=True)
class ModelSettings:
    """What is loaded under a name.

    Args:
        reranker: a registered name.
        settings: of the reranker, as `load_reranker` takes them; `backend="auto"` chooses the fastest back end.
    """

    reranker: str = registry.DEFAULT
    settings: Mapping[str, object] = field(default_factory=dict)

    def chosen(self) -> ModelSettings:
        """The same with a back end in place of `auto`, which is measured here."""
        if self.settings.get("backend") != "auto":
            return self
        from rrarank.rerankers.backends.auto import choose_backend

        choice = choose_backend(registry.configure(self.reranker, **self.settings))
        say(f"--backend auto: {choice}")
        return self._with(backend=choice.backend, precision=choice.precision)

    def shared_by(self, workers: int) -> ModelSettings:
        """For one of several processes: its share of the processors, unless threads are given."""
        if workers == 1 or self.settings.get("threads"):
            return self
        return self._with(threads=max(1, (os.cpu_count() or 1) // workers))

    def _with(self, **more: object) -> ModelSettings:
        return replace(self, settings={**self.settings, **more})


class UnknownModel(RrarankError):
    """A request names a model that is not there."""


@dataclass(frozen=True)
class Served:
    """A model that is loaded.

    Args:
        reranker: its registered name.
        relevance: from its scores to relevance, if it has been calibrated.
        scores_all: whether its score of every document is its own.
    """

    name: str
    reranker: str
    relevance: RelevanceMap | None = None
    scores_all: bool = True


@dataclass(frozen=True)
class Models:
    """
    Args:
        served: at least one; the first answers requests that name none.
        named: whether requests choose by name. A server of one model without a name of its own takes any.
    """

    served: Sequence[Served]
    named: bool = False

    @property
    def first(self) -> Served:
        return self.served[0]

    def pick(self, wanted: str | None) -> Served:
        """
        Raises:
            UnknownModel: no model has that name; the message has the names there are.
        """
        if not self.named or wanted is None:
            return self.first
        known = {one.name: one for one in self.served}
        if wanted not in known:
            hint = did_you_mean(wanted[:100], known)
            raise UnknownModel(f"model: no {shown([wanted[:100]])}{hint} (known: {shown(known)})")
        return known[wanted]


def load_models(wanted: Mapping[str, ModelSettings]) -> tuple[Models, dict[str, Reranker]]:
    """The models and, by name, their rerankers. One under the name "" gets the name of its folder or hub id.

    Raises:
        RrarankError: a model cannot be loaded; the message begins with its name.
    """
    served, rerankers = [], {}
    for name, one in wanted.items():
        try:
            reranker = registry.load_reranker(one.reranker, **one.settings)
            relevance = reranker.relevance
        except RrarankError as error:
            if name:
                error.args = (f"model {name!r}: {error}",)
            raise
        known_as = name or reranker.model_name or one.reranker
        served.append(Served(known_as, one.reranker, relevance, reranker.scores_all))
        rerankers[known_as] = reranker
    return Models(served, named="" not in wanted), rerankers
