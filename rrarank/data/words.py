"""The words of a text, by Unicode's word boundaries (UAX #29): one definition for prompts, passages and statistics.

A Chinese character, a hiragana and a Thai letter are a word each; a run of Hangul or of katakana is one.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any


def words(text: str) -> list[str]:
    """The words, without the spaces and punctuation between them."""
    return list(_pattern().findall(text))


def word_pieces(text: str) -> list[str]:
    """The text in pieces of one word each, cut at spaces where there are any; the pieces joined are the text."""
    spans = [word.span() for word in _pattern().finditer(text)]
    cuts = [
        start - len(text[end:start].split(" ")[-1]) if " " in text[end:start] else start
        for (_, end), (start, _) in pairwise(spans)
    ]
    return [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]


@cache
def _pattern() -> Any:
    import regex  # with (?w), its \b is the word boundary of UAX #29, which `re` lacks

    return regex.compile(r"(?V1sw)\b(?=\w).+?\b")
