"""A language model as teacher: one list-wise question a query, and one more for reasons where they are wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from rrarank.data.types import LabelledRanking
from rrarank.errors import RrarankError
from rrarank.label.teacher import Teacher
from rrarank.llm.base import Answer, Failure, Messages
from rrarank.llm.listwise import labels, parse_answer
from rrarank.llm.questions import Asking, ask_new, ended, recorded
from rrarank.storage.journal import Journal

TOKENS_A_REASON = 30  # `[12] Relevant: ` and twenty words


class LLMTeacher(Teacher):
    """List-wise ranking by a language model.

    Args:
        ranking: who ranks.
        reasons: who says why, given the ranking; a smaller model will do (RRADistill).
        failures: qid -> why there is no answer, after `ask`.
    """

    kind = "llm"
    rule = "missing: shown, not named, and the answer ended by itself; unknown: where it broke off"

    def __init__(self, ranking: Asking, journal: Journal, reasons: Asking | None = None) -> None:
        super().__init__()
        self.ranking, self.reasons, self.journal = ranking, reasons, journal
        self.failures: dict[str, Failure] = {}

    def ask(self, lists: Iterable[LabelledRanking]) -> Iterator[tuple[str, Answer | Failure | None]]:
        if self.reasons is None:
            yield from self._answers(self.ranking, self._which, lists)
            return
        lists = list(lists)  # there are two rounds
        yield from self._answers(self.ranking, self._which, lists)
        ranked = (label for shown in lists if (label := self._ranked(shown)) and label.listed)
        yield from self._answers(self.reasons, self._why, ranked)

    def _answers(
        self,
        asking: Asking,
        question: Callable[[LabelledRanking], tuple[str, Messages]],
        lists: Iterable[LabelledRanking],
    ) -> Iterator[tuple[str, Answer | Failure | None]]:
        possible = ((shown, *self._possible(question, shown)) for shown in lists)
        for shown, outcome in ask_new(asking.llm, self.journal, (one for one in possible if one[1])):
            if not isinstance(outcome, Answer):
                self.failures[shown.query.qid] = outcome
            elif asking is self.ranking:
                faults = read_answer(shown, outcome.text, finished=ended(outcome)).faults
                self.verdicts[faults[0] if faults else "ok"] += 1
            yield shown.query.qid, outcome

    def _possible(
        self, question: Callable[[LabelledRanking], tuple[str, Messages]], shown: LabelledRanking
    ) -> tuple[str, Messages]:
        """The question; an empty key if it cannot be asked, as when a query is longer than the context."""
        try:
            return question(shown)
        except RrarankError as error:
            self.failures[shown.query.qid] = Failure(str(error), retryable=False)
            return "", []

    def label(self, shown: LabelledRanking) -> LabelledRanking | None:
        label = self._ranked(shown)
        if not (self.reasons and label and label.listed):
            return label
        answer = recorded(self.journal, self._possible(self._why, label)[0])
        if answer is None:
            return None
        model = {"reasons": self.reasons.provenance(answer)}
        return replace(label, reasons=parse_reasons(answer.text, label), provenance={**label.provenance, **model})

    def _ranked(self, shown: LabelledRanking) -> LabelledRanking | None:
        answer = recorded(self.journal, self._possible(self._which, shown)[0])
        if answer is None:
            return None
        label = read_answer(shown, answer.text, finished=ended(answer))
        return replace(label, provenance=self.described(shown, **self.ranking.provenance(answer)))

    def _which(self, shown: LabelledRanking) -> tuple[str, Messages]:
        return self.ranking.question(shown.query.text, [candidate.text for candidate in shown.shown])

    def _why(self, label: LabelledRanking) -> tuple[str, Messages]:
        assert self.reasons
        number = {candidate.docid: f"[{place}]" for place, candidate in enumerate(label.shown, start=1)}
        ranking = f"\nRanking: {' > '.join(number[docid] for docid in label.listed)}"
        left_out = f"\nLeft out: {', '.join(number[docid] for docid in label.missing)}" if label.missing else ""
        return self.reasons.question(label.query.text, [c.text for c in label.shown], ranking + left_out)


def read_answer(shown: LabelledRanking, answer: str, *, finished: bool = True) -> LabelledRanking:
    """The list as a list-wise answer labels it."""
    parsed = parse_answer(answer, len(shown.shown), finished=finished)
    docids = [candidate.docid for candidate in shown.shown]
    listed, missing, unknown = (tuple(docids[place] for place in places) for places in labels(parsed))
    return replace(shown, listed=listed, missing=missing, unknown=unknown, faults=parsed.faults, answer=answer)


_REASON = re.compile(  # `[3] why`, `3: why`, `1. **[3]** why`; but neither `[3]` alone nor `[3] > [1]`
    r"^\W*(?:[0-9]+[.)][ *]+(?=\[))?\[?([0-9]{1,6}+)\]?+[ \t*|:.)–—-]*+(?![\[>,;=])(\S.*?)\s*$", re.MULTILINE
)


def parse_reasons(answer: str, label: LabelledRanking) -> dict[str, str]:
    """docid -> reason, from lines of `[n] …`; of a passage that has two the first counts."""
    reasons: dict[str, str] = {}
    for number, reason in _REASON.findall(answer):
        if 1 <= int(number) <= len(label.shown):
            reasons.setdefault(label.shown[int(number) - 1].docid, reason)
    return reasons
