"""Reasons for the verdicts of a set: an LLM is told the verdict of a passage and explains it (RRADistill, for RRA-GPT).

One question per passage, so that a small model can answer. An answer never changes the verdict.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from rrarank.data.types import LabelledRanking
from rrarank.llm.base import Answer, Failure, Messages
from rrarank.llm.questions import PromptedLLM, ask_unrecorded, is_complete, recorded_answer
from rrarank.llm.thoughts import without_thought
from rrarank.storage.journal import Journal

Verdicts = Mapping[str, bool]
"""docid -> whether it is relevant."""
NAMES = {True: "Relevant", False: "Irrelevant"}


def choose_documents(label: LabelledRanking, verdicts: Verdicts, most: int, seed: int) -> Verdicts:
    """At most `most` verdicts: the relevant ones first, then irrelevant ones drawn by the seed."""
    relevant = [docid for docid in label.listed if verdicts.get(docid)]
    others = [docid for docid in (*label.listed, *label.missing) if not verdicts.get(docid, True)]
    random.Random(f"{seed} {label.query.qid}").shuffle(others)
    return {docid: verdicts[docid] for docid in [*relevant, *others][:most]}


@dataclass(frozen=True)
class Explainer:
    """Asks for reasons and keeps the answers in the journal.

    Args:
        prompted: its prompt is filled with one passage and ends with the verdict.
    """

    prompted: PromptedLLM
    journal: Journal

    def ask(self, wanted: Iterable[tuple[LabelledRanking, Verdicts]]) -> Iterator[tuple[str, Answer | Failure]]:
        """Yield (`qid docid`, outcome) for each pair without an answer, in order of completion."""
        questions = (
            (f"{label.query.qid} {docid}", *self._question(label, docid, relevant))
            for label, verdicts in wanted
            for docid, relevant in verdicts.items()
        )
        yield from ask_unrecorded(self.prompted.llm, self.journal, questions)

    def explained(self, label: LabelledRanking, verdicts: Verdicts) -> LabelledRanking:
        """The label with a reason, `Relevant: …` or `Irrelevant: …`, for each pair with a complete answer."""
        keys = {docid: self._question(label, docid, relevant)[0] for docid, relevant in verdicts.items()}
        answers = {docid: recorded_answer(self.journal, key) for docid, key in keys.items()}
        found = {docid: _reason(answer) for docid, answer in answers.items() if answer}
        reasons = {docid: f"{NAMES[verdicts[docid]]}: {reason}" for docid, reason in found.items() if reason}
        provenance = {**label.provenance, "reasons": self.prompted.settings}
        return replace(label, reasons=reasons, provenance=provenance) if reasons else label

    def _question(self, label: LabelledRanking, docid: str, relevant: bool) -> tuple[str, Messages]:
        text = next(candidate.text for candidate in label.shown if candidate.docid == docid)
        return self.prompted.question(label.query.text, [text], f"\n\nVerdict: {NAMES[relevant]}\nReason:")


_LEAD = re.compile(r"^\W*(?:(?:verdict|reason|relevant|irrelevant)\W+)*", re.IGNORECASE)


def _reason(answer: Answer) -> str:
    """The first line of a complete answer, without words such as `Reason:`; empty if there is none."""
    line = next((line for line in without_thought(answer.text)[0].splitlines() if _LEAD.sub("", line).strip()), "")
    return _LEAD.sub("", line).strip() if is_complete(answer) else ""
