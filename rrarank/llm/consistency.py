"""Merge several rankings of one list: permutation self-consistency (Tang et al., NAACL 2024).

An LLM is biased by the order in which it is shown passages. The same passages are shown in several orders, and the
ranking with the fewest disagreements with all answers (Kemeny) cancels part of the bias.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from rrarank.llm.listwise import Parsed, Places

ROUNDS = 100  # of the local search; lists of 100 settle after a few


def shuffles(count: int, permutations: int, seed: int) -> list[Places]:
    """The orders in which `count` passages are shown: the given one first, then random ones."""
    shown = [tuple(range(count))]
    for number in range(1, permutations):
        order = list(range(count))
        random.Random(f"{seed} {number} {count}").shuffle(order)
        shown.append(tuple(order))
    return shown


def unshuffled(parsed: Parsed, shown: Places) -> Places:
    """The places that an answer ranks, in the order in which they were given before they were shuffled."""
    return tuple(shown[place] for place in parsed.order)


def merge(rankings: Sequence[Places], count: int) -> Places:
    """The ranking of `count` places that disagrees least with the rankings, which may leave places out.

    A ranking prefers each place that it names to those below it and to those that it leaves out. From the order of
    wins (Borda), places are moved to where they disagree least until nothing is gained: a local optimum of Kemeny's
    rule, which is NP-hard. Ties keep the given order.
    """
    prefers = [[0] * count for _ in range(count)]  # [a][b]: how many rankings have a above b
    for ranking in rankings:
        below = set(range(count))
        for place in ranking:
            below.discard(place)
            for other in below:
                prefers[place][other] += 1
    order = sorted(range(count), key=lambda place: -sum(_net(prefers, place, other) for other in range(count)))
    for _ in range(ROUNDS):
        gained = [_moved(order, place, prefers) for place in range(count)]
        if not any(gained):
            break
    return tuple(order)


def _net(prefers: Sequence[Sequence[int]], a: int, b: int) -> int:
    return prefers[a][b] - prefers[b][a]


def _moved(order: list[int], place: int, prefers: Sequence[Sequence[int]]) -> bool:
    """Move one place to where it disagrees least; whether that gained anything."""
    start = order.index(place)
    best, target = 0, start
    gain = 0
    for to in range(start - 1, -1, -1):  # upwards: past those that it should precede
        gain += _net(prefers, place, order[to])
        if gain > best:
            best, target = gain, to
    gain = 0
    for to in range(start + 1, len(order)):
        gain += _net(prefers, order[to], place)
        if gain > best:
            best, target = gain, to
    if target != start:
        order.insert(target, order.pop(start))
    return target != start
