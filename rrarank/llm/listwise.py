"""List-wise ranking by a language model: what its answer says, and windows over a list too long for one prompt."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rrarank.errors import RrarankError

Places = tuple[int, ...]
"""Places of a prompt's passages, from 0: id `[n]` is place n - 1."""


@dataclass(frozen=True)
class Parsed:
    """What an answer says of the passages it was shown: each place is in `order` or in `missing`, once.

    Args:
        order: best first.
        missing: in prompt order.
        faults: the gravest first: refused, no ids, no list (ids in prose alone, or lists that contradict each other),
            truncated, out of range, repeated, missing, extra text.
        aside: those of `missing` that the answer mentions beside its list, to whatever purpose.
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
    """The order that an answer gives to `count` passages: a list of ids `[n]`, however it is set; of an id that stands
    twice the first counts. Numbers in prose and in a model's thoughts are not ids.

    Args:
        finished: False if the model was stopped (`finish_reason` is "length").
    """
    text, is_whole = _canonical(answer, finished)
    mentioned = _ids(text)
    ranking = _ranking(text)
    named = _ids(ranking) if ranking else mentioned
    order = _places(named, count)
    refused = not mentioned and bool(_REFUSAL.search(text))
    found = {
        "refused": refused,
        "no ids": not mentioned and not refused,
        "no list": mentioned and not ranking,
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
    """What an answer is worth as labels: (listed, missing, unknown); missing are hard negatives (RRADistill).

    A place is missing only by the judgment of an answer that ended by itself. In one that breaks off, or that names an
    id never shown, a place left out may be a slip: it is unknown. So is one mentioned beside the list, as nothing says
    whether for praise or blame; other words beside it do no harm. Without a list (the model wrote "none", or refused)
    nothing is known.
    """
    if {"refused", "no ids", "no list"} & set(parsed.faults):
        return (), (), tuple(sorted(parsed.order + parsed.missing))
    if {"truncated", "out of range"} & set(parsed.faults):
        return parsed.order, (), parsed.missing
    return parsed.order, tuple(place for place in parsed.missing if place not in parsed.aside), parsed.aside


def reappend(parsed: Parsed) -> Places:
    """All places, the missing ones last, as they were: RankGPT's rule (Sun et al., EMNLP 2023), for that baseline."""
    return parsed.order + parsed.missing


# -- reading ----------------------------------------------------------------------------------------------------------

_THOUGHT = r"(?:think|thinking|thought|reasoning)>"
_NUMBER = r"(?:(?:passage|document|doc) ?)?#?[0-9]+"
_ID = r"(?:(?:passage|document|doc) ?)?#?\[ ?[0-9]+ ?\]"
_ABOVE = r"(?:[-=]*>+|=|≻|→)"  # `=` ties two, which then keep the order of the answer
_FULL_STOP = r"[ .,;)}\]]*"
_LABEL = r"(?:(?!.*\b(?:not|irrelevant)\b)[^\[\]\n]{0,80}: ?[{(]*)?"  # `Ranking: `, but not `Not relevant: `

_REFUSAL = re.compile(
    r"\bI (?:cannot|can not|can['’]t|will not|won['’]t|am unable|am not able)|\bI['’]m (?:unable|not able)|\bsorry\b"
    r"|\bas an AI\b|\bunable to (?:rank|comply|assist)|죄송|할 수 없",
    re.IGNORECASE,
)
_MARKER = re.compile(r"^(?:[0-9]+[.):]|[-•–+])(?: (?=\S)|(?=\[))", re.MULTILINE)  # `1. `, of a list's line
_TORN = re.compile(r"\[[^\[\]]*$|[>=,;≻→]$")
_RANGE = r" ?(?:-|–|to|through|until) ?"
_ELIDED = re.compile(  # `[3] > [1] > ...`, `[4] > etc.`, `[4-8]`, `[4] to [8]`: ids that are meant and not named
    rf"(?:[>,;]|{_ID}) ?(?:\.{{2,}}|\[? ?\.{{2,}} ?\]?|etc\b)|\.{{2,}} ?[>,;]|{_ID}{_RANGE}{_ID}"
    rf"|\[ ?{_NUMBER}s?{_RANGE}{_NUMBER} ?\]|\[ ?(?:passages|documents|docs) ?[0-9]+{_RANGE}[0-9]+ ?\]",
    re.IGNORECASE,
)
_TORN_IN_BRACKETS = re.compile(r"\[([^\[\]]*)[,;>][^\[\],;>]*$")
_BARE_LIST = re.compile(rf"{_NUMBER}(?: ?(?:[,;\n]|{_ABOVE})\s?{_NUMBER})+\.?", re.IGNORECASE)
_IN_BRACKETS = re.compile(rf"\[ ?{_NUMBER}(?: ?(?:[,;]|{_ABOVE}) ?{_NUMBER})+ ?\]", re.IGNORECASE)
_CHAIN = re.compile(rf"(?<!\w)\[? ?{_NUMBER} ?\]?(?:\s?{_ABOVE}\s?\[? ?{_NUMBER}(?!\w) ?\]?)+", re.IGNORECASE)
_RANKED = re.compile(rf"{_ID}(?:\s?(?:{_ABOVE}|[,;])\s?{_ID})+", re.IGNORECASE)
_NAMED = re.compile(rf"{_ID}|\band\b", re.IGNORECASE)
_WORDS = re.compile(r"[^\W\d_]")
_LINE = rf"{_ID}(?:(?:[ ,;|]|and )*{_ID})*{_FULL_STOP}"
_LINES = re.compile(rf"^{_LABEL}{_LINE}(?:\n{_LINE})*$", re.IGNORECASE | re.MULTILINE)


def _canonical(answer: str, finished: bool) -> tuple[str, bool]:
    """The answer without thoughts, mark-up and torn ids, all ids as `[n]`; and whether it is whole."""
    text, is_thinking = without_thought(answer)
    text = _tidy(text)
    whole = _TORN.sub("", _TORN_IN_BRACKETS.sub(r"[\1]", text))
    if not finished:
        whole = re.sub(r"[0-9]+$", "", whole)  # perhaps the 1 of 12
    return _bracketed(whole.rstrip()), finished and not is_thinking and whole == text and not _ELIDED.search(text)


def without_thought(answer: str) -> tuple[str, bool]:
    """The answer without the model's thoughts, and whether a thought is left open, as in an answer that was cut off."""
    text, *open_thought = re.split(rf"<{_THOUGHT}", re.split(rf"</{_THOUGHT}", answer)[-1])
    return text, bool(open_thought)


def _tidy(text: str) -> str:
    """One kind of bracket, of white space, of digit; no mark-up; an id that opens the answer has its brackets."""
    text = unicodedata.normalize("NFKC", html.unescape(text)).translate({ord("【"): "[", ord("】"): "]"})
    text = re.sub(r"</?[A-Za-z|][^<>\n]*>", " ", text)  # <answer>, <|im_end|>
    text = re.sub(r"^[ \t]*```\w*[ \t]*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"[*`\"\\]", "", text)
    text = re.sub(r" ?\n[ \n]*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()
    text = re.sub(r"\[(?: ?\[)+", "[", re.sub(r"\](?: ?\])+", "]", text))
    text = re.sub(r"0*([0-9]{1,9})[0-9]*", r"\1", text)  # 03 is 3; nobody shows a billion passages
    text = _MARKER.sub("", text)
    return re.sub(r"\A([0-9]+)(?:\]|(?= ?>))", r"[\1]", text)


def _bracketed(text: str) -> str:
    """Ids that lack a bracket have both: a list that is the whole answer, or numbers on either side of a `>`."""
    if _BARE_LIST.fullmatch(text):
        return _each_bracketed(text)
    text = _IN_BRACKETS.sub(lambda found: _each_bracketed(found[0]), text)
    return _CHAIN.sub(lambda found: _each_bracketed(found[0]) if re.search(r"[\[\]]", found[0]) else found[0], text)


def _each_bracketed(text: str) -> str:
    return re.sub("[0-9]+", r"[\g<0>]", re.sub(r"\[ ?| ?\]", "", text))


def _ranking(text: str) -> str:
    """The list that is the answer, empty if there is none: ids with `>` between them, else lines of nothing but ids. Of
    several with the same ids the last of the longest counts; several with different ids contradict each other."""
    lists = [found[0] for found in _RANKED.finditer(text) if re.search(_ABOVE, found[0])]
    lists = lists or [found[0] for found in _LINES.finditer(text)]
    if len({frozenset(_ids(found)) for found in lists}) != 1:
        return ""
    return max(reversed(lists), key=lambda found: len(_ids(found)))


def _ids(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\[ ?([0-9]+) ?\]", text)]


def _places(numbers: Sequence[int], count: int) -> Places:
    return tuple(number - 1 for number in dict.fromkeys(numbers) if 1 <= number <= count)


# -- windows ----------------------------------------------------------------------------------------------------------


def windows(n: int, size: int, step: int) -> Iterator[tuple[int, int]]:
    """(start, end) pairs from the bottom of a list of n to its top, as in RankGPT (Sun et al., EMNLP 2023), but every
    position is seen: RankGPT's own loop has no window for a list shorter than one, and may stop short of the top."""
    if not 0 < step <= size:
        raise RrarankError(f"windows of {size} in steps of {step}: expected a step from 1 to the size of the window")
    end = n
    while end > 0:
        start = max(end - size, 0)
        yield start, end
        if start == 0:
            return
        end -= step
