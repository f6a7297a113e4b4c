"""The distillation set: what is read, what is refused, and what a label teaches."""

import dataclasses
import gzip
import json
import random

import pytest

from rrarank.data.distillation_set import (
    collapse_equal_texts,
    find_faults,
    levels,
    pairs,
    read_set,
    split,
    write_rows,
    write_set,
)
from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.errors import RrarankError

SHOWN = [
    {"docid": "a", "score": 0.1, "text": "line\none\u2028[1]"},
    {"docid": "b", "score": -2.0, "text": "two"},
    {"docid": "c", "score": 1e-300, "text": "three"},
    {"docid": "d", "score": 7.0, "text": "four"},
]
ROW = {
    "qid": "q1",
    "query": "is 茶 tea?",
    "shown": SHOWN,
    "listed": ["c", "a"],
    "missing": ["b"],
    "unknown": ["d"],
    "not_shown": ["e"],
    "faults": ["truncated", "repeated"],
    "answer": "[3] > [1] > [",
    "reasons": {"a": "says so"},
    "provenance": {"teacher": "t", "parameters": {"temperature": 0.0}},
}
LABEL = LabelledRanking(
    Query("q1", "is 茶 tea?"),
    (
        Candidate("a", "line\none\u2028[1]", 0.1),
        Candidate("b", "two", -2.0),
        Candidate("c", "three", 1e-300),
        Candidate("d", "four", 7.0),
    ),
    listed=("c", "a"),
    missing=("b",),
    unknown=("d",),
    not_shown=("e",),
    faults=("truncated", "repeated"),
    answer="[3] > [1] > [",
    reasons={"a": "says so"},
    provenance={"teacher": "t", "parameters": {"temperature": 0.0}},
)


def label(listed="", missing="", unknown="", qid="q1", shown=""):
    """A label whose docids are letters, shown in alphabetical order."""
    docids = shown or "".join(sorted(listed + missing + unknown))
    candidates = tuple(Candidate(docid, f"text {docid}", 0.0) for docid in docids)
    return LabelledRanking(Query(qid, "query"), candidates, tuple(listed), tuple(missing), tuple(unknown))


def line(**changes):
    row = {name: value for name, value in {**ROW, **changes}.items() if value is not None}
    return json.dumps(row, ensure_ascii=False) + "\n"


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_line_holds_a_label(tmp_path):
    (tmp_path / "set.jsonl").write_text(line())
    assert read_set(tmp_path / "set.jsonl") == [LABEL]


def test_a_written_line_is_that_line(tmp_path):
    write_set(tmp_path / "set.jsonl", [LABEL])
    assert (tmp_path / "set.jsonl").read_text(encoding="utf-8") == line()


@pytest.mark.parametrize("name", ["set.jsonl", "set.jsonl.gz"])
def test_equal_labels_give_equal_bytes_and_come_back(name, tmp_path):
    labels = [LABEL, label("ab", "c", qid="q2"), label(unknown="ab", qid="q3")]
    for folder in ("one", "two"):
        write_set(tmp_path / folder / name, iter(labels))
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert read_set(tmp_path / "one" / name) == labels


def test_gz_holds_the_same_lines_and_neither_its_name_nor_the_time(tmp_path):
    write_set(tmp_path / "set.jsonl.gz", [LABEL])
    packed = (tmp_path / "set.jsonl.gz").read_bytes()
    assert gzip.decompress(packed).decode() == line()
    assert packed[3:8] == bytes(5)  # flags and time (RFC 1952)


def test_reasons_are_written_in_prompt_order(tmp_path):
    for number, docids in enumerate(["ab", "ba"]):
        write_set(tmp_path / str(number), [dataclasses.replace(LABEL, reasons=dict.fromkeys(docids, "why"))])
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


def test_what_a_teacher_need_not_say_may_be_left_out(tmp_path):
    (tmp_path / "set.jsonl").write_text(
        '\n{"qid": "1", "query": "q", "shown": [{"docid": "a", "score": 1, "text": "t"}], "listed": ["a"]}\n \n'
    )
    assert read_set(tmp_path / "set.jsonl") == [
        LabelledRanking(Query("1", "q"), (Candidate("a", "t", 1.0),), listed=("a",))
    ]


TWICE = "'a': more than once among listed, missing and unknown; keep one"
CANDIDATE = SHOWN[0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "",
            ": no labels; expected lines of {qid, query, shown, listed, missing, unknown, not_shown, faults, answer, r",
        ),
        ("\n \n", ": no labels"),
        ("{", ":1: not JSON (Expecting property name enclosed in double quotes at column 2)"),
        ("[]", ":1: a JSON list, expected an object"),
        ("\n{}", ":2: field 'qid' is absent, expected a string"),
        (line(qid=7), ":1: field 'qid' is 7, expected a string"),
        (line(qid=None), ":1: field 'qid' is absent, expected a string"),
        (line(shown=None), ":1: field 'shown' is absent, expected a list"),
        (line(shown={}), ":1: field 'shown' is {}, expected a list"),
        (line(shown=["a"]), ":1: field 'shown' holds 'a', expected {docid, score, text}"),
        (line(shown=[{**CANDIDATE, "score": "1"}]), ":1: field 'score' is '1', expected a number"),
        (line(shown=[{**CANDIDATE, "score": True}]), ":1: field 'score' is True, expected a number"),
        (line(shown=[{**CANDIDATE, "score": 10**400}]), ":1: field 'score' is beyond any float; expected a finite"),
        (line(shown=[{**CANDIDATE, "text": None}]), ":1: field 'text' is None, expected a string"),
        (line(shown=[{**CANDIDATE, "title": ""}]), ":1: unknown field 'title'; expected docid, score, text"),
        (line(listed="ca"), ":1: field 'listed' is 'ca', expected a list"),
        (line(listed=["c", 1]), ":1: field 'listed' holds 1, expected strings"),
        (line(reasons=[]), ":1: field 'reasons' is [], expected an object"),
        (line(labels=[1]), ":1: unknown field 'labels'; expected qid, query, shown, listed"),
        (line(answer="\ud800").encode("utf-8", "backslashreplace").decode(), ":1: half of a surrogate pair"),
        (line() * 2, ":2: query 'q1' occurs twice; keep one line"),
        (line(query=" "), ":1: query 'q1': its text is empty"),
        (line(shown=[]), ":1: query 'q1': no document is shown; leave the query out"),
        (line(qid="q 1"), ":1: query 'q 1': 'q 1': an id that a run cannot hold: empty, or with a space"),
        (line(not_shown=[""]), ":1: query 'q1': '': an id that a run cannot hold"),
        (line(shown=[*SHOWN, CANDIDATE]), ":1: query 'q1': 'a': shown twice; keep one"),
        (line(missing=["b", "a"]), f":1: query 'q1': {TWICE}"),
        (line(unknown=["d", "a"]), f":1: query 'q1': {TWICE}"),
        (line(listed=["c", "a", "a"]), f":1: query 'q1': {TWICE}"),
        (line(listed=["c", "a", "x"]), ":1: query 'q1': 'x': listed, missing or unknown, but not shown"),
        (line(missing=["b", "e"]), ":1: query 'q1': 'e': listed, missing or unknown, but not shown"),
        (
            line(missing=[], unknown=[]),
            ":1: query 'q1': 'b', 'd': shown, but not listed, missing or unknown; make it unknown ",
        ),
        (line(not_shown=["e", "a"]), ":1: query 'q1': 'a': both shown and not shown"),
        (line(shown=[{**c, "text": "\n"} for c in SHOWN]), ":1: query 'q1': 'a', 'b', 'c', 'd': without text"),
        (line(shown=[{**c, "score": float("nan")} for c in SHOWN]), ":1: query 'q1': 'a', 'b', 'c', 'd': a sc"),
        (line(reasons={"e": "why"}), ":1: query 'q1': 'e': a reason, but not shown"),
        (line(reasons={"a": 1}), ":1: query 'q1': 'a': a reason that is no string"),
        (
            line(provenance={"p": float("inf")}),
            ":1: query 'q1': its provenance holds a value that JSON cannot",
        ),
    ],
)
def test_a_fault_is_named_by_line(text, fault, tmp_path):
    path = tmp_path / "set.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RrarankError) as error:
        read_set(path)
    assert str(error.value).startswith(f"{path}{fault}")
    assert str(error.value) in find_faults(path)


def test_all_faults_are_found_and_none_hides_another(tmp_path):
    path = tmp_path / "set.jsonl"
    path.write_text("{\n" + line(listed=["c", "a", "a", "x"]) + line(qid="q2") + line(qid="q2"))
    assert [fault.removeprefix(f"{path}:")[:17] for fault in find_faults(path)] == [
        "1: not JSON (Expe",
        "2: query 'q1': 'a",
        "2: query 'q1': 'x",
        "4: query 'q2' occ",
    ]


def test_a_set_that_breaks_off_or_is_absent(tmp_path):
    with pytest.raises(RrarankError, match="no.jsonl: cannot be read"):
        read_set(tmp_path / "no.jsonl")
    (tmp_path / "half.jsonl.gz").write_bytes(gzip.compress(line().encode())[:-20])
    with pytest.raises(RrarankError, match=r"half.jsonl.gz: the gzip stream breaks off"):
        read_set(tmp_path / "half.jsonl.gz")


@pytest.mark.parametrize(
    ("faulty", "fault"),
    [
        (label("ab", qid="q1"), "query 'q1' occurs twice; keep one line"),
        (label("ab", shown="abc", qid="q2"), "query 'q2': 'c': shown, but not listed"),
        (dataclasses.replace(LABEL, query=Query("q2", "q"), answer="\udc00"), "half of a surrogate pair"),
        (dataclasses.replace(LABEL, query=Query("q2", "q"), provenance={"p": object()}), "a value that JSON cannot"),
    ],
)
def test_a_faulty_label_is_not_written_nor_anything_else(faulty, fault, tmp_path):
    (tmp_path / "set.jsonl").write_text("old")
    with pytest.raises(RrarankError, match=fault):
        write_set(tmp_path / "set.jsonl", [LABEL, faulty])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("set.jsonl", "old")]


def test_labels_are_written_as_they_come(tmp_path):
    def interrupted():
        yield LABEL
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_set(tmp_path / "set.jsonl.gz", interrupted())
    assert list(tmp_path.iterdir()) == []


def test_rows_go_to_stdout_too(capsys):
    write_rows("-", [{"é": 0.1}])
    assert capsys.readouterr().out == '{"é": 0.1}\n'


# -- what training learns from -----------------------------------------------------------------------------------------


def test_pairs_listed_in_order_above_missing_and_none_else():
    assert list(pairs(label("ba", "dc", "e"))) == [("b", "a"), ("b", "d"), ("b", "c"), ("a", "d"), ("a", "c")]
    assert (
        list(pairs(label(missing="abc"))) == list(pairs(label(unknown="abc"))) == list(pairs(label("a", "", "b"))) == []
    )


def test_levels_fall_from_the_number_listed_to_the_missing():
    assert levels(label("ba", "dc", "e")) == {"b": 2, "a": 1, "d": 0, "c": 0}
    assert levels(label(unknown="ab")) == {}


@pytest.mark.parametrize("seed", range(10))
def test_a_level_exceeds_another_just_where_there_is_a_pair(seed):
    rng = random.Random(seed)
    docids = rng.sample("abcdefghij", 10)
    first, second = sorted(rng.choices(range(11), k=2))
    given = label(docids[:first], docids[first:second], docids[second:], shown=docids)
    level = levels(given)
    assert set(pairs(given)) == {(a, b) for a in level for b in level if level[a] > level[b]}
    assert len(set(pairs(given))) == len(list(pairs(given)))


def test_a_query_stays_in_its_part_when_others_are_added():
    labels = [label("ab", qid=f"q{number}") for number in range(500)]
    rest, held_out = split(labels, 0.2, seed=1)
    assert sorted([*rest, *held_out], key=labels.index) == labels
    assert 70 < len(held_out) < 130
    assert split(labels[::7], 0.2, seed=1)[1] == [given for given in labels[::7] if given in held_out]


def test_a_larger_share_holds_a_smaller_one_and_another_seed_holds_out_others():
    labels = [label("ab", qid=f"q{number}") for number in range(500)]
    small, large, other = (split(labels, share, seed)[1] for share, seed in [(0.1, 1), (0.3, 1), (0.1, 2)])
    assert all(found in large for found in small)
    assert len([found for found in other if found in small]) < len(small) / 2


def test_equal_texts_collapse_to_the_best_ranked():
    texts = {"a": "tea", "b": "green  tea", "c": "green\ttea\n", "d": "Green tea", "e": " tea"}
    kept, dropped = collapse_equal_texts(Candidate(docid, text, 0.0) for docid, text in texts.items())
    assert [candidate.docid for candidate in kept] == ["a", "b", "d"]
    assert dropped == {"c": "b", "e": "a"}
    assert kept[1].text == "green  tea"
