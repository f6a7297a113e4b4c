"""The data that flows."""

import pytest

from rrarank.data.types import Hit, blank_last, is_blank, ranking_of


@pytest.mark.parametrize("text", ["", " \t\n", "\u00a0", "\u200b\ufeff", "\u2028", "\x00"])
def test_a_text_of_which_nothing_can_be_seen_is_blank(text):
    assert is_blank(text)
    found = ranking_of("1", [Hit("a", 2.0), Hit("b", 1.0)], {"1": "q"}, {"a": text, "b": "x"})
    assert [candidate.docid for candidate in found.candidates] == ["b"]


@pytest.mark.parametrize("text", ["a", " . ", "\u200b가", "😀"])
def test_any_character_that_can_be_seen_makes_a_text(text):
    assert not is_blank(text)


def test_blank_texts_are_scored_below_all_others_in_their_order():
    assert blank_last(["", "a", " ", "b"], [9.0, 2.0, 8.0, -3.5]) == [-4.5, 2.0, -5.5, -3.5]
    assert blank_last(["", ""], [1.0, 1.0]) == [-1.0, -2.0]
    assert blank_last(["a", "b"], [1.0, 2.0]) == [1.0, 2.0]
