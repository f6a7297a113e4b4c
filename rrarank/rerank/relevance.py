"""The probability of relevance beside a run, which has no column for it: a TSV file of the re-ranked documents."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rrarank.data.calibration import RelevanceMap
from rrarank.data.types import Hit
from rrarank.engine.floor import Floor
from rrarank.engine.reranker import Reranker
from rrarank.errors import RrarankError, say
from rrarank.rerank.reasons import reasons_path
from rrarank.storage.files import STDIO, atomic_write, is_file
from rrarank.storage.journal import journal_path
from rrarank.storage.sidecar import sidecar_path

HEADER = "qid\tdocid\tscore\trelevance\n"


def check_place(path: str, run: str) -> None:
    """Refuse a file that would take the place of the run to write, or of a file that is written beside it.

    Args:
        path: of the file; empty: none.
    """
    if not path or not (is_file(run) or run == STDIO):  # a device takes both
        return
    taken = [run, str(sidecar_path(run)), str(journal_path(run)), reasons_path(run)]
    if os.path.realpath(path) in map(os.path.realpath, taken):
        raise RrarankError(f"--relevance {path}: is the place of the run or of a file beside it; give another")


class Scored:
    """Collects the re-ranked documents with the reranker's own scores, and counts those that the floor keeps.

    Args:
        relevance: the model's map; None if nothing needs it.
        listed: whether a file will list them.
    """

    def __init__(self, relevance: RelevanceMap | None, floor: Floor, *, listed: bool) -> None:
        self._relevance, self._floor, self._listed = relevance, floor, listed
        self._lines: list[str] = []
        self.scored = self.kept = self.emptied = 0

    @classmethod
    def by(cls, reranker: Reranker, floor: Floor, *, listed: bool) -> Scored:
        """
        Raises:
            RrarankError: the model has no calibration, and the file or the floor needs one, or there is a floor and
                the reranker does not score all.
        """
        floor.check(scores_all=reranker.scores_all)
        needs = listed or floor.relevance is not None
        return cls(reranker.needed_relevance() if needs else None, floor, listed=listed)

    def __call__(self, qid: str, hits: Sequence[Hit]) -> None:
        likely = [self._relevance(hit.score) if self._relevance else None for hit in hits]
        kept = sum(self._floor.keeps(hit.score, one) for hit, one in zip(hits, likely, strict=True))
        self.scored, self.kept, self.emptied = self.scored + len(hits), self.kept + kept, self.emptied + (not kept)
        if self._listed:
            self._lines += [f"{qid}\t{h.docid}\t{h.score:.6g}\t{p:.4f}\n" for h, p in zip(hits, likely, strict=True)]

    def finish(self, path: str) -> None:
        """Write every re-ranked document, also those that the floor left out, and say what that costs.

        Args:
            path: of the file; empty: none.
        """
        if path:
            with atomic_write(path) as file:
                file.write(HEADER)
                file.writelines(self._lines)
        if self._floor:
            say(self._told())

    def _told(self) -> str:
        empty = f"; {self.emptied:,} queries keep none and are not in the run" if self.emptied else ""
        return (
            f"{self.kept:,} of {self.scored:,} re-ranked documents are kept, and nothing below them{empty}: "
            "recall falls, so compare this run by precision"
        )
