"""Click models: how likely a place is examined, and how attractive each document is once it is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rrarank.data.impressions import Impression
from rrarank.errors import RrarankError
from rrarank.measures.lifts import Array, sums

Pair = tuple[str, str]
"""(query's name, docid)."""

ROUNDS = 2_000
CLOSE = 1e-5
"""Expectation maximisation ends when no place's probability changes by more, or after so many rounds."""
_FLOOR = 1e-6


@dataclass(frozen=True)
class ClickModel:
    """What a click model tells.

    Args:
        examination: of each place from 1, relative to the first; how often its documents are looked at.
        examined: pair -> expected number of times that its document was looked at.
        clicked: pair -> how often it was clicked.
    """

    name: str
    examination: Sequence[float]
    examined: Mapping[Pair, float]
    clicked: Mapping[Pair, int]

    def attraction(self, pair: Pair, prior: float = 1.0) -> float:
        """Clicks per look, as if `prior` more looks had had the mean number of clicks."""
        looks, clicks = self.examined.get(pair, 0.0), self.clicked.get(pair, 0)
        return (clicks + prior * self.mean) / (looks + prior)

    @property
    def mean(self) -> float:
        """Clicks per look over all pairs."""
        return sum(self.clicked.values()) / max(sum(self.examined.values()), _FLOOR)


def fit(found: Sequence[Impression], model: str = "pbm") -> ClickModel:
    """Fit a model by its name.

    Raises:
        RrarankError: no such model, nothing was shown or clicked, or the clicks do not suffice for the model.
    """
    if model not in MODELS:
        raise RrarankError(f"no click model named {model!r} (known: {', '.join(MODELS)})")
    usable = [one for one in found if one.name and one.query.shown]
    if not any(one.clicks for one in usable):
        raise RrarankError("no clicks on shown documents of a query with a qid or a text: nothing to learn from")
    return MODELS[model](usable)


def _pbm(found: Sequence[Impression]) -> ClickModel:
    """Position-based: a click is a look, which depends on the place, and attraction, which depends on the document.

    Expectation maximisation (Chuklin, Markov & de Rijke, Click Models for Web Search, 2015, section 4.3). The same
    document at several places tells the two apart; without that, looks are a guess.
    """
    table = _table(found)
    looks = 1 / np.arange(1.0, table.places + 1)
    attraction = np.full(len(table.pairs), 0.5)
    for _ in range(ROUNDS):
        product = np.clip(looks[table.place] * attraction[table.pair], 0, 1 - _FLOOR)
        skipped, before = (table.shown - table.clicked) / (1 - product), looks
        looked = table.clicked + skipped * looks[table.place] * (1 - attraction[table.pair])
        liked = table.clicked + skipped * attraction[table.pair] * (1 - looks[table.place])
        looks = table.by_place(looked) / np.maximum(table.by_place(table.shown), _FLOOR)
        attraction = table.by_pair(liked) / table.by_pair(table.shown)
        if np.abs(looks - before).max() < CLOSE:
            break
    return _position_model("pbm", table, looks)


def _intervention(found: Sequence[Impression]) -> ClickModel:
    """The same by intervention: only documents that an experiment put at several places of the same query's list.

    What differs between a document's places is then the place alone (Joachims, Swaminathan & Schnabel, WSDM 2017;
    Agarwal et al., WSDM 2019). Nothing is assumed of how attractive documents are.
    """
    table = _table(found)
    moved = np.bincount(table.pair, minlength=len(table.pairs)) > 1
    table = table.only(moved[table.pair])
    if not len(table.pair):
        raise RrarankError("no document was shown at two places of one query: no intervention; use the model pbm")
    return _position_model("intervention", _table(found), _filled(_moved(table), _linked(table)))


def _moved(table: _Table) -> Array:
    """The places' looks that make the clicks on each document fall on its places as they did.

    Given its number of clicks, a document's clicks are multinomial over its places; that likelihood is concave in the
    logarithms of the looks.
    """
    from scipy.optimize import minimize

    total = table.by_pair(table.clicked)
    observed = table.by_place(table.clicked)

    def loss(logs: Array) -> tuple[float, Array]:
        weights = table.shown * np.exp(logs[table.place])
        whole = table.by_pair(weights)
        there = whole > 0
        value = float((total[there] * np.log(whole[there])).sum() - (observed * logs).sum())
        shares = weights * (total / np.where(there, whole, 1.0))[table.pair]
        steps = np.diff(logs)  # as if one click more told that a place is looked at as often as the one above it
        pull = np.concatenate([[0.0], steps]) - np.concatenate([steps, [0.0]])
        return value + float(steps @ steps) / 2, table.by_place(shares) - observed + pull

    found = minimize(loss, -np.log(np.arange(1.0, table.places + 1)), jac=True, method="L-BFGS-B")
    return np.asarray(np.exp(found.x), dtype=np.float64)


def _linked(table: _Table) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which places moved documents link to the first, over any number of documents: only these can be compared."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = table.places + len(table.pairs)
    edges = (np.ones(len(table.pair)), (table.place, table.places + table.pair))
    _, parts = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    return np.asarray(parts[: table.places] == parts[0])


def _filled(looks: Array, known: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Array:
    """A place that is not linked to the first is looked at as often as the one above it."""
    filled = looks / max(looks[0], _FLOOR)
    for place in range(1, len(filled)):
        filled[place] = filled[place] if known[place] else filled[place - 1]
    return np.asarray(filled, dtype=np.float64)


def _cascade(found: Sequence[Impression]) -> ClickModel:
    """Users look from the top down to their last click, and without a click at everything.

    Craswell et al., WSDM 2008, for one click; the dependent click model (Guo, Liu & Wang, WSDM 2009) for several,
    whose estimates these are.
    """
    examined: Counter[Pair] = Counter()
    clicked: Counter[Pair] = Counter()
    reached: Counter[int] = Counter()
    shown: Counter[int] = Counter()
    for one in found:
        last = max((click.place for click in one.clicks), default=len(one.query.shown))
        examined.update((one.name, docid) for docid in one.query.shown[:last])
        clicked.update((one.name, click.docid) for click in one.clicks)
        reached.update(range(1, last + 1))
        shown.update(range(1, len(one.query.shown) + 1))
    looks = [reached[place] / shown[place] for place in sorted(shown)]
    return ClickModel("cascade", looks, {pair: float(count) for pair, count in examined.items()}, clicked)


MODELS = {"pbm": _pbm, "intervention": _intervention, "cascade": _cascade}


# -- what was shown where ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """How often each document of a query was shown at a place, and clicked there: a row for each such triple.

    Args:
        pair, place: (rows,), numbers from 0.
        shown, clicked: (rows,).
    """

    pairs: Sequence[Pair]
    pair: np.ndarray[tuple[int], np.dtype[np.int64]]
    place: np.ndarray[tuple[int], np.dtype[np.int64]]
    shown: Array
    clicked: Array
    places: int

    def by_pair(self, values: Array) -> Array:
        return sums(self.pair, values, len(self.pairs))

    def by_place(self, values: Array) -> Array:
        return sums(self.place, values, self.places)

    def only(self, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> _Table:
        return _Table(self.pairs, self.pair[rows], self.place[rows], self.shown[rows], self.clicked[rows], self.places)


def _table(found: Sequence[Impression]) -> _Table:
    shown: defaultdict[tuple[str, str, int], int] = defaultdict(int)
    clicked: defaultdict[tuple[str, str, int], int] = defaultdict(int)
    for one in found:
        for place, docid in enumerate(one.query.shown):
            shown[one.name, docid, place] += 1
        for click in one.clicks:
            clicked[one.name, click.docid, click.place - 1] += 1
    numbers: dict[Pair, int] = {}
    pair = [numbers.setdefault((name, docid), len(numbers)) for name, docid, _ in shown]
    return _Table(
        list(numbers),
        np.array(pair, dtype=np.int64),
        np.array([place for *_, place in shown], dtype=np.int64),
        np.array(list(shown.values()), dtype=np.float64),
        np.array([clicked[row] for row in shown], dtype=np.float64),
        max(place for *_, place in shown) + 1,
    )


def _position_model(name: str, table: _Table, looks: Array) -> ClickModel:
    if not table.by_place(table.clicked)[0]:
        raise RrarankError(
            f"no click on a first place, with which the model {name} compares the others; use the model cascade"
        )
    relative = looks / max(looks[0], _FLOOR)
    examined, clicked = table.by_pair(table.shown * relative[table.place]), table.by_pair(table.clicked)
    return ClickModel(
        name,
        [float(look) for look in relative],
        dict(zip(table.pairs, examined.tolist(), strict=True)),
        {pair: int(count) for pair, count in zip(table.pairs, clicked, strict=True) if count},
    )
