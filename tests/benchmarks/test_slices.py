import math
import random

import pytest

from benchmarks.quality.slices import (
    Case,
    SliceGain,
    by_words,
    difference,
    quartiles,
    rarest_idf,
    slice_gains,
    without_set_means,
)


@pytest.mark.parametrize(
    ("words", "slice_name"),
    [(0, "<= 5 words"), (5, "<= 5 words"), (6, "6-9 words"), (9, "6-9 words"), (10, ">= 10 words")],
)
def test_the_length_of_a_query_names_its_slice(words, slice_name):
    assert by_words("  word\t" * words) == slice_name


def test_the_rarest_term_gives_a_query_its_idf():
    assert rarest_idf({"the": 90, "cat": 3}, 100) == pytest.approx(math.log(1 + 97.5 / 3.5))
    assert rarest_idf({"the": 90, "zebra": 0}, 100) == pytest.approx(math.log(1 + 100.5 / 0.5))
    assert rarest_idf({}, 100) == 0


def test_quarters_are_named_with_their_bounds():
    found = quartiles({str(value): float(value) for value in range(1, 10)})
    assert found["1"] == found["3"] == "Q1: 1.00 to 3.00"
    assert found["4"] == "Q2: 3.00 to 5.00"
    assert found["9"] == "Q4: 7.00 to 9.00"


def test_equal_values_share_a_quarter():
    found = quartiles({"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0, "e": 9.0})
    assert {found[key] for key in "abcd"} == {"Q1: 1.00 to 1.00"}
    assert found["e"] == "Q4: 1.00 to 9.00"


def test_a_set_that_gains_much_is_no_effect_of_length():
    rich = [Case("rich", "short", 0.5 + noise) for noise in (-0.1, 0.1)] * 40
    poor = [Case("poor", "long", 0.0 + noise) for noise in (-0.1, 0.1)] * 40
    assert sum(without_set_means([*rich, *poor])) == pytest.approx(0)
    short, long = slice_gains([*rich, *poor], ["short", "long"])
    assert short.n == 80
    assert [short.gain, long.gain] == pytest.approx([0.5, 0.0])
    assert short.difference == pytest.approx(0)
    assert short.reading == long.reading == "not resolved"


def test_a_slice_is_set_against_all_queries_outside_it():
    cases = [Case("one", name, gain) for name, gain in [("a", 0.4), ("b", 0.1), ("c", 0.0)] for _ in range(50)]
    [found] = slice_gains(cases, ["a"])
    assert found.difference == pytest.approx(0.4 - 0.05)
    assert 0 < found.low < found.difference < found.high
    assert found.reading == "gains more"


@pytest.mark.parametrize(
    ("inside", "outside", "reading"),
    [
        (49, 90, "n < 50: not tested"),
        (90, 49, "the others are < 50: not tested"),
        (0, 90, "n < 50: not tested"),
        (50, 50, "gains less"),
    ],
)
def test_few_queries_are_not_tested(inside, outside, reading):
    draw = random.Random(7)
    cases = [Case("one", "in", draw.gauss(-1, 0.1)) for _ in range(inside)]
    cases += [Case("one", "out", draw.gauss(0, 0.1)) for _ in range(outside)]
    [found] = slice_gains(cases, ["in"])
    assert found.reading == reading
    assert math.isnan(found.low) == ("not tested" in reading)
    assert math.isnan(found.gain) == (inside == 0)


def test_the_interval_is_that_of_a_bootstrap_of_either_side():
    import numpy as np
    from scipy.stats import bootstrap

    draw = np.random.default_rng(3)
    ours, theirs = draw.normal(0.1, 0.2, 60), draw.normal(0.0, 0.3, 200)
    apart, *bounds = difference(ours.tolist(), theirs.tolist())
    assert apart == pytest.approx(ours.mean() - theirs.mean())

    def of_means(one, other, axis):
        return one.mean(axis=axis) - other.mean(axis=axis)

    settings = {"n_resamples": 4000, "method": "percentile", "vectorized": True}
    oracle = bootstrap((ours, theirs), of_means, rng=np.random.default_rng(1), **settings).confidence_interval
    assert bounds == pytest.approx([oracle.low, oracle.high], abs=0.006)


def test_an_index_counts_documents_by_the_terms_of_its_analyser(tmp_path):
    from rrarank.errors import MissingPrerequisite
    from rrarank.sources.lucene import LuceneIndex, build_index, find_java

    try:
        find_java()
    except MissingPrerequisite as error:
        pytest.skip(str(error))
    build_index([("1", "The cats sat on the mat"), ("2", "a cat's bread, baked")], tmp_path / "index")
    with LuceneIndex(tmp_path / "index") as index:
        assert index.document_frequencies("Baking the cats' bread, zebra") == {
            "bake": 1,
            "cat": 2,
            "bread": 1,
            "zebra": 0,
        }
        assert index.document_frequencies("the") == {}


@pytest.fixture
def long_tail():
    from benchmarks.quality import long_tail

    return long_tail


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {
        "topics.tsv": "1\tcat\n2\twhat is a cat that sat on the mat again\n",
        "qrels.txt": "1 0 a 1\n2 0 b 1\n",
        "first.trec": "1 Q0 z 1 2 x\n1 Q0 a 2 1 x\n2 Q0 b 1 1 x\n",
        "reranked.trec": "1 Q0 a 1 2 x\n1 Q0 z 2 1 x\n2 Q0 b 1 1 x\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return ["topics.tsv", "qrels.txt", "first.trec", "reranked.trec", "mrr"]


def test_sets_are_cut_and_listed_without_their_text(job, long_tail, capsys):
    assert long_tail.main(["--set", "one", *job, "--list", "two", *job]) == 0
    lines = [" ".join(line.replace("|", " ").split()) for line in capsys.readouterr().out.splitlines()]
    assert "<= 5 words 1 +0.5000 n < 50: not tested" in lines
    assert ">= 10 words 1 +0.0000 n < 50: not tested" in lines
    assert "1 1 0.5000 +0.5000" in lines
    assert "2 10 1.0000 +0.0000" in lines
    assert not any("cat" in line for line in lines)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing to look at; give --set or --list"),
        (["--rarest", "nq", "index"], "--rarest nq: no --set of that name (known: one)"),
        (["--list", "one"], "two sets are named 'one'"),
        (["--output", "first.trec"], "first.trec: exists already"),
    ],
)
def test_what_a_user_can_cause_is_one_line(job, long_tail, flags, message, capsys):
    more = [*flags, *job] if flags[:1] == ["--list"] else flags
    assert long_tail.main(["--set", "one", *job, *more] if flags else []) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)


def test_a_slice_without_others_is_not_read():
    assert SliceGain("all", 90, 0.1).reading == "the others are < 50: not tested"
