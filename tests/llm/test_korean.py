"""Korean numerals and list markers in answers are read as the numbers they stand for."""

import pytest

from rrarank.llm.korean import with_digits
from rrarank.llm.listwise import parse_answer


@pytest.mark.parametrize(
    "answer",
    [
        "첫째: 2번, 둘째: 1번, 셋째: 3번",
        "첫째: 2번\n둘째: 1번\n셋째: 3번",
        "첫째, 문서 2입니다. 둘째, 문서 1입니다. 셋째, 문서 3입니다.",
        "2번 > 1번 > 3번",
        "1위: 2번\n2위: 1번\n3위: 3번",
        "가. 2번\n나. 1번\n다. 3번",
        "가. [2]\n나. [1]\n다. [3]",
        "㉠ 2번\n㉡ 1번\n㉢ 3번",
        "② > ① > ③",
        "② ① ③",
        "① 2번\n② 1번\n③ 3번",
        "이 > 일 > 삼",
        "이번 > 일번 > 삼번",
        "두 번째 > 첫 번째 > 세 번째",
        "둘째 > 첫째 > 셋째",
        "2번 문서 > 1번 문서 > 3번 문서",
        "2번 문서, 1번 문서, 3번 문서",
        "2번째 문서 > 1번째 문서 > 3번째 문서",
        "제2번, 제1번, 제3번",
        "문서 이 > 문서 일 > 문서 삼",
        "[이] > [일] > [삼]",
        "이, 일, 삼",
        "두 번째 문서, 첫 번째 문서, 세 번째 문서",
    ],
)
def test_an_order_of_three_is_read_without_fault(answer):
    assert parse_answer(answer, 3) == parse_answer("[2] > [1] > [3]", 3)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("이십삼번 > 십번", "23번 > 10번"),
        ("이번 질문에 대한 답입니다", "이번 질문에 대한 답입니다"),  # 이번: this time
        ("가장 좋은 것은 [2]", "가장 좋은 것은 [2]"),
        ("나. 문서 3", "문서 3"),
        ("[2] > [1]", "[2] > [1]"),
        ("문서 이름은 [2]", "문서 이름은 [2]"),
        ("이, 그 문서는 [2]", "이, 그 문서는 [2]"),
    ],
)
def test_only_what_stands_for_a_number_changes(text, read):
    assert with_digits(text) == read
