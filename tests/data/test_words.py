"""Words by Unicode's rules, whatever the script."""

import random

import pytest

from rrarank.data.words import word_pieces, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don't panic: it's 3.14, or 10,500.", "Don't|panic|it's|3.14|or|10,500"),
        ("state-of-the-art", "state|of|the|art"),
        ("한국어 문장입니다.", "한국어|문장입니다"),
        ("中文字。", "中|文|字"),
        ("日本のテスト", "日|本|の|テスト"),
        ("ไทย", "ไ|ท|ย"),
        ("cafe\u0301 au lait", "cafe\u0301|au|lait"),
        (" — … \n", ""),
        ("", ""),
    ],
)
def test_words_of_many_scripts(text, found):
    assert words(text) == found.split("|") * bool(found)


def test_pieces_hold_a_word_each_and_join_to_the_text():
    rng = random.Random(0)
    for _ in range(500):
        text = "".join(
            rng.choices(["tea", "中", "한국", " ", " ", ", ", '"', "(", ")", "-", "ก", "e\u0301", "😀"], k=20)
        )
        pieces = word_pieces(text)
        assert "".join(pieces) == text
        assert [len(words(piece)) for piece in pieces] == [1] * len(words(text)) or not words(text)


def test_opening_punctuation_stays_with_its_word():
    assert word_pieces('he said, "tea (green)"') == ["he ", "said, ", '"tea ', '(green)"']
