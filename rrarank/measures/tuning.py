"""Choose a setting on judged queries, and measure the choice on queries that did not make it.

The best of many settings looks better on the queries that chose it than it is. So each fold's queries are measured at
the setting that is best on all other folds (nested cross-validation: Varma & Simon, BMC Bioinformatics 2006).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rrarank.errors import RrarankError
from rrarank.measures.significance import SEED, Comparison, compare, corrected

Setting = TypeVar("Setting", bound=Hashable)

FOLDS = 10
REPEATS = 10  # random partitions; a query's value is its mean over them
FEWEST = 10  # queries


@dataclass(frozen=True)
class Tuned(Generic[Setting]):
    """What tuning found.

    Args:
        best: the setting with the highest mean over all queries.
        means: setting -> mean over all queries.
        held_out: qid -> value at the settings that other queries chose.
        chosen: setting -> share of the folds that chose it, the most frequent first.
    """

    best: Setting
    means: Mapping[Setting, float]
    held_out: Mapping[str, float]
    chosen: Mapping[Setting, float]

    @property
    def mean(self) -> float:
        """What the choice is worth on queries that did not make it."""
        return sum(self.held_out.values()) / len(self.held_out)

    def against(self, others: Mapping[str, Mapping[str, float]], measure: str) -> list[Comparison]:
        """The held-out values minus each other system's, with Holm's correction over them.

        Args:
            others: name -> qid -> value.
        """
        ours = list(self.held_out.values())
        theirs = {name: [values[qid] for qid in self.held_out] for name, values in others.items()}
        return corrected([compare(name, measure, ours, values) for name, values in theirs.items()])


def tune_settings(
    values: Mapping[Setting, Mapping[str, float]], *, folds: int = FOLDS, repeats: int = REPEATS, seed: int = SEED
) -> Tuned[Setting]:
    """Choose among settings by their mean; of equally good ones the first.

    Args:
        values: setting -> qid -> value of the measure; every setting has the same queries.

    Raises:
        RrarankError: fewer than 10 queries, or fewer than two settings.
    """
    import numpy as np

    settings, qids = list(values), list(next(iter(values.values()), {}))
    if len(settings) < 2:
        raise RrarankError(f"{len(settings)} settings to choose from, expected at least two")
    check_enough(len(qids))
    table = np.array([[values[setting][qid] for qid in qids] for setting in settings])  # (settings, queries)
    total, rng = table.sum(axis=1), np.random.default_rng(seed)
    best = _first_best(total)
    added, chosen = (
        np.zeros(len(qids)),
        Counter[int](),
    )  # to the values of the best setting: exact where all folds agree
    for _ in range(repeats):
        for fold in np.array_split(rng.permutation(len(qids)), min(folds, len(qids))):
            place = _first_best(total - table[:, fold].sum(axis=1))
            added[fold] += table[place, fold] - table[best, fold]
            chosen[place] += 1
    held_out = table[best] + added / repeats
    return Tuned(
        settings[best],
        dict(zip(settings, (total / len(qids)).tolist(), strict=True)),
        dict(zip(qids, held_out.tolist(), strict=True)),
        {settings[place]: times / chosen.total() for place, times in chosen.most_common()},
    )


def check_enough(queries: int) -> None:
    """Refuse fewer judged queries than can be both chosen and measured on."""
    if queries < FEWEST:
        raise RrarankError(f"{queries} judged queries, expected at least {FEWEST} to choose on and to measure on")


def _first_best(sums: Sequence[float]) -> int:
    """The place of the highest sum; sums that differ by rounding alone count as equal."""
    best = max(sums) - 1e-9
    return next(place for place, value in enumerate(sums) if value >= best)
