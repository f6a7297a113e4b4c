"""TREC files: what is read, what is refused, and the order that every reader of a written run sees."""

import gzip
import random
import tracemalloc

import numpy as np
import pytest
import pytrec_eval

from rrarank.data.trec import (
    best_first,
    check_tag,
    parse_qrels,
    parse_run,
    read_qrels,
    read_run,
    strictly_falling,
    write_run,
)
from rrarank.data.types import Hit, Run
from rrarank.errors import RrarankError


def docids(hits):
    return [hit.docid for hit in hits]


def trec_eval_order(scores):
    """The docids in the order in which trec_eval ranks them: each in turn the only relevant one, 1 / its recip_rank."""
    evaluator = pytrec_eval.RelevanceEvaluator({docid: {docid: 1} for docid in scores}, {"recip_rank"})
    found = evaluator.evaluate(dict.fromkeys(scores, scores))
    return sorted(scores, key=lambda docid: round(1 / found[docid]["recip_rank"]))


# -- runs: reading -----------------------------------------------------------------------------------------------------


def test_six_columns_give_hits_best_first_and_the_tag():
    run = parse_run("1 Q0 a 1 2.5 bm25\n1 Q0 b 2 7e1 bm25\n2 Q0 a 1 -3 bm25\n")
    assert dict(run) == {"1": [Hit("b", 70.0), Hit("a", 2.5)], "2": [Hit("a", -3.0)]}
    assert run.tag == "bm25"


def test_msmarco_columns_score_one_over_rank():
    run = parse_run("1\ta\t2\n1\tb\t1\n1\tc\t10\n")
    assert run["1"] == [Hit("b", 1.0), Hit("a", 0.5), Hit("c", 0.1)]


def test_the_rank_column_is_ignored():
    assert docids(parse_run("1 Q0 a 1 1 t\n1 Q0 b 2 9 t\n1 Q0 c x 5 t")["1"]) == ["b", "c", "a"]


def test_any_ascii_white_space_separates_and_blank_lines_are_passed_over():
    run = parse_run("\n \n1  Q0\ta \v1\f 2 t\r\n\r\n\t1 Q0 b 2 1 t  \n\n")
    assert dict(run) == {"1": [Hit("a", 2.0), Hit("b", 1.0)]}


def test_queries_keep_the_order_of_the_file_though_it_scatters_their_lines():
    run = parse_run("10 Q0 a 1 9 t\n9 Q0 a 1 9 t\n10 Q0 b 2 8 t\n8 Q0 a 1 9 t\n9 Q0 b 2 8 t")
    assert {qid: docids(hits) for qid, hits in run.items()} == {"10": ["a", "b"], "9": ["a", "b"], "8": ["a"]}
    assert list(run) == ["10", "9", "8"]


@pytest.mark.parametrize("docid", ["007", "7", "NA", "None", "nan", "1e3", "a\u00a0b", "東\u3000京", "x\u2028y", "é"])
def test_ids_stay_the_strings_they_are(docid, tmp_path):
    assert dict(parse_run(f"{docid} Q0 {docid} 1 9 t")) == {docid: [Hit(docid, 9.0)]}
    assert parse_qrels(f"{docid} 0 {docid} 1") == {docid: {docid: 1}}
    write_run(tmp_path / "out", Run({docid: [Hit(docid, 9.0)]}, "t"))
    assert docids(read_run(tmp_path / "out")[docid]) == [docid]


def test_lines_and_one_string_and_a_gzipped_file_read_alike(tmp_path):
    text = "1 Q0 a 1 9 t\n1 Q0 b 2 8 t\n"
    (tmp_path / "run.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    assert parse_run(text) == parse_run(text.splitlines()) == read_run(tmp_path / "run.gz")


GOOD = "1 Q0 a 1 9 t"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "run: no hits; expected lines of 6 columns (qid Q0 docid rank score tag)"),
        (" \n\r\n", "run: no hits"),
        (f"{GOOD}\n1 Q0 b 2 8", "run:2: 5 columns, expected 6 (qid Q0 docid rank score tag)"),
        (f"{GOOD}\n\n1 Q0 b 2 8 t u", "run:3: 7 columns, expected 6"),
        ("1 Q0 two words 2 8 t", "run:1: 7 columns, expected 6"),
        ("1 0 a 2", "run:1: 4 columns, expected 6 (qid Q0 docid rank score tag); this looks like a qrels file"),
        (f"{GOOD}\n1 b 2", "run:2: 3 columns, expected 6"),
        ("1 a 1\n1 Q0 b 2 8 t", "run:2: 6 columns, expected 3 (qid docid rank)"),
        ("1 Q0 a 1 high t", "run:1: score 'high' is not a number (column 5)"),
        ("1 Q0 a 1 0,5 t", "run:1: score '0,5' is not a number (column 5)"),
        ("1 Q0 a 1 nan t", "run:1: score 'nan' is not finite as float32; trec_eval cannot sort it"),
        ("1 Q0 a 1 -inf t", "run:1: score '-inf' is not finite"),
        ("1 a 0", "run:1: rank '0', expected a whole number from 1 (column 3)"),
        ("1 a -1", "run:1: rank '-1', expected a whole number from 1"),
        ("1 a 1.0", "run:1: rank '1.0', expected a whole number from 1"),
        (f"{GOOD}\n2 Q0 a 1 9 t\n{GOOD}", "run:3: docid 'a' occurs twice under query '1'; keep one line"),
        ("1 a 1\n1 a 2", "run:2: docid 'a' occurs twice under query '1'; keep one line"),
    ],
)
def test_a_malformed_run_is_refused_by_line(text, message):
    with pytest.raises(RrarankError) as error:
        parse_run(text)
    assert str(error.value).startswith(message)


def test_the_message_names_the_file(tmp_path):
    (tmp_path / "bad.trec").write_text("1 0 a 2\n")
    with pytest.raises(RrarankError, match=f"{tmp_path}/bad.trec:1: 4 columns"):
        read_run(tmp_path / "bad.trec")


# -- runs: ties --------------------------------------------------------------------------------------------------------


def test_equal_scores_go_by_docid_falling():
    assert docids(parse_run("1 Q0 b 1 5 t\n1 Q0 10 2 5 t\n1 Q0 c 3 5 t\n1 Q0 9 4 5 t")["1"]) == ["c", "b", "9", "10"]


def test_lines_of_a_query_may_stand_apart():
    lines = [f"{qid} Q0 d{rank} {rank} {9 - rank} t" for rank in range(1, 5) for qid in "231"]
    together = sorted(lines, key=lambda line: "231".index(line[0]))
    assert parse_run("\n".join(lines)) == parse_run("\n".join(together))
    assert list(parse_run("\n".join(lines))) == ["2", "3", "1"]


def test_a_docid_twice_is_found_in_lines_that_stand_apart():
    with pytest.raises(RrarankError, match="run:4: docid 'a' occurs twice under query '1'"):
        parse_run("1 Q0 a 1 9 t\n2 Q0 a 1 9 t\n1 Q0 b 2 8 t\n1 Q0 a 3 7 t")


def test_a_run_of_many_hits_takes_some_ten_bytes_more_than_its_docids_and_scores():
    lines = (f"{qid} Q0 {docid:07} 1 {-docid} t" for qid in range(100) for docid in range(1000))
    tracemalloc.start()
    run = parse_run(lines)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(map(len, run.values())) == 100_000
    assert held < 100_000 * 30


def test_scores_that_float32_cannot_tell_apart_are_equal():
    assert docids(parse_run("1 Q0 a 1 16777217 t\n1 Q0 b 2 16777216 t\n1 Q0 c 3 1 t")["1"]) == ["b", "a", "c"]
    assert docids(parse_run("1 Q0 a 1 16777218 t\n1 Q0 b 2 16777216 t")["1"]) == ["a", "b"]


@pytest.mark.parametrize("seed", range(20))
def test_ties_fall_as_in_trec_eval(seed):
    rng = random.Random(seed)
    values = [0.0, -0.0, 1.0, 1.0 + 1e-9, 1.0 - 1e-9, -2.5, 1e-46, 16777216.0, 16777217.0, rng.gauss(0, 1)]
    letters = "ab9Z_-é漢\U0001f600"
    names = {"".join(rng.choices(letters, k=rng.randint(1, 4))) for _ in range(60)}
    hits = [Hit(docid, rng.choice(values)) for docid in sorted(names)]
    rng.shuffle(hits)
    lines = [f"1 Q0 {hit.docid} 1 {hit.score!r} t" for hit in hits]
    assert docids(best_first(hits)) == docids(parse_run(lines)["1"]) == trec_eval_order(dict(hits))


# -- runs: writing -----------------------------------------------------------------------------------------------------

RNG = random.Random(1)
HARD = {
    "falling": [3.0, 2.5, -1.0],
    "one": [0.0],
    "equal": [0.5] * 200,
    "equal-zero": [0.0] * 200,
    "negative-zero": [-0.0, 0.0, -0.0, 0.0],
    "below-float32": [1 - i * 1e-12 for i in range(100)],
    "rising": [float(i) for i in range(100)],
    "negative": [-5.0, -5.0, -5.0000001, -7.0, -6.0],
    "huge": [3.4028234e38, 3.4028234e38, 3.3e38, 3.4e38, -3.3e38],
    "tiny": [1e-44, 1e-45, 1e-45, 1e-46, 0.0, 0.0, -1e-46],
    "steps": [1e8, 1e8, 1.0, 1e8, 1e-8, 1e-8, 0.0, 1.0],
    "mixed": [RNG.choice([0.0, 1e30, -1e30, 1e-30, RNG.gauss(0, 1), 16777217.0]) for _ in range(300)],
}
hard = pytest.mark.parametrize("scores", HARD.values(), ids=HARD.keys())


@hard
def test_written_scores_fall_strictly_and_change_no_more_than_needed(scores):
    falling = strictly_falling(scores)
    assert falling.dtype == np.float32
    assert falling.shape == (len(scores),)
    assert (falling[1:] < falling[:-1]).all()
    for i, (score, kept) in enumerate(zip(np.array(scores, np.float32), falling, strict=True)):
        assert kept == score or kept == np.nextafter(falling[i - 1], np.float32(-np.inf))


def test_scores_that_fall_are_only_rounded():
    assert strictly_falling([0.3, 0.1, -2]).tolist() == np.array([0.3, 0.1, -2], np.float32).tolist()
    assert strictly_falling([]).tolist() == []


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf"), 1e39])
def test_a_score_that_float32_cannot_hold_is_refused(score, tmp_path):
    with pytest.raises(RrarankError, match="is not a finite float32; a run cannot hold it"):
        write_run(tmp_path / "out", Run({"1": [Hit("a", 1.0), Hit("b", score)]}, "t"))
    assert list(tmp_path.iterdir()) == []


@hard
def test_every_reader_sees_the_order_that_was_meant(scores, tmp_path):
    import ranx

    names = [f"d{i:03}" for i in range(len(scores))]  # of one width: ranx compiles for each
    random.Random(0).shuffle(names)
    path = tmp_path / "out.trec"
    write_run(path, Run({"1": [Hit(*hit) for hit in zip(names, scores, strict=True)]}, "t"))

    rows = [line.split(" ") for line in path.read_text().splitlines()]
    as_written = [(row[2], row[3]) for row in rows]
    by_float32 = sorted(rows, key=lambda row: np.float32(row[4]))[::-1]  # so that ties would show
    with open(path) as file:
        by_trec_eval = trec_eval_order(pytrec_eval.parse_run(file)["1"])
    by_ranx = list(ranx.Run.from_file(str(path), kind="trec").to_dict()["1"])

    assert as_written == [(name, str(rank)) for rank, name in enumerate(names, start=1)]
    assert docids(read_run(path)["1"]) == names
    assert [row[2] for row in by_float32] == names
    assert by_trec_eval == names
    assert by_ranx == names


def test_lines_hold_a_literal_q0_ranks_from_1_and_the_shortest_scores(tmp_path):
    run = Run({"2": [Hit("b", 0.1), Hit("a", 0.1)], "1": [Hit("a", 1e30)]}, "my-tag")
    write_run(tmp_path / "out", run)
    assert (tmp_path / "out").read_text() == (
        "2 Q0 b 1 0.1 my-tag\n2 Q0 a 2 0.099999994 my-tag\n1 Q0 a 1 1e+30 my-tag\n"
    )


def test_queries_can_be_written_as_they_become_ready(tmp_path):
    write_run(tmp_path / "out", ((qid, [Hit("a", 1.0)]) for qid in "21"), tag="t")
    assert (tmp_path / "out").read_text() == "2 Q0 a 1 1.0 t\n1 Q0 a 1 1.0 t\n"


def test_a_given_tag_beats_the_runs_own(tmp_path):
    write_run(tmp_path / "out", Run({"1": [Hit("a", 1.0)]}, "old"), tag="new")
    assert read_run(tmp_path / "out").tag == "new"


@pytest.mark.parametrize("tag", ["a", "bm25_k1-0.9.b", "x" * 20])
def test_tags_by_trecs_rule(tag):
    assert check_tag(tag) == tag


@pytest.mark.parametrize("tag", ["", "two words", "x" * 21, "a/b", "é", "a\n"])
def test_other_tags_are_refused_and_nothing_is_written(tag, tmp_path):
    with pytest.raises(
        RrarankError, match=r"^tag \(--runtag\) .*: expected 1 to 20 of A-Z a-z 0-9 _ . - \(TREC's rule\)$"
    ):
        write_run(tmp_path / "out", Run({"1": [Hit("a", 1.0)]}, tag))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("qid", "docid"), [("1", "two words"), ("1", "a\n"), ("1", ""), ("q 1", "a"), ("", "a")])
def test_ids_that_would_break_the_columns_are_refused_and_nothing_is_written(qid, docid, tmp_path):
    (tmp_path / "out").write_text("old")
    with pytest.raises(RrarankError, match="ids in a TREC run cannot be empty or hold spaces"):
        write_run(tmp_path / "out", Run({"0": [Hit("a", 1.0)], qid: [Hit("b", 2.0), Hit(docid, 1.0)]}, "t"))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out", "old")]


# -- qrels -------------------------------------------------------------------------------------------------------------


def test_qrels_hold_grades_by_query_and_document(tmp_path):
    text = "1 0 a 3\r\n\n2\tQ0\ta -1\n1 0 b 0\n"
    (tmp_path / "qrels").write_text(text)
    assert parse_qrels(text) == read_qrels(tmp_path / "qrels") == {"1": {"a": 3, "b": 0}, "2": {"a": -1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", "qrels: no judgments; expected lines of 4 columns (qid 0 docid grade)"),
        ("1 0 a 1\n1 0 b", "qrels:2: 3 columns, expected 4 (qid 0 docid grade)"),
        (GOOD, "qrels:1: 6 columns, expected 4 (qid 0 docid grade); this looks like a run"),
        ("1 0 a 1.0", "qrels:1: grade '1.0', expected a whole number from -999,999 to 999,999"),
        ("1 0 a yes", "qrels:1: grade 'yes', expected a whole number from -999,999 to 999,999"),
        ("1 0 a 1\n1 0 a 1", "qrels:2: docid 'a' is judged twice for query '1'; keep one line"),
    ],
)
def test_malformed_qrels_are_refused_by_line(text, message):
    with pytest.raises(RrarankError) as error:
        parse_qrels(text)
    assert str(error.value) == message


def test_the_lowest_float32_twice_cannot_be_written():
    with pytest.raises(RrarankError, match="not a finite float32"):
        strictly_falling([-3.4028235e38, -3.4028235e38])


@pytest.mark.parametrize("line", ["1 Q0 a 1 1_000 t", "1 Q0 a 1 0x10 t"])
def test_numbers_that_c_would_read_otherwise_are_refused(line):
    with pytest.raises(RrarankError, match="is not a number"):
        parse_run(line)


def test_a_docid_twice_is_never_written(tmp_path):
    with pytest.raises(RrarankError, match="holds a docid twice"):
        write_run(tmp_path / "r", Run({"1": [Hit("a", 2.0), Hit("a", 1.0)]}, "t"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("score", ["1e39", "-3.5e38"])
def test_a_score_that_overflows_float32_is_refused_where_it_stands(score):
    with pytest.raises(RrarankError, match=r"run:1: score .* is not finite as float32"):
        parse_run(f"1 Q0 a 1 {score} t")


@pytest.mark.parametrize(
    ("parse", "line"),
    [(parse_qrels, "1 0 a 1" + "0" * 30), (parse_run, "1 a " + "1" * 5001)],
)
def test_numbers_beyond_reason_and_ids_with_spaces_are_refused(parse, line):
    with pytest.raises(RrarankError, match=":1: "):
        parse(line)
