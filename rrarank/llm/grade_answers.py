"""Read the grade, 0 to 3, in an LLM's answer: one strict rule, which rather reads nothing than guesses.

1. The last final grade counts: `##final score: 2`, `{"O": 2}`, `최종 점수: 2점`.
2. Else a labelled one: `Grade: 2`, `{"score": 2}`, `점수는 2점`; if there are several, they must be equal.
3. Else a line that holds only a number: `2`, `**2**`, `2/3`, `2점입니다.`; if there are several, they must be equal.

Thoughts are removed first. An answer that a limit cut off counts only by rule 1, where something follows the grade.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from rrarank.llm.thoughts import without_thought

HIGHEST = 3
FAULTS = ("no grade", "several grades", "not a grade from 0 to 3", "cut short")
"""Why no grade is read."""

_NONE, _SEVERAL, _OUT_OF_RANGE, _CUT = FAULTS


@dataclass(frozen=True)
class GradeReading:
    """The grade of an answer; without one, the fault."""

    grade: int | None
    fault: str = ""


_GAP = r"[\s_*\"'-]{0,4}"
_LABEL = rf"(?:scores?|grade|rating|점수|등급|평점)(?![a-z]){_GAP}"
_LOOSE_LABEL = rf"(?:relevance|relevancy|label|category|answer|관련성|관련도|평가|답변?)(?![a-z]){_GAP}"
_IS = r"(?:\([^()\n]{0,20}\)|(?:of|is|are|as|은|는|이|가)\b|->|→|[-–—]\s|[\s\"'*_`:=\[({<#$]|\\boxed\{)"
_NUMBER = (  # neither a range (0-3, 1 or 2) nor a share (70%); of another scale than 3 it is not a grade
    r"(?P<number>-?[0-9]{1,9}(?:\.[0-9]{1,9})?)(?![0-9.]*[0-9])(?!\s?점?\s*만점)(?:\s?점|\s?등급)?"
    r"(?!\s*(?:[-–—~%]|to\b|or\b|and\b|에서|또는)\s*[0-9]|\s*%)"
    r"[\"'*_`\])}>]{0,4}(?:\s*(?:[/⁄]|out of|of)\s*(?P<scale>[0-9]{1,9}))?"
)
_FINAL = re.compile(
    rf"(?:(?:final|overall|최종|종합){_GAP}(?:{_LABEL}|{_LOOSE_LABEL}){{1,3}}"
    rf"|(?<![a-z])O(?=[\"'*)]{{0,3}}\s{{0,3}}[:=])[\"'*)]{{0,3}}){_IS}{{0,8}}?{_NUMBER}",
    re.IGNORECASE,
)
_LABELLED = re.compile(rf"(?<![a-z])(?:{_LABEL}|{_LOOSE_LABEL}[:=]){_IS}{{0,8}}?{_NUMBER}", re.IGNORECASE)
_BARE = re.compile(
    rf"^(?:[-•]\s)?[\s#>*_`\"'(\[{{<$]{{0,8}}(?:\\boxed\{{)?{_NUMBER}(?:입니다|이다)?[\s*_`\"')\]}}>$.,]{{0,8}}$",
    re.MULTILINE,
)


def read_grade(answer: str, *, finished: bool = True) -> GradeReading:
    """The grade that an answer gives.

    Args:
        finished: whether the answer ended by itself; False if a limit cut it off.
    """
    text, is_open = without_thought(answer)
    text = unicodedata.normalize("NFKC", text).strip()
    if is_open:
        return GradeReading(None, _CUT)
    final = list(_FINAL.finditer(text))
    if not finished:
        return _agreed(final) if final and final[-1].end() < len(text) else GradeReading(None, _CUT)
    if final:
        return _agreed(final[-1:])
    return _agreed(list(_LABELLED.finditer(text)) or list(_BARE.finditer(text)))


def _agreed(found: Sequence[re.Match[str]]) -> GradeReading:
    """The grade that all of them say."""
    said = {_grade(one) for one in found}
    if len(said) != 1:
        return GradeReading(None, _SEVERAL if said else _NONE)
    [grade] = said
    return GradeReading(grade, "" if grade is not None else _OUT_OF_RANGE)


def _grade(found: re.Match[str]) -> int | None:
    value, scale = float(found["number"]), found["scale"]
    is_grade = value.is_integer() and 0 <= value <= HIGHEST and scale in (None, str(HIGHEST))
    return int(value) if is_grade and not found["number"].startswith("-") else None
