"""What follows below the re-ranked hits."""

from collections.abc import Sequence

from rrarank.data.types import Hit


def with_tail(hits: Sequence[Hit], first_stage: Sequence[Hit]) -> list[Hit]:
    """The re-ranked hits, then the rest of the first stage in its order, each scored 1 below the one before it."""
    ranked = {hit.docid for hit in hits}
    rest = [hit for hit in first_stage if hit.docid not in ranked]
    if not hits:
        return rest
    return [*hits, *(Hit(hit.docid, hits[-1].score - place) for place, hit in enumerate(rest, start=1))]
