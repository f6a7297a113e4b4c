"""Teachers: who says in which order the shown candidates are relevant, and which are not.

What a teacher leaves out is a hard negative (RRADistill), by a rule of each kind of teacher that goes into the set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from rrarank.data.types import Hit, LabelledRanking, Ranking, Run, blocks
from rrarank.engine.blocks import RemoteScorer, rank_block
from rrarank.engine.reranker import Reranker
from rrarank.errors import RrarankError
from rrarank.llm.base import Answer, Failure
from rrarank.measures.fusion import fuse_runs
from rrarank.storage.journal import Journal, work_key

BLOCK = 8  # queries scored at once, as in the engine


class Teacher(ABC):
    """Labels lists: what takes long is done by `ask` and kept in a journal; `label` reads what is known."""

    kind: str
    rule: str

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()  # of the answers that came in by `ask`

    def ask(self, lists: Iterable[LabelledRanking]) -> Iterator[tuple[str, Answer | Failure | None]]:
        """(qid, what came of it) for every list that is not yet known, in order of completion."""
        return iter(())

    @abstractmethod
    def label(self, shown: LabelledRanking) -> LabelledRanking | None:
        """The list with its labels; None if there is no answer."""

    def described(self, shown: LabelledRanking, **facts: object) -> dict[str, object]:
        """Provenance."""
        return {"teacher": self.kind, "rule": self.rule, **facts, **shown.provenance}


class FusedRuns(Teacher):
    """TREC runs of strong systems, one or several; what few of them hold is missing."""

    kind = "runs"
    rule = (
        "of the runs that answer the query: listed, held by half or more, in order of reciprocal rank fusion; "
        "missing, by less than a third"
    )

    def __init__(self, runs: Mapping[str, Run]) -> None:
        super().__init__()
        if not runs:
            raise RrarankError("the teacher `runs` needs one or more; give --teacher-runs")
        self.runs = runs
        together = list(runs.values())
        self.fused = fuse_runs(together, hits=10**6) if len(together) > 1 else together[0]

    def label(self, shown: LabelledRanking) -> LabelledRanking:
        qid = shown.query.qid
        equal = dict(shown.provenance.get("equal_texts", {}))  # type: ignore[call-overload]  # docid -> the one shown
        answering = [run[qid] for run in self.runs.values() if run.get(qid)]
        held = Counter(docid for hits in answering for docid in {equal.get(hit.docid, hit.docid) for hit in hits})
        docids = [candidate.docid for candidate in shown.shown]
        provenance = self.described(shown, runs=list(self.runs))
        if not answering:
            return replace(shown, unknown=tuple(docids), faults=("no runs",), provenance=provenance)
        place: dict[str, int] = {}
        for rank, hit in enumerate(self.fused[qid]):
            place.setdefault(equal.get(hit.docid, hit.docid), rank)
        listed = sorted(
            (docid for docid in docids if 2 * held[docid] >= len(answering)), key=lambda docid: place[docid]
        )
        missing = tuple(docid for docid in docids if 3 * held[docid] < len(answering))
        unknown = tuple(docid for docid in docids if docid not in missing and docid not in listed)
        return replace(shown, listed=tuple(listed), missing=missing, unknown=unknown, provenance=provenance)


class Scores(Teacher):
    """A reranker as teacher, such as a bi-encoder or a cross-encoder."""

    kind = "scores"
    rule = "every candidate is scored: nothing is missing"

    def __init__(self, reranker: Reranker, name: str, journal: Journal, remote: RemoteScorer | None = None) -> None:
        super().__init__()
        self.reranker, self.name, self.journal = reranker, name, journal
        self._ranked = remote or self._here

    def ask(self, lists: Iterable[LabelledRanking]) -> Iterator[tuple[str, Answer | Failure | None]]:
        whole = blocks(lists, BLOCK)  # as a score may hang on its block by a bit
        left = [block for block in whole if not all(self._key(shown) in self.journal for shown in block)]
        for place, ranked in self._ranked([[Ranking(shown.query, shown.shown) for shown in block] for block in left]):
            for shown, hits in zip(left[place], ranked, strict=True):
                if (key := self._key(shown)) not in self.journal:
                    self.journal.add(key, hits)
                    yield shown.query.qid, None

    def _here(self, asked: Sequence[Sequence[Ranking]]) -> Iterator[tuple[int, list[list[Hit]]]]:
        for place, block in enumerate(asked):
            yield place, rank_block(block, self.reranker)

    def label(self, shown: LabelledRanking) -> LabelledRanking | None:
        if (key := self._key(shown)) not in self.journal:
            return None
        scores = dict(self.journal[key])
        model = self.reranker.model_name or self.name
        provenance = self.described(shown, reranker=self.name, model=model, scores=scores)
        return replace(shown, listed=tuple(scores), provenance=provenance)

    def _key(self, shown: LabelledRanking) -> str:
        texts = [[candidate.docid, candidate.text] for candidate in shown.shown]
        return work_key("scores", self.reranker.fingerprint(), shown.query.qid, shown.query.text, texts)
