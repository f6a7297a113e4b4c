"""Korean numerals and list markers in an answer, as digits: `삼번` is `3번`, `첫째: 2번, 둘째: 1번` is `2번, 1번`."""

from __future__ import annotations

import re

_UNITS = "일이삼사오육칠팔구"
_ORDINALS = ("첫", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉", "열")
_SHORT = ("첫째", "둘째", "셋째", "넷째", "다섯째", "여섯째", "일곱째", "여덟째", "아홉째", "열째")
_ORDINAL = rf"(?:{'|'.join(_SHORT)}|(?:{'|'.join(_ORDINALS)}) ?번째)"
_LETTER = "[가나다라마바사아자차카타파하ㄱ-ㅎ]"
_CIRCLED = "[①-⑳㉠-㉭㉮-㉻]"
_CIRCLED_LIST = re.compile(r"[①-⑳](?:\s?[①-⑳])+")
_PASSAGE = "(?:문서|문단|단락|본문|구절)"
_NUMBERS_A_LINE = (
    rf"(?<![가-힣]){_ORDINAL}(?:(?:로|는|은)(?![가-힣]))?[ ,:.)]*",
    rf"^ *{_LETTER}[.)] *",
    rf"(?<!\S)(?:\({_LETTER}\)|{_CIRCLED}) *",
)
_MARKER = re.compile(  # `첫째, 2번`, `가. 문서 2`: the place in the list, then the id; not `첫째 > 셋째`
    rf"(?:{'|'.join(_NUMBERS_A_LINE)})(?=\[? ?[0-9]|{_PASSAGE} ?\[?#?[0-9])", re.MULTILINE
)
_ENDING = re.compile(r"(?<=[0-9번위호\]]) ?(?:입니다|이다|이에요|예요|임)(?:[.,;]|(?=\s|$))")
_NAMED = re.compile(rf"(?<![가-힣])({_ORDINAL})(?: ?{_PASSAGE})?(?= ?(?:>|,|$))", re.MULTILINE)
_NUMERAL = rf"(?:[{_UNITS}]?십)?[{_UNITS}]?"
_SINO = re.compile(  # 이번 alone is "this time"
    rf"(?<![가-힣0-9])(?=[{_UNITS}십]){_NUMERAL}(?= ?(?:번|위|호) ?(?:[>,.:]|$|문서))", re.MULTILINE
)
_SINO_CHAIN = re.compile(rf"(?<![가-힣]){_NUMERAL}(?: ?> ?{_NUMERAL})+(?![가-힣])")
_NAMES_PASSAGE = rf"{_ORDINAL}(?: ?{_PASSAGE})?"
_ORDINALS_ONLY = re.compile(rf"\s*{_NAMES_PASSAGE}(?: ?, ?{_NAMES_PASSAGE})+[\s.]*")
_SINO_ONLY = re.compile(rf"\s*(?=[{_UNITS}십]){_NUMERAL}(?: ?, ?(?=[{_UNITS}십]){_NUMERAL})+[\s.]*")
_SINO_NAMED = re.compile(  # `[이]`, `문서 이 >`
    rf"(?<=\[)(?=[{_UNITS}십]){_NUMERAL}(?=\])|(?<={_PASSAGE} )(?=[{_UNITS}십]){_NUMERAL}(?= ?(?:>|$))", re.MULTILINE
)
_AROUND = re.compile(  # `제2번`, `2번째`, `2번 문서`
    rf"(?<![가-힣])제 ?(?=[0-9]+ ?번)|(?<=[0-9]번)째|(?:(?<=[0-9]번)|(?<=[0-9]번째)) ?{_PASSAGE}(?= ?(?:[>,.]|$))",
    re.MULTILINE,
)


def with_digits(answer: str) -> str:
    """The answer with Korean numerals as digits, and without words that only number the lines of a list."""
    answer = _CIRCLED_LIST.sub(lambda found: ", ".join("".join(found[0].split())), answer)
    if not re.search(f"[가-힣]|{_CIRCLED}", answer):
        return answer
    if _SINO_ONLY.fullmatch(answer):
        answer = answer.replace(",", " >")
    answer = _SINO_NAMED.sub(lambda found: str(_number(found[0])), answer)
    text = _SINO.sub(lambda found: str(_number(found[0])), answer)
    text = _AROUND.sub("", _SINO_CHAIN.sub(_chain, text))
    text = _ENDING.sub(",", _MARKER.sub("", text))
    text = text if answer.rstrip().endswith(",") else text.rstrip(", ")
    return _NAMED.sub(lambda found: f"{_place(found[1])}번", text) if _is_chain(text) else text


def _is_chain(text: str) -> bool:
    """Whether ordinals name passages, with `>` between them, and do not number lines."""
    return bool(re.search(rf"{_ORDINAL}[^>\n]{{0,6}}>", text) or _ORDINALS_ONLY.fullmatch(text))


def _place(ordinal: str) -> int:
    if ordinal in _SHORT:
        return _SHORT.index(ordinal) + 1
    return _ORDINALS.index(ordinal.removesuffix("번째").strip()) + 1


def _chain(found: re.Match[str]) -> str:
    """`이 > 일 > 삼` as `2 > 1 > 3`; one with an empty part stays."""
    parts = [part.strip() for part in found[0].split(">")]
    return " > ".join(str(_number(part)) for part in parts) if all(parts) else found[0]


def _number(numeral: str) -> int:
    """`이십삼` is 23."""
    tens, ten, ones = numeral.rpartition("십")
    return (10 * (_UNITS.index(tens) + 1 if tens else 1) if ten else 0) + (_UNITS.index(ones) + 1 if ones else 0)
