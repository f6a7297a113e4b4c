"""Read which passage an answer chooses, and whether it says yes. What could mean two things is read as nothing."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence

from rrarank.llm.listwise import parse_answer
from rrarank.llm.thoughts import without_thought

YES = ("yes", "true", "relevant", "예", "네", "是")
NO = ("no", "false", "irrelevant", "아니", "아니요", "아니오", "否")
_LABEL = re.compile(r"[A-Za-z]*[0-9]+|[^\W_]+")
_WORD = re.compile(r"[^\W_]+")


def read_number(answer: str, count: int, *, finished: bool = True) -> int | None:
    """The place, from 0, of the one passage that an answer chooses, `[2]`; of a ranking its first; None without one."""
    parsed = parse_answer(answer, count, finished=finished)
    if parsed.order and ("no list" not in parsed.faults or len(parsed.order) == 1):
        return parsed.order[0]
    return _alone(answer, {str(number): number - 1 for number in range(1, count + 1)})


def read_label(answer: str, labels: Sequence[str]) -> int | None:
    """The place of the passage whose label, such as `A` or `Document0`, an answer names; None for several or none.

    `true` means the first and `false` the second, as in duoT5.
    """
    known = {label: place for place, label in enumerate(labels)}
    chosen = _alone(answer, known)
    said = _words(answer)
    if chosen is None and len(labels) == 2 and said in (["true"], ["false"]):
        return int(said == ["false"])
    return chosen


def _alone(answer: str, known: Mapping[str, int]) -> int | None:
    """The place of the only label in the answer, or else in its last line."""
    text = _said(answer)
    for part in (text, text.rpartition("\n")[2]):
        found = set(_LABEL.findall(part))
        named = {place for label, place in known.items() if label in found}
        if len(named) == 1:
            return named.pop()
    return None


def read_yes_no(answer: str, first: Mapping[str, float]) -> float | None:
    """The log-odds of yes against no, of all spellings of the first token; None if it is neither.

    Args:
        first: token -> log-probability. Without any, 1 for an answer that says yes and -1 for one that says no.
    """
    if not first:
        said = next(iter(_words(answer)), "")
        return 1.0 if said in YES else -1.0 if said in NO else None
    yes, no = (_log_sum([value for token, value in first.items() if _is(token, words)]) for words in (YES, NO))
    if max(yes, no) == -math.inf:
        return None
    floor = min(first.values())  # what is not among the alternatives is less likely than all of them
    return max(yes, floor) - max(no, floor)


def _is(token: str, words: Sequence[str]) -> bool:
    return "".join(_WORD.findall(token.lower())) in words


def _log_sum(values: Sequence[float]) -> float:
    top = max(values, default=-math.inf)
    return top if top == -math.inf else top + math.log(sum(math.exp(value - top) for value in values))


def _said(answer: str) -> str:
    text = unicodedata.normalize("NFKC", without_thought(answer)[0])
    return re.sub(r"[*`_\"]", "", text).strip()


def _words(answer: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(_said(answer))]
