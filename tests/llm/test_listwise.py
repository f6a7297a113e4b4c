"""Answers of language models, as they come, and windows that see every position."""

import random
import time
from itertools import pairwise

import pytest

from rrarank.errors import RrarankError
from rrarank.llm.listwise import Parsed, labels, parse_answer, windows


def ids(answer, count=20, **options):
    """The ids an answer names, best first, as a reader would say them: from 1."""
    return [place + 1 for place in parse_answer(answer, count, **options).order]


# -- the order ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        "[3] > [1] > [2]",
        "[3]>[1]>[2]",
        "\n [3]  >  [1] >\n[2] \n",
        "[3] > [1] > [2].",
        "3] > [1] > [2]",
        "3 > [1] > [2]",
        "[3] > 1 > 2]",
        "3 > 1 > 2",
        "3, 1, 2",
        "3, 1, 2.",
        "3\n1\n2",
        "3]\n[1]\n[2]",
        "1. 3\n2. 1\n3. 2",
        "1. [3]\n2. [1]\n3. [2]",
        "1) [3]\n2) [1]\n3) [2]",
        "- [3]\n- [1]\n- [2]",
        "* [3]\n* [1]\n* [2]",
        "[3]\n[1]\n\n[2]",
        "[3], [1], [2]",
        "[3], [1] and [2]",
        "[3][1][2]",
        "[3, 1, 2]",
        "[3 > 1 > 2]",
        "[[3], [1], [2]]",
        "[[3]] > [[1]] > [[2]]",
        "【3】 > 【1】 > 【2】",
        "［３］＞［１］＞［２］",
        "[03] > [01] > [02]",
        "[ 3 ] > [ 1 ] > [ 2 ]",
        "Passage [3] > Passage [1] > Passage [2]",
        "[Passage 3] > [Passage 1] > [Passage 2]",
        "Passage 3, Passage 1, Passage 2",
        "Document [3]\nDocument [1]\nDocument [2]",
        "[3] -> [1] => [2]",
        "[3] &gt; [1] &gt; [2]",
        "**[3]** > **[1]** > `[2]`",
        "```\n[3] > [1] > [2]\n```",
        "```text\n[3] > [1] > [2]\n```",
        "\\[3\\] > \\[1\\] > \\[2\\]",
        "<think>[2] > [1] is my first thought; of 3 passages …</think>\n\n[3] > [1] > [2]",
        "no opening tag: [1] > [2]</think>[3] > [1] > [2]",
        "<answer>[3] > [1] > [2]</answer>",
        "[3] > [1] > [2]<|im_end|>",
        '{"ranking": [3, 1, 2]}',
    ],
)
def test_one_order_in_many_dresses(answer):
    assert ids(answer, 3) == [3, 1, 2]
    assert parse_answer(answer, 3).verdict == "ok"


@pytest.mark.parametrize(
    "answer",
    [
        "[3] > [1] > [2] > [1] > [3]",
        "[3] > [9] > [1] > [0] > [2]",
        "Ranking: [3] > [1] > [2]",
        "Ranking: [3], [1], [2]",
        "Ranking:\n1. [3]\n2. [1]\n3. [2]",
        "Of the 20 passages, here are the best 2: [3] > [1] > [2]",
        "100% of the passages should be included. [3] > [1] > [2]",
        "[3] > [1] > [2]\n\n[3] answers the question, as of 2019.",
        "First [1] > [2] > [3]. No, wait. [3] > [1] > [2]",
    ],
)
def test_the_same_order_under_faults_and_words(answer):
    assert ids(answer, 3) == [3, 1, 2]
    assert parse_answer(answer, 3).verdict in {"repeated", "out of range", "extra text"}


def test_ties_keep_the_order_of_the_answer():
    assert ids("[1] = [2] > [3]") == [1, 2, 3]


def test_a_number_in_a_word_is_no_id_though_it_stands_by_a_list():
    assert ids("covid19 > [3] > [1]") == ids("[3] > [1] > 2nd") == [3, 1]


def test_one_id_alone_is_a_list():
    assert ids("[7]") == ids("7]") == ids("Passage [7]") == ids("Relevant: [7].") == [7]


@pytest.mark.parametrize(
    "answer",
    [
        "there are 20 passages",
        "in 2019, 3 of 10",
        "as 3 > 2, and 20 = 20",
        "20",
        "3.5",
        "(3) > (1)",
        "None of the passages helps.",
        "none",
        "",
        "[]",
        "[a] > [b]",
        "<think>[2] > [1]",
        "<think>[2] > [1]</think>",
    ],
)
def test_digits_in_prose_and_ids_in_thoughts_are_no_ids(answer):
    parsed = parse_answer(answer, 20)
    assert (parsed.order, parsed.verdict) == ((), "no ids")
    assert parsed.missing == tuple(range(20))


@pytest.mark.parametrize(
    ("answer", "order"),
    [
        ("[3] is the best, as it says; [1] is not relevant.", [3, 1]),
        ("1. [3] – on tea\n2. [1] – on bread", [3, 1]),
        ("Passages [1], [2] and [4] do not help; [3] does.", [1, 2, 4, 3]),
        ("Only [3].", [3]),
        ("Relevant: [3], [1]\nPartly: [2], [4]", [3, 1, 2, 4]),
        ("Not relevant: [2], [4]", [2, 4]),
        ("[3] > [1]\n[2] > [4]", [3, 1, 2, 4]),
        ("[1] > [2] > [4]? [4] is off topic. So: [2] > [1]", [1, 2, 4]),
        ("[3] < [1] < [2]", [2, 1, 3]),
        ("Tea is drunk in China [1][2], and in 2019 also elsewhere [4].", [1, 2, 4]),
    ],
)
def test_ids_in_prose_and_lists_that_contradict_each_other_rank_but_give_no_labels(answer, order):
    """They may name a passage to dismiss it: good enough to go on with a ranking, not to learn from."""
    parsed = parse_answer(answer, 5)
    assert [place + 1 for place in parsed.order] == order
    assert parsed.verdict == "no list"
    assert labels(parsed) == ((), (), (0, 1, 2, 3, 4))


def test_any_order_in_any_dress_comes_back():
    rng = random.Random(0)
    for _ in range(300):
        count = rng.randint(2, 100)
        order = rng.sample(range(1, count + 1), rng.randint(2, count))
        joint = rng.choice([" > ", ">", ", ", "\n", " ", " >\n"])
        answer = joint.join(f"[{number}]" for number in order)
        assert ids(answer, count) == order
        assert ids(answer.removeprefix("["), count) == order
        if joint != " ":
            assert ids(answer.replace("[", "").replace("]", ""), count) == order


def test_each_place_is_named_or_missing_whatever_the_answer():
    rng = random.Random(0)
    for _ in range(3000):
        answer = "".join(rng.choices(["[", "]", ">", " ", ",", "\n", ":", "a", "1", "12", "[3]", " > [4]"], k=30))
        count = rng.randint(0, 15)
        parsed = parse_answer(answer, count, finished=rng.random() < 0.5)
        assert sorted(parsed.order + parsed.missing) == list(range(count))
        assert list(parsed.missing) == sorted(parsed.missing)
        assert set(parsed.aside) <= set(parsed.missing)
        assert sorted(sum(labels(parsed), ())) == list(range(count))


@pytest.mark.parametrize(
    "endless",
    ["[", "]", " ", "\n", "1", "[1] > ", "1 > ", "[1], ", "[1]\n", "[1\n", "x: ", "<a", "[1] ", "- ", "`", "=", "1, "],
)
@pytest.mark.parametrize("end", ["", "x"])
def test_an_answer_that_never_stops_is_read_at_once(endless, end):
    started = time.process_time()
    parse_answer(endless * 10_000 + end, 20)
    assert time.process_time() - started < 20  # seconds; a quadratic pattern takes minutes


# -- the faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "faults"),
    [
        ("[2] > [1] > [3]", ()),
        ("2] > [1] > [3]", ()),
        ("I'm sorry, but I cannot rank these passages.", ("refused",)),
        ("As an AI, I can’t do that.", ("refused",)),
        ("죄송합니다. 답변할 수 없습니다.", ("refused",)),
        ("Sorry about the delay: [2] > [1] > [3]", ("extra text",)),
        ("The passages are about tea.", ("no ids",)),
        ("[2] and [1] are fine; [3] too", ("no list", "extra text")),
        ("[2] > [1] > [3] >", ("truncated",)),
        ("[2] > [1] > [3] > [", ("truncated",)),
        ("[2] > [3] > [1", ("truncated", "missing")),
        ("[2], [3],", ("truncated", "missing")),
        ("[2, 3, 1", ("truncated", "missing")),
        ("<think>Let me see", ("no ids", "truncated")),
        ("[2] > [1] > [3] > [4]", ("out of range",)),
        ("[2] > [0]", ("out of range", "missing")),
        ("1000000000000000000000 > [2] > [1] > [3]", ("out of range",)),
        ("[2] > [1] > [3] > [2]", ("repeated",)),
        ("2 > [1] > [2]", ("repeated", "missing")),
        ("[2] > [1]", ("missing",)),
        ("Ranking: [2] > [1]", ("missing", "extra text")),
        ("[2] > [1] > [3], as [2] says", ("extra text",)),
        ("[2] > [1] > [3]\n[2] > [1] > [3]", ("extra text",)),
        ("Answer: [2] > [2] > [9] > [", ("truncated", "out of range", "repeated", "missing", "extra text")),
    ],
)
def test_the_gravest_fault_comes_first(answer, faults):
    parsed = parse_answer(answer, 3)
    assert parsed.faults == faults
    assert parsed.verdict == (faults[0] if faults else "ok")


def test_a_number_too_long_for_python_is_out_of_range():
    assert parse_answer(f"[1] > [{'9' * 5000}]", 1).faults == ("out of range",)


def test_a_stopped_model_is_truncated_however_its_answer_looks():
    parsed = parse_answer("[2] > [1]", 3, finished=False)
    assert parsed == Parsed(order=(1, 0), missing=(2,), faults=("truncated", "missing"))
    assert ids("3 > 1", finished=False) == [3]  # the 1 may be half of 12
    assert ids("3 > 1", finished=True) == [3, 1]


def test_an_id_that_breaks_off_names_nothing():
    assert ids("[3] > [1] > [2") == ids("[3, 1, 2") == ids("[3] > [1] > [") == [3, 1]


@pytest.mark.parametrize(
    "answer",
    ["[3] > [1] > ...", "[3] > [1] > …", "[3] > [1] > [...]", "[3] > [1]...", "[3] > [1] > etc.", "[3] > [1] > [4-8]",
     "[3] > [1] > ... > [2]", "[3] > [1] > [4] to [8]", "[3] > [1] > [4]-[8]", "[3] > [1] > [passages 4-8]"],
)  # fmt: skip
def test_ids_that_are_meant_but_not_named_are_no_judgment(answer):
    listed, missing, unknown = labels(parse_answer(answer, 8))
    assert listed[:2] == (2, 0)
    assert missing == ()
    assert len(listed) + len(unknown) == 8


# -- what it is worth --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "listed", "missing", "unknown"),
    [
        ("[3] > [1] > [2] > [4]", (2, 0, 1, 3), (), ()),
        ("[3] > [1]", (2, 0), (1, 3), ()),
        ("[3] > [1] > [3]", (2, 0), (1, 3), ()),
        ("Here you are: [3] > [1]", (2, 0), (1, 3), ()),
        ("[3] > [1]. I am not sure about [4].", (2, 0), (1,), (3,)),
        ("Relevant: [3], [1]\nNot relevant: [2], [4]", (2, 0), (), (1, 3)),
        ("[3] > [1] >", (2, 0), (), (1, 3)),
        ("[3] > [1] > [2", (2, 0), (), (1, 3)),
        ("[3] > [1] > [5]", (2, 0), (), (1, 3)),
        ("[9]", (), (), (0, 1, 2, 3)),
        ("none", (), (), (0, 1, 2, 3)),
        ("I cannot help with that.", (), (), (0, 1, 2, 3)),
    ],
)
def test_only_an_answer_that_ended_well_makes_hard_negatives(answer, listed, missing, unknown):
    assert labels(parse_answer(answer, 4)) == (listed, missing, unknown)


# -- windows -----------------------------------------------------------------------------------------------------------

SIZES_AND_STEPS = [(size, step) for size in (1, 2, 3, 5, 7, 20) for step in range(1, size + 1)]


@pytest.mark.parametrize(("size", "step"), SIZES_AND_STEPS)
def test_every_position_is_seen_bottom_to_top(size, step):
    for n in range(61):
        pairs = list(windows(n, size, step))
        assert set().union(*(range(start, end) for start, end in pairs)) == set(range(n))
        assert all(0 < end - start <= size for start, end in pairs)
        assert all(end - start == size for start, end in pairs[:-1])
        assert pairs == sorted(pairs, reverse=True)
        assert all(upper[1] == lower[1] - step for lower, upper in pairwise(pairs))


def test_a_hundred_are_seen_as_in_rankgpt():
    assert list(windows(100, 20, 10)) == [(start, start + 20) for start in range(80, -1, -10)]


def test_lists_that_rankgpts_loop_does_not_see_whole():
    assert list(windows(12, 20, 10)) == [(0, 12)]  # it has no window for these
    assert list(windows(95, 20, 10))[-2:] == [(5, 25), (0, 15)]  # it ends at 5
    assert list(windows(0, 20, 10)) == []


@pytest.mark.parametrize(("size", "step"), [(20, 0), (20, -1), (20, 21), (0, 0), (0, 1)])
def test_steps_that_would_skip_positions_are_refused(size, step):
    with pytest.raises(RrarankError, match="expected a step from 1 to the size"):
        list(windows(50, size, step))
