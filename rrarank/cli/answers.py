"""Count an LLM's answers by verdict, and name the queries that it did not rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rrarank.engine.reranker import AsksLLM, HeardOf, Reranker
from rrarank.errors import MissingResource, PartialSuccess, shown
from rrarank.llm.listwise import NO_ORDER
from rrarank.storage.journal import Journal, note_key


class AnswerCounts:
    """Verdicts of a job's answers; a journal keeps them for the next try.

    Args:
        reranker: reports the verdicts of a query before its block is recorded.
    """

    def __init__(self, reranker: Reranker, journal: Journal | None) -> None:
        self._model, self._fingerprint, self._journal = reranker.model_name, reranker.fingerprint(), journal
        self._of: dict[str, Mapping[str, int]] = {}
        self._tokens_of: dict[str, Mapping[str, int]] = {}
        if isinstance(reranker, AsksLLM):
            reranker.report = self._add

    def _add(self, qid: str, heard: HeardOf) -> None:
        self._of[qid] = heard.verdicts
        counts = {"questions": heard.questions, "asked": heard.prompt_tokens, "answered": heard.answer_tokens}
        self._tokens_of[qid] = counts
        if self._journal is not None:
            self._journal.add(self._key(qid), heard.verdicts)
            self._journal.add(self._key(qid, "tokens"), counts)

    def _key(self, qid: str, what: str = "verdicts") -> str:
        return note_key(what, self._fingerprint, qid)

    def _recorded(self, qid: str) -> Mapping[str, int]:
        return self._kept(self._of, qid, "verdicts")

    def _kept(self, of: dict[str, Mapping[str, int]], qid: str, what: str) -> Mapping[str, int]:
        if qid not in of and self._journal is not None and self._key(qid, what) in self._journal:
            of[qid] = self._journal[self._key(qid, what)]
        return of.get(qid, {})

    def tokens(self, qids: Iterable[str]) -> dict[str, int]:
        """`questions`, tokens `asked` and `answered`, as the endpoint counted them."""
        return dict(sum((Counter(self._kept(self._tokens_of, qid, "tokens")) for qid in qids), Counter[str]()))

    def total(self, qids: Iterable[str]) -> Counter[str]:
        """verdict -> number of answers."""
        return sum((Counter(self._recorded(qid)) for qid in qids), Counter())

    def unranked(self, qids: Iterable[str]) -> list[str]:
        """The queries none of whose answers holds a ranking; those that needed no question are not among them."""
        return [qid for qid in qids if (found := self._recorded(qid)) and found.keys() <= NO_ORDER]

    def check_any(self, qids: Iterable[str]) -> None:
        """
        Raises:
            MissingResource: questions were asked, and no query was ranked.
        """
        qids = list(qids)
        asked = [qid for qid in qids if self._recorded(qid)]
        if asked and self.unranked(qids) == asked:
            if self._journal is not None:
                self._journal.remove()  # else the next try would read the same answers
            raise none_ranked(self._model, len(asked), self.total(qids))

    def failure(self, qids: Iterable[str], written: Iterable[str]) -> PartialSuccess | None:
        """The error of a run some of whose queries were not ranked."""
        return not_ranked(self.unranked(qids), written)


def none_ranked(model: str, queries: int, verdicts: Mapping[str, int]) -> MissingResource:
    """The error of a job whose LLM ranked no query."""
    return MissingResource(
        f"{model} ranked none of {queries:,} queries ({described(verdicts)}); no run is written. "
        "Give the model more room (--option max_tokens=N), turn its thinking off, or use another"
    )


def not_ranked(qids: Sequence[str], written: Iterable[str]) -> PartialSuccess | None:
    """The error of a run in which these queries were not ranked; None without any."""
    if not qids:
        return None
    message = f"{len(qids):,} queries were not ranked ({shown(qids)}): they keep their first-stage order"
    return PartialSuccess(f"{message}; the sidecar names them", tuple(written))


def described_tokens(tokens: Mapping[str, int]) -> str:
    """`; 1,200 tokens asked, 30 answered`; empty if the endpoint counted none."""
    return f"; {tokens['asked']:,} tokens asked, {tokens.get('answered', 0):,} answered" if tokens.get("asked") else ""


def described(verdicts: Mapping[str, int]) -> str:
    """`ok 3, no ids 1`: the most frequent first."""
    return ", ".join(f"{verdict} {count:,}" for verdict, count in Counter(verdicts).most_common())
