"""Sort candidates by asking which of a few is best: heapsort, bubble sort, all pairs.

Set-wise as Zhuang et al. (SIGIR 2024), pair-wise as Qin et al. (NAACL 2024, PRP). A sort yields groups of candidates,
numbered from 0 in the first stage's order, gets the best of each group, and returns all candidates, best first.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from rrarank.errors import RrarankError

Group = Sequence[int]
Sort = Generator[list[Group], list[int | None], list[int]]
"""Yields groups that can be asked at the same time; None: the answer names none, and the order stays."""


def heapsort(n: int, size: int, top: int) -> Sort:
    """The best `top` of n from a heap whose nodes have `size` - 1 children, two for pairs; the others keep their order.

    The number of questions depends on the answers.
    """
    heap, best = list(range(n)), list[int]()
    for place in range((n - 2) // _children(size) if n > 1 else -1, -1, -1):
        yield from _sink(heap, place, n, size)
    for end in range(n - 1, max(n - 1 - top, -1), -1):
        best.append(heap[0])
        heap[0] = heap[end]
        if len(best) < top:
            yield from _sink(heap, 0, end, size)
    return [*best, *(one for one in range(n) if one not in set(best))]


def _children(size: int) -> int:
    return max(size - 1, 2)  # one child each would be a chain, which asks more than all pairs


def _sink(heap: list[int], place: int, end: int, size: int) -> Generator[list[Group], list[int | None], None]:
    """Exchange a node with its best child until it is better than all of them."""
    while (first := place * _children(size) + 1) < end:
        family = [heap[place], *heap[first : min(first + _children(size), end)]]
        winner = yield from _best(family, size)
        if winner == family[0]:
            return
        child = first + family.index(winner) - 1
        heap[place], heap[child] = heap[child], heap[place]
        place = child


def _best(family: Group, size: int) -> Generator[list[Group], list[int | None], int]:
    """The best of a node and its children: one question, or for pairs one a child."""
    best = family[0]
    for start in range(1, len(family), size - 1):
        group = [best, *family[start : start + size - 1]]
        [winner] = yield [group]
        best = min(group) if winner is None else winner  # else the last leaf would stay on top
    return best


def bubble_sort(n: int, size: int, top: int) -> Sort:
    """The best `top` of n: a window of `size` passes from the bottom to the top `top` times and carries the best along.

    The number of questions does not depend on the answers.
    """
    order = list(range(n))
    for done in range(min(top, n - 1)):
        end = n
        while end > done + 1:
            start = max(end - size, done)
            [winner] = yield [order[start:end]]
            if winner is not None:
                order.remove(winner)
                order.insert(start, winner)
            end = start + 1
    return order


def all_pairs(n: int, size: int = 2, top: int = 0) -> Sort:
    """Every pair once; a win counts 1 and a tie one half. Equal counts keep their order."""
    pairs: list[Group] = [(a, b) for b in range(n) for a in range(b)]
    winners = (yield pairs) if pairs else []
    wins = dict.fromkeys(range(n), 0.0)
    for pair, winner in zip(pairs, winners, strict=True):
        for one in pair if winner is None else [winner]:
            wins[one] += 0.5 if winner is None else 1.0
    return sorted(range(n), key=lambda one: -wins[one])


SORTS: dict[str, Callable[[int, int, int], Sort]] = {
    "heapsort": heapsort,
    "bubblesort": bubble_sort,
    "allpairs": all_pairs,
}


def check_sort(name: str, size: int, top: int, known: Sequence[str]) -> None:
    """Refuse a sort that there is not, and sizes with which it cannot work."""
    if name not in known:
        raise RrarankError(f"sort {name!r}: expected one of {', '.join(known)}")
    if size < 2 or top < 1:
        raise RrarankError(f"a group of {size} and a top of {top}: expected 2 or more, and 1 or more")
