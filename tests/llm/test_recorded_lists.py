"""1,786 recorded answers of RankVicuna models on DL19: what the parser makes of them, 60 of them read by hand."""

import gzip
import json
import random
import re
from collections import Counter
from itertools import chain

import pytest

from rrarank.llm.listwise import parse_answer


@pytest.fixture(scope="module")
def rows(shared_data):
    with gzip.open(shared_data / "dl19" / "llm-listwise-responses.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def parsed(rows):
    return [parse_answer(row["response"], len(row["docids"])) for row in rows]


def test_how_many_have_which_faults(parsed):
    assert Counter(answer.faults for answer in parsed) == {
        (): 896,
        ("repeated",): 703,
        ("truncated", "repeated"): 124,
        ("repeated", "missing"): 47,
        ("out of range", "missing"): 5,
        ("out of range",): 4,
        ("missing",): 3,
        ("missing", "extra text"): 3,
        ("extra text",): 1,
    }
    assert Counter(answer.verdict for answer in parsed) == {
        "ok": 896,
        "repeated": 750,
        "truncated": 124,
        "out of range": 9,
        "missing": 6,
        "extra text": 1,
    }


def test_no_docid_is_invented_named_twice_or_lost(rows, parsed):
    for row, answer in zip(rows, parsed, strict=True):
        docids = [row["docids"][place] for place in answer.order + answer.missing]
        assert sorted(docids) == sorted(row["docids"])
        assert [docid for docid in row["docids"] if docid in docids[len(answer.order) :]] == docids[len(answer.order) :]


def test_an_opening_without_its_bracket_keeps_the_top_document(rows, parsed):
    """Read by `[n]` alone, 20 answers would turn the document they put first into a hard negative."""
    openings, lost = 0, 0
    for row, answer in zip(rows, parsed, strict=True):
        if opening := re.match(r"\s*([0-9]+)(?:\]| >)", row["response"]):
            openings += 1
            place = int(opening[1]) - 1
            assert place >= 20 or answer.order[0] == place
            lost += place < 20 and f"[{opening[1]}]" not in row["response"]
    assert (openings, lost) == (716, 20)


# -- read by hand ------------------------------------------------------------------------------------------------------

# line -> what a reader saw in the answer there, without knowing what the parser says
HAND = {
    "": [3, 129, 392, 455, 500, 1276, 1303],
    "repeated": [
        *(691, 825, 868, 964, 991, 1030, 1184, 1391, 1466, 1479, 1480, 1500, 1509, 1524, 1629, 1642, 1655, 1707),
        *(1728, 1729, 1735, 1760),
    ],
    "truncated, repeated": [667, 683, 716, 752, 757, 767, 772, 792, 793, 827, 830, 842, 856, 859, 876, 947, 1001],
    "repeated, missing": [1072, 1085, 1228, 1392, 1409],
    "out of range": [1521, 1572, 1662],
    "out of range, missing": [1560, 1688],
    "missing, extra text": [1486, 1535, 1537],
    "extra text": [1615],
}


def test_the_lines_read_by_hand_were_drawn_not_picked(rows):
    assert sorted(draw([row["response"] for row in rows])) == sorted(chain.from_iterable(HAND.values()))


@pytest.mark.parametrize("faults", HAND)
def test_the_parser_sees_what_a_reader_saw(faults, parsed):
    assert {line: ", ".join(parsed[line - 1].faults) for line in HAND[faults]} == dict.fromkeys(HAND[faults], faults)


def draw(answers, sample=60, each=5):
    """Lines from 1: `each` of every odd shape (one shape has but 4), the rest at random."""
    lines: dict[str, list[int]] = {}
    for line, answer in enumerate(answers, start=1):
        lines.setdefault(shape(answer), []).append(line)
    rng = random.Random(0)
    shapes = [lines[name] for name in sorted(lines.keys() - {"plain"})]
    odd = [line for found in shapes for line in rng.sample(found, min(each, len(found)))]
    return odd + rng.sample(sorted(set(range(1, len(answers) + 1)) - set(odd)), sample - len(odd))


def shape(answer):
    """How an answer looks, by its characters alone, so that the parser has no say in the draw."""
    answer = answer.strip()
    numbers = [int(number) for number in re.findall("[0-9]+", answer)]
    looks = {
        "ends in >": answer.endswith(">"),
        "ends in [": answer.endswith("["),
        "ends in [n": re.search(r"\[[0-9]+$", answer),
        "words": re.search("[a-z]", answer),
        "high": max(numbers) > 20,
        "few": len(set(numbers)) < 20,
        "half": re.match(r"[0-9]+\]", answer),
        "bare": re.match("[0-9]+ >", answer),
    }
    return next((look for look, is_so in looks.items() if is_so), "plain")
