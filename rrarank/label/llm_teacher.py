"""An LLM as teacher: one list-wise question per query, and a second one if reasons are wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from rrarank.data.types import LabelledRanking
from rrarank.errors import RrarankError
from rrarank.label.teacher import Teacher
from rrarank.llm.base import Answer, Failure, Messages
from rrarank.llm.listwise import Parsed, labels, parse_answer
from rrarank.llm.questions import PromptedLLM, ask_unrecorded, is_complete, recorded_answer
from rrarank.llm.thoughts import without_thought
from rrarank.storage.journal import Journal

TOKENS_A_REASON = 30  # `[12] Relevant: ` and twenty words


class LLMTeacher(Teacher):
    """List-wise ranking by an LLM.

    Args:
        ranker: the LLM that ranks.
        explainer: the LLM that gives reasons for the ranking; a smaller model is enough (RRADistill).
    """

    kind = "llm"
    rule = "missing: shown, not named, and the answer ended by itself; unknown: where it broke off"

    def __init__(self, ranker: PromptedLLM, journal: Journal, explainer: PromptedLLM | None = None) -> None:
        super().__init__()
        self.ranker, self.explainer, self.journal = ranker, explainer, journal

    def ask(self, lists: Sequence[LabelledRanking]) -> Iterator[tuple[str, Answer | Failure | None]]:
        for shown, outcome in self._ask(self.ranker, self._ranking_question, lists):
            if isinstance(outcome, Answer):
                self.verdicts[self._read(shown, outcome).verdict] += 1
            yield shown.query.qid, outcome
        if self.explainer:
            ranked = (label for shown in lists if (label := self._ranked(shown)) and label.listed)
            for shown, outcome in self._ask(self.explainer, self._reason_question, ranked):
                yield shown.query.qid, outcome

    def _ask(
        self,
        asked: PromptedLLM,
        question: Callable[[LabelledRanking], tuple[str, Messages]],
        lists: Iterable[LabelledRanking],
    ) -> Iterator[tuple[LabelledRanking, Answer | Failure]]:
        questions = ((shown, *self._try(question, shown)) for shown in lists)
        for shown, outcome in ask_unrecorded(asked.llm, self.journal, (one for one in questions if one[1])):
            if isinstance(outcome, Failure):
                self.failures[shown.query.qid] = outcome
            yield shown, outcome

    def _try(
        self, question: Callable[[LabelledRanking], tuple[str, Messages]], shown: LabelledRanking
    ) -> tuple[str, Messages]:
        """The question; an empty key if it cannot be asked, for example because the query exceeds the context."""
        try:
            return question(shown)
        except RrarankError as error:
            self.failures[shown.query.qid] = Failure(str(error), retryable=False)
            return "", []

    def label(self, shown: LabelledRanking) -> LabelledRanking | None:
        label = self._ranked(shown)
        if not (self.explainer and label and label.listed):
            return label
        answer = recorded_answer(self.journal, self._try(self._reason_question, label)[0])
        if answer is None:
            return None
        provenance = {**label.provenance, "reasons": self.explainer.provenance(answer)}
        return replace(label, reasons=parse_reasons(answer.text, label), provenance=provenance)

    def _ranked(self, shown: LabelledRanking) -> LabelledRanking | None:
        answer = recorded_answer(self.journal, self._try(self._ranking_question, shown)[0])
        if answer is None:
            return None
        label = self._read(shown, answer)
        return replace(label, provenance=self.provenance(shown, **self.ranker.provenance(answer)))

    def _ranking_question(self, shown: LabelledRanking) -> tuple[str, Messages]:
        texts, scores = ([getattr(one, part) for one in shown.shown] for part in ("text", "score"))
        return self.ranker.question(shown.query.text, texts, scores=scores)

    def _read(self, shown: LabelledRanking, answer: Answer) -> LabelledRanking:
        return _labelled(shown, answer.text, self.ranker.parse(answer.text, len(shown.shown), is_complete(answer)))

    def _reason_question(self, label: LabelledRanking) -> tuple[str, Messages]:
        assert self.explainer
        number = {candidate.docid: f"[{place}]" for place, candidate in enumerate(label.shown, start=1)}
        ranking = f"\nRanking: {' > '.join(number[docid] for docid in label.listed)}"
        left_out = f"\nLeft out: {', '.join(number[docid] for docid in label.missing)}" if label.missing else ""
        return self.explainer.question(label.query.text, [c.text for c in label.shown], ranking + left_out)


def read_answer(shown: LabelledRanking, answer: str, *, finished: bool = True) -> LabelledRanking:
    """The list with the labels that a list-wise answer gives."""
    return _labelled(shown, answer, parse_answer(answer, len(shown.shown), finished=finished))


def _labelled(shown: LabelledRanking, answer: str, parsed: Parsed) -> LabelledRanking:
    docids = [candidate.docid for candidate in shown.shown]
    listed, missing, unknown = (tuple(docids[place] for place in places) for places in labels(parsed))
    return replace(shown, listed=listed, missing=missing, unknown=unknown, faults=parsed.faults, answer=answer)


_REASON = re.compile(  # `[3] why`, `3: why`, `1. **[3]** why`; but neither `[3]` alone nor `[3] > [1]`
    r"^[^\w\n]*+(?:[0-9]+[.)][ *]+(?=\[))?\[?([0-9]{1,6}+)\]?+[ \t*|:.)–—-]*+(?![\[>,;=])(\S.*?)\s*$", re.MULTILINE
)


def parse_reasons(answer: str, label: LabelledRanking) -> dict[str, str]:
    """docid -> reason, from lines of the form `[n] …`; the first line of a passage counts."""
    reasons: dict[str, str] = {}
    for number, reason in _REASON.findall(without_thought(answer)[0]):
        if 1 <= int(number) <= len(label.shown):
            reasons.setdefault(label.shown[int(number) - 1].docid, reason)
    return reasons
