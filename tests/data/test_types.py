"""The data that flows."""

import pytest

from rrarank.data.types import Hit, is_blank, ranking_of


@pytest.mark.parametrize("text", ["", " \t\n", "\u00a0", "\u200b\ufeff", "\u2028", "\x00"])
def test_a_text_of_which_nothing_can_be_seen_is_blank(text):
    assert is_blank(text)
    found = ranking_of("1", [Hit("a", 2.0), Hit("b", 1.0)], {"1": "q"}, {"a": text, "b": "x"})
    assert [candidate.docid for candidate in found.candidates] == ["b"]


@pytest.mark.parametrize("text", ["a", " . ", "\u200b가", "😀"])
def test_any_character_that_can_be_seen_makes_a_text(text):
    assert not is_blank(text)
