"""Reasons laid over a set: a model is told what a passage was judged, and says why (RRADistill's reasons for RRA-GPT).

One question a passage, so that a small model can answer; the verdict is the set's, and no answer changes it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from rrarank.data.types import LabelledRanking
from rrarank.llm.base import Answer, Failure, Messages
from rrarank.llm.questions import Asking, ask_new, ended, recorded
from rrarank.storage.journal import Journal

Verdicts = Mapping[str, bool]
"""docid -> whether it is relevant."""
NAMES = {True: "Relevant", False: "Irrelevant"}


def worth_explaining(label: LabelledRanking, verdicts: Verdicts, most: int, seed: int) -> Verdicts:
    """At most so many of the verdicts: all that are relevant first, then irrelevant ones drawn by the seed."""
    relevant = [docid for docid in label.listed if verdicts.get(docid)]
    others = [docid for docid in (*label.listed, *label.missing) if not verdicts.get(docid, True)]
    random.Random(f"{seed} {label.query.qid}").shuffle(others)
    return {docid: verdicts[docid] for docid in [*relevant, *others][:most]}


@dataclass(frozen=True)
class Explainer:
    """Asks, keeps each answer in the journal, and reads it there.

    Args:
        asking: its prompt is filled with one passage and ends with the verdict.
    """

    asking: Asking
    journal: Journal

    def ask(self, wanted: Iterable[tuple[LabelledRanking, Verdicts]]) -> Iterator[tuple[str, Answer | Failure]]:
        """(`qid docid`, outcome) of each pair that has no answer yet, in order of completion."""
        questions = (
            (f"{label.query.qid} {docid}", *self._question(label, docid, relevant))
            for label, verdicts in wanted
            for docid, relevant in verdicts.items()
        )
        yield from ask_new(self.asking.llm, self.journal, questions)

    def explained(self, label: LabelledRanking, verdicts: Verdicts) -> LabelledRanking:
        """The label with a reason, `Relevant: …` or `Irrelevant: …`, for each pair that has a whole answer."""
        keys = {docid: self._question(label, docid, relevant)[0] for docid, relevant in verdicts.items()}
        answers = {docid: recorded(self.journal, key) for docid, key in keys.items()}
        found = {docid: _reason(answer) for docid, answer in answers.items() if answer}
        reasons = {docid: f"{NAMES[verdicts[docid]]}: {reason}" for docid, reason in found.items() if reason}
        provenance = {**label.provenance, "reasons": self.asking.described}
        return replace(label, reasons=reasons, provenance=provenance) if reasons else label

    def _question(self, label: LabelledRanking, docid: str, relevant: bool) -> tuple[str, Messages]:
        text = next(candidate.text for candidate in label.shown if candidate.docid == docid)
        return self.asking.question(label.query.text, [text], f"\n\nVerdict: {NAMES[relevant]}\nReason:")


_LEAD = re.compile(r"^\W*(?:(?:verdict|reason|relevant|irrelevant)\W+)*", re.IGNORECASE)


def _reason(answer: Answer) -> str:
    """The answer's first line without what announces it; none where it broke off, or says nothing."""
    line = next((line for line in answer.text.splitlines() if _LEAD.sub("", line).strip()), "")
    return _LEAD.sub("", line).strip() if ended(answer) else ""
