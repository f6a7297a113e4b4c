"""List-wise ranking by an LLM: read its answer, and move windows over a list too long for one prompt."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rrarank.errors import RrarankError
from rrarank.llm.korean import with_digits
from rrarank.llm.structured import as_list
from rrarank.llm.thoughts import without_thought

NO_IDS = "no ids"
NO_ORDER = {"refused", NO_IDS}
"""Verdicts of answers that name no passage."""

Places = tuple[int, ...]
"""Places of a prompt's passages, from 0: id `[n]` is place n - 1."""


@dataclass(frozen=True)
class Parsed:
    """How an answer ranks the shown passages: each place is in `order` or in `missing`, once.

    Args:
        order: best first.
        missing: in prompt order.
        faults: the gravest first: refused, no ids, no list (ids in prose only, or lists that contradict each other),
            truncated, out of range, repeated, missing, extra text.
        aside: places of `missing` that the answer mentions outside its list, for whatever reason.
    """

    order: Places
    missing: Places
    faults: tuple[str, ...]
    aside: Places = ()

    @property
    def verdict(self) -> str:
        """The gravest fault, or "ok"."""
        return self.faults[0] if self.faults else "ok"


def parse_answer(answer: str, count: int, *, finished: bool = True) -> Parsed:
    """Read the order of `count` passages: a list of ids `[n]` in any notation; of a repeated id the first counts.

    Numbers in prose and in the model's thoughts are not ids.

    Args:
        finished: False if the model was stopped (`finish_reason` is "length").
    """
    text, is_whole = _canonical(answer, finished)
    is_reversed = bool(_BELOW.search(text))  # perhaps of ranks: good enough to go on with, not to learn from
    text = _BELOW.sub(lambda found: " > ".join(f"[{number}]" for number in reversed(_ids(found[0]))), text)
    mentioned = _ids(text)
    ranking = _ranking(text, count)
    named = _ids(ranking) if ranking else mentioned
    if not ranking or (not set(range(1, count + 1)) <= set(named) and _is_aside(ranking, text)):
        whole = _order_without_list(text, count)
        ranking, named = ("", whole) if whole else (ranking, named)
    refused = not ranking and not set(range(1, count + 1)) <= set(named) and bool(_REFUSAL.search(text))
    named = [] if refused else named  # it names passages that it does not rank
    order = _places(named, count)
    found = {
        "refused": refused,
        NO_IDS: not mentioned and not refused,
        "no list": mentioned and not refused and (not ranking or is_reversed),
        "truncated": not is_whole,
        "out of range": any(not 1 <= number <= count for number in named),
        "repeated": len(set(named)) < len(named),
        "missing": mentioned and len(order) < count,
        "extra text": mentioned and (len(mentioned) > len(named) or _WORDS.search(_NAMED.sub("", text))),
    }
    return Parsed(
        order,
        missing=tuple(sorted(set(range(count)) - set(order))),
        faults=tuple(fault for fault, is_there in found.items() if is_there),
        aside=tuple(sorted(set(_places(mentioned, count)) - set(order))),
    )


def labels(parsed: Parsed) -> tuple[Places, Places, Places]:
    """The labels of an answer: (listed, missing, unknown); missing places are hard negatives (RRADistill).

    A place is missing only if a complete answer leaves it out. It is unknown if the answer is cut off, if it names an
    id that was not shown, or if it mentions the place outside the list. Without a list (the model wrote "none", or
    refused) all places are unknown.
    """
    if {"refused", "no ids", "no list"} & set(parsed.faults):
        return (), (), tuple(sorted(parsed.order + parsed.missing))
    if {"truncated", "out of range"} & set(parsed.faults):
        return parsed.order, (), parsed.missing
    return parsed.order, tuple(place for place in parsed.missing if place not in parsed.aside), parsed.aside


# -- reading ----------------------------------------------------------------------------------------------------------

_LABEL = (
    r"(?:(?:passages?|documents?|docs?|문서|문단|단락|본문|段落|文档|文檔|文章|文書|パッセージ|id) ?|\b[dp](?=[0-9]))"
)
_COUNTER = r"(?:번째|번|番目|番|号|號|段落|段|篇|个|條|条)"
_NUMBER = rf"{_LABEL}?[#第]?[0-9]+(?: ?{_COUNTER})?"
_ID = rf"{_LABEL}?[#第]?\[ ?[0-9]+ ?\](?: ?{_COUNTER})?"
_ABOVE = r"(?:[-=]*+>+|=|≻|→)"  # `=` ties two, which then keep the order of the answer
_FULL_STOP = r"[ .,;)}\]|]*"
_HEADING = r"(?:(?!.*\b(?:not|irrelevant)\b)[^\[\]\n]{0,80}: ?[{(]*)?"  # `Ranking: `, but not `Not relevant: `

_REFUSAL = re.compile(
    r"\bI (?:cannot|can not|can['’]t|will not|won['’]t|am unable|am not able)|\bI['’]m (?:unable|not able)|\bsorry\b"
    r"|\bas an AI\b|\bunable to (?:rank|comply|assist)|죄송|[할될] 수 없|抱歉|无法|無法|申し訳|できません",
    re.IGNORECASE,
)
_FINAL = re.compile(  # a heading of the ranking; `sure`: earlier lists do not count
    r"(?:(?P<sure>\b(?:final|corrected|revised)\b|최종|最终|最終|最后)|^[^\w\n]*(?:[a-z]+ ){0,4})[ *]*"
    r"(?:ranking|order|answer|response|순위|순서|답변|정답|排序|排名|答案|順位|回答)[^\[\]\n:.]{0,20}[:\n]"
    r"|(?P<boxed>\bboxed ?\{)|\b(?P<corrected>corrected|revised) ?:",
    re.IGNORECASE | re.MULTILINE,
)
_MARKER = re.compile(r"^(?:(?:rank )?[0-9]+(?:위|位)?[.):]|[-•–+])(?: (?=\S)|(?=\[))", re.IGNORECASE | re.MULTILINE)
_RANK_COLUMN = re.compile(rf"^\| ?(?:[0-9]+ ?\| ?)?(?={_ID})", re.IGNORECASE | re.MULTILINE)  # of a table
_LABEL_IN_BRACKETS = re.compile(rf"\[ ?{_LABEL}?[#第]?([0-9]+)(?: ?{_COUNTER})? ?\]", re.IGNORECASE)
_LABELLED = re.compile(rf"{_LABEL}[#第]?[0-9]|[0-9] ?{_COUNTER}", re.IGNORECASE)
_LABELLED_ID = rf"(?:{_LABEL}[#第]?[0-9]+(?: ?{_COUNTER})?|第?[0-9]+ ?{_COUNTER})"
_LABELLED_LIST = re.compile(  # also one that opens a line: `Passage 3 - names the year`
    rf"(?<!\w){_LABELLED_ID}(?:(?: ?(?:[,;]|{_ABOVE}|and\b) ?{_LABELLED_ID})+|(?= ?[-–—:|]))", re.IGNORECASE
)
_COUNTED = re.compile(rf"[0-9] ?{_COUNTER}")
_LABELLED_ALONE = re.compile(rf"(?<!\w){_LABELLED_ID}(?! ?[개건])", re.IGNORECASE)
_BELOW = re.compile(rf"{_ID}(?: ?< ?{_ID})+", re.IGNORECASE)  # the best last
_IN_PARENTHESES = re.compile(rf"\([0-9]+\)(?: ?{_ABOVE} ?\([0-9]+\)){{2,}}")
_IN_TAGS = re.compile(r"<(?:id|doc|docid|document|passage|item)>\s*+\[?([0-9]+)\]?\s*+</[a-z]+>", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?。]) ")
_TORN = re.compile(r"\[[^\[\]]*$|[>=,;≻→]$")
_RANGE = r" ?(?:-|–|to|through|until) ?"
_ELIDED = re.compile(  # `[3] > [1] > ...`, `[4] > etc.`, `[4-8]`, `[4] to [8]`: ids that are meant but not named
    rf"(?:[>,;]|{_ID}) ?(?:\.{{2,}}+|\[? ?\.{{2,}}+ ?\]?|etc\b)|(?<!\.)\.{{2,}}+ ?[>,;]|{_ID}{_RANGE}{_ID}"
    rf"|\[ ?{_NUMBER}s?{_RANGE}{_NUMBER} ?\]",
    re.IGNORECASE,
)
_TORN_IN_BRACKETS = re.compile(r"\[([^\[\]]*)[,;>][^\[\],;>]*$")
_BARE_LIST = re.compile(rf"[{{(]?{_NUMBER}(?: ?(?:[,;\n]|{_ABOVE})\s?{_NUMBER})+[)}}.]*", re.IGNORECASE)
_BARE_LINE = re.compile(rf"[{{(]?{_NUMBER}(?: ?(?:[,;]|{_ABOVE}) ?{_NUMBER})*+[)}}.,;]*", re.IGNORECASE)
_IN_BRACKETS = re.compile(rf"\[ ?{_NUMBER}(?: ?(?:[,;]|{_ABOVE}) ?{_NUMBER})+ ?\]", re.IGNORECASE)
_CHAIN = re.compile(rf"(?<!\w)\[? ?{_NUMBER} ?\]?(?:\s?{_ABOVE}\s?\[? ?{_NUMBER}(?!\w) ?\]?)+", re.IGNORECASE)
_RANKED = re.compile(rf"{_ID}(?:\s?(?:{_ABOVE}|[,;])\s?{_ID})+", re.IGNORECASE)
_NAMED = re.compile(rf"{_ID}|\band\b", re.IGNORECASE)
_WORDS = re.compile(r"[^\W\d_]")
_LINE = rf"{_ID}(?:(?:[ ,;|]|and )*{_ID})*{_FULL_STOP}"
_LINES = re.compile(rf"^{_HEADING}{_LINE}(?:\n{_LINE})*$", re.IGNORECASE | re.MULTILINE)
_OPENING = re.compile(_ID, re.IGNORECASE)


def _canonical(answer: str, finished: bool) -> tuple[str, bool]:
    """The answer without thoughts, markup and torn ids, with all ids as `[n]`; and whether it is complete."""
    text, is_thinking = without_thought(answer)
    text = _tidy(with_digits(as_list(text)))
    whole = _TORN.sub("", _TORN_IN_BRACKETS.sub(r"[\1]", text))
    if not finished:
        whole = re.sub(r"[0-9]+$", "", whole)  # perhaps the 1 of 12
    return _bracketed(whole.rstrip()), finished and not is_thinking and whole == text and not _ELIDED.search(text)


def _tidy(text: str) -> str:
    """The text with one kind of bracket, white space and digit, without markup; its first id has both brackets."""
    text = unicodedata.normalize("NFKC", html.unescape(text)).translate(str.maketrans("【】、", "[],"))
    text = re.sub(r"</?[A-Za-z|][^<>\n]*>", " ", _IN_TAGS.sub(r"\n[\1]\n", text))  # <b>, <|im_end|>
    text = re.sub(r"^[ \t]*```\w*[ \t]*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"[*`\"\\]", "", text)
    text = re.sub(r" ?\n[ \n]*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()
    text = re.sub(r"\[(?: ?\[)+", "[", re.sub(r"\](?: ?\])+", "]", text))
    text = re.sub(r"0*([0-9]{1,9})[0-9]*", r"\1", text)  # 03 is 3; nobody shows a billion passages
    text = _LABEL_IN_BRACKETS.sub(r"[\1]", _MARKER.sub("", text))
    return re.sub(r"\A([0-9]+)(?:\]|(?= ?>))", r"[\1]", _RANK_COLUMN.sub("", text))


def _bracketed(text: str) -> str:
    """The text with brackets around all ids: those of a list that is or ends the answer, and numbers beside a `>`."""
    if _BARE_LIST.fullmatch(text):
        return _each_bracketed(text)
    lines = text.split("\n")
    start = len(lines)
    while start and _BARE_LINE.fullmatch(lines[start - 1]):
        start -= 1
    if start == len(lines):
        heading, colon, rest = lines[-1].rpartition(":")
        if _FINAL.search(heading + colon) and _BARE_LINE.fullmatch(rest.strip()):
            lines[-1:] = [heading + colon, rest.strip()]
    ending = "\n".join(lines[start:])
    if len(re.findall("[0-9]+", ending)) > 1:
        text = "\n".join([*lines[:start], _each_bracketed(ending)])
    for ids in (_IN_BRACKETS, _IN_PARENTHESES):
        text = ids.sub(lambda found: _each_bracketed(found[0]), text)
    text = "\n".join(_with_labelled_lists(line) for line in text.split("\n"))
    return _CHAIN.sub(lambda found: _each_bracketed(found[0]) if _names_ids(found[0]) else found[0], text)


def _with_labelled_lists(line: str) -> str:
    """The line with brackets around ids such as `3번` or `passage 3`, all of them or, without a list of them, none."""
    if not (found := _LABELLED_LIST.search(line)):
        return line
    ids = _LABELLED_ALONE if _COUNTED.search(found[0]) else _LABELLED_LIST
    return ids.sub(lambda one: _each_bracketed(one[0]), line)


def _names_ids(chain: str) -> bool:
    """Whether numbers with `>` between them are ids, unlike `3 > 2` in prose."""
    return bool(re.search(r"[\[\]]", chain) or _LABELLED.search(chain)) or len(re.findall("[0-9]+", chain)) > 2


def _each_bracketed(text: str) -> str:
    return re.sub("[0-9]+", r"[\g<0>]", re.sub(r"[\[(] ?| ?[\])]", "", text))


def _ranking(text: str, count: int) -> str:
    """The list that is the answer, empty if there is none: ids with `>` between them, or lines of nothing but ids.

    Only lists below the last heading such as `Final ranking:` count. The last list of all passages wins. Of lists with
    the same ids the last of the longest wins; of others the last one, if it has all ids of those before. Other lists
    contradict each other: they are no answer, except the first one below a final heading.
    """
    ranked = [(found.start(), found[0]) for found in _RANKED.finditer(text) if re.search(_ABOVE, found[0])]
    lines = [(found.start() + found[0].index("["), found[0]) for found in _LINES.finditer(text)]
    lists = ranked or lines
    headings = [found for found in _FINAL.finditer(text) if lists and found.end() <= lists[-1][0]]
    start = headings[-1].end() if headings else 0
    is_final = bool(headings and headings[-1].lastgroup)
    candidates = [(place, found) for place, found in ranked + lines if place >= start or not is_final]
    if whole := [found for found in candidates if set(range(1, count + 1)) <= set(_ids(found[1]))]:
        return max(whole)[1]
    below = [found for place, found in lists if place >= start]
    ids = [set(_ids(found)) for found in below]
    if all(one == ids[0] for one in ids):
        return max(reversed(below), key=lambda found: len(_ids(found)), default="")
    if set.union(*ids) == ids[-1]:
        return below[-1]
    return below[0] if is_final else ""


def _order_without_list(text: str, count: int) -> list[int]:
    """The ids of the last sentence, or of the last lines that open with an id, that name all passages; else nothing."""
    everything = set(range(1, count + 1))
    openings: dict[int, None] = {}
    for line in reversed(text.split("\n")):
        for part in (*map(_ids, reversed(_RANKED.findall(line))), *map(_ids, reversed(_SENTENCE_END.split(line)))):
            if everything <= set(part):
                return part
        if opening := _OPENING.match(line):
            openings |= dict.fromkeys(_ids(opening[0]))
        if everything <= openings.keys():
            return [*openings][::-1]
    return []


def _is_aside(ranking: str, text: str) -> bool:
    """Whether the list stands within a sentence."""
    after = text[text.rindex(ranking) + len(ranking) :].partition("\n")[0]
    return bool(_WORDS.search(after))


def _ids(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\[ ?([0-9]+) ?\]", text)]


def _places(numbers: Sequence[int], count: int) -> Places:
    return tuple(number - 1 for number in dict.fromkeys(numbers) if 1 <= number <= count)


# -- windows ----------------------------------------------------------------------------------------------------------


def windows(n: int, size: int, step: int) -> Iterator[tuple[int, int]]:
    """(start, end) pairs from the bottom of a list of n to its top, as in RankGPT (Sun et al., EMNLP 2023).

    Every position is covered: RankGPT's own loop skips lists shorter than a window and may stop before the top.
    """
    if not 0 < step <= size:
        raise RrarankError(f"windows of {size} in steps of {step}: expected a step from 1 to the size of the window")
    end = n
    while end > 0:
        start = max(end - size, 0)
        yield start, end
        if start == 0:
            return
        end -= step
