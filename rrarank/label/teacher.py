"""Teachers: they order the shown candidates by relevance and leave out those that are not relevant.

Documents that a teacher leaves out are hard negatives (RRADistill); each kind of teacher records its rule in the set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rrarank.data.types import LabelledRanking, Ranking, Run, blocks
from rrarank.engine.blocks import RemoteScorer, ScoredBlock, score_block
from rrarank.engine.reranker import Reranker
from rrarank.errors import RrarankError
from rrarank.llm.base import Answer, Failure
from rrarank.measures.fusion import fuse_runs
from rrarank.storage.journal import Journal, work_key

BLOCK = 8  # queries scored together, as in the engine


class Teacher(ABC):
    """Labels lists: `ask` does the slow work and keeps it in a journal; `label` reads the journal."""

    kind: str
    rule: str

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()  # of the answers received by `ask`
        self.failures: dict[str, Failure] = {}  # qid -> why there is no answer

    def ask(self, lists: Sequence[LabelledRanking]) -> Iterator[tuple[str, Answer | Failure | None]]:
        """Yield (qid, outcome) for each list that the journal lacks, in order of completion."""
        return iter(())

    @abstractmethod
    def label(self, shown: LabelledRanking) -> LabelledRanking | None:
        """The list with its labels; None without an answer."""

    def provenance(self, shown: LabelledRanking, **facts: object) -> dict[str, object]:
        return {"teacher": self.kind, "rule": self.rule, **facts, **shown.provenance}


class FusedRuns(Teacher):
    """TREC runs of strong systems, one or several; documents that few of the runs contain are missing."""

    kind = "runs"
    rule = (
        "of the runs that answer the query: listed, held by half or more, in order of reciprocal rank fusion; "
        "missing, by less than a third"
    )

    def __init__(self, runs: Mapping[str, Run]) -> None:
        super().__init__()
        if not runs:
            raise RrarankError("no runs as teacher; give at least one (--teacher-runs)")
        self.runs = runs
        self.fused = fuse_runs(list(runs.values()), hits=10**6) if len(runs) > 1 else next(iter(runs.values()))

    def label(self, shown: LabelledRanking) -> LabelledRanking:
        qid = shown.query.qid
        equal = dict(shown.provenance.get("equal_texts", {}))  # type: ignore[call-overload]  # docid -> the one shown
        answering = [run[qid] for run in self.runs.values() if run.get(qid)]
        held = Counter(docid for hits in answering for docid in {equal.get(hit.docid, hit.docid) for hit in hits})
        docids = [candidate.docid for candidate in shown.shown]
        provenance = self.provenance(shown, runs=list(self.runs))
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


@dataclass(frozen=True)
class ScorerConfig:
    """A reranker that scores candidates, as pre-ranker or as teacher.

    Args:
        name: a registered reranker; as pre-ranker, `bm25` keeps the order of the run.
        model: folder or hub id; empty: the reranker's default.
        index: for a bi-encoder, a dense index with its embeddings of the collection.
    """

    name: str
    model: str = ""
    index: str = ""


class RerankerTeacher(Teacher):
    """A reranker as teacher, such as a bi-encoder or a cross-encoder."""

    kind = "scores"
    rule = "every candidate is scored: nothing is missing"

    def __init__(self, reranker: Reranker, name: str, journal: Journal, remote: RemoteScorer | None = None) -> None:
        super().__init__()
        self.reranker, self.name, self.journal = reranker, name, journal
        self._score_blocks = remote or self._score_here

    def ask(self, lists: Sequence[LabelledRanking]) -> Iterator[tuple[str, Answer | Failure | None]]:
        whole = blocks(lists, BLOCK)  # whole blocks, as the last bits of a score may depend on its block
        left = [block for block in whole if not all(self._key(shown) in self.journal for shown in block)]
        rankings = [[Ranking(shown.query, shown.shown) for shown in block] for block in left]
        for place, scored in self._score_blocks(rankings):
            for shown, hits in zip(left[place], scored.hits, strict=True):
                if (key := self._key(shown)) not in self.journal:
                    self.journal.add(key, hits)
                    yield shown.query.qid, None

    def _score_here(self, rankings: Sequence[Sequence[Ranking]]) -> Iterator[tuple[int, ScoredBlock]]:
        for place, block in enumerate(rankings):
            yield place, score_block(block, self.reranker)

    def label(self, shown: LabelledRanking) -> LabelledRanking | None:
        if (key := self._key(shown)) not in self.journal:
            return None
        scores = dict(self.journal[key])
        model = self.reranker.model_name or self.name
        facts = {"reranker": self.name, "model": model, "fingerprint": self.reranker.fingerprint()}
        return replace(shown, listed=tuple(scores), provenance=self.provenance(shown, **facts, scores=scores))

    def _key(self, shown: LabelledRanking) -> str:
        texts = [[candidate.docid, candidate.text] for candidate in shown.shown]
        return work_key("scores", self.reranker.fingerprint(), shown.query.qid, shown.query.text, texts)
