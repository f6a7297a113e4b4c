"""Rankings drafted into one: team-draft interleaving of two rankers, and of more, its multileaving form."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Pick(NamedTuple):
    """A shown document and the ranker whose team it is in."""

    docid: str
    team: str


def team_draft(rankings: Mapping[str, Sequence[str]], rng: random.Random, length: int | None = None) -> list[Pick]:
    """One list in which each ranker in turn picks its best document that is not picked yet.

    The rankers' order is drawn anew for every round. For two rankers this is team-draft interleaving (Radlinski, Kurup
    and Joachims, CIKM 2008), for more, team-draft multileaving (Schuth et al., CIKM 2014).

    Args:
        rankings: ranker -> docids, best first; a ranker without documents left is passed over.
        length: most documents; None for all.
    """
    most = len(set().union(*rankings.values())) if length is None else length
    picked: dict[str, str] = {}
    left = {name: iter(docids) for name, docids in rankings.items()}
    while left and len(picked) < most:
        for name in rng.sample(list(left), len(left)):
            docid = next((one for one in left[name] if one not in picked), None)
            if docid is None:
                del left[name]
            elif len(picked) < most:
                picked[docid] = name
    return [Pick(docid, team) for docid, team in picked.items()]
