"""Which documents are graded: the pool's unjudged ones, and samples of the judged ones."""

import random

import pytest

from rrarank.data.trec import parse_run
from rrarank.judge.pool import Pair, judged, pool, sample, shares, unjudged

ONE = parse_run("1 Q0 a 1 9 x\n1 Q0 b 2 8 x\n1 Q0 c 3 7 x\n2 Q0 a 1 9 x")
TWO = parse_run("1 Q0 d 1 9 y\n1 Q0 a 2 8 y\n3 Q0 e 1 9 y")
QRELS = {"1": {"a": 1, "x": 2}, "2": {"b": 0}}


def test_the_pool_is_the_union_of_the_tops():
    assert [*pool([ONE, TWO], 2)] == [Pair(*pair) for pair in ("1a", "1b", "1d", "2a", "3e")]


def test_only_queries_with_judgments_have_unjudged_documents():
    pooled = pool([ONE, TWO], 2)
    assert unjudged(pooled, QRELS) == [Pair("1", "b"), Pair("1", "d"), Pair("2", "a")]
    assert unjudged(pooled, {}) == [*pooled]
    assert judged(pooled, QRELS) == [Pair("1", "a")]


def many(documents=400, seed=0):
    rng = random.Random(seed)
    qrels = {str(q): {f"d{d}": rng.choice([0] * 6 + [1, 1, 2, 3]) for d in range(documents // 20)} for q in range(20)}
    return qrels, [Pair(qid, docid) for qid, grades in qrels.items() for docid in grades]


def test_a_sample_has_the_shares_of_the_grades():
    qrels, pairs = many()
    drawn = sample(pairs, qrels, 100, seed=1)
    assert len(drawn) == len(set(drawn)) == 100
    for grade in range(4):
        of_all, of_drawn = (sum(qrels[p.qid][p.docid] == grade for p in some) for some in (pairs, drawn))
        assert abs(of_drawn - of_all / 4) < 2
    assert [pair for pair in pairs if pair in drawn] == drawn


def test_a_sample_depends_on_the_seed_and_not_on_the_order_of_the_file():
    qrels, pairs = many()
    drawn = sample(pairs, qrels, 50, seed=1)
    assert set(sample(pairs[::-1], qrels, 50, seed=1)) == set(drawn)
    assert set(sample(pairs, qrels, 50, seed=2)) != set(drawn)
    assert len(set(drawn) & set(sample(pairs, qrels, 60, seed=1))) >= 48  # so that their answers are asked once
    assert sample(pairs, qrels, 1000, seed=1) == pairs


@pytest.mark.parametrize("seed", range(200))
def test_shares_add_up_and_leave_no_group_out(seed):
    rng = random.Random(seed)
    sizes = {group: rng.randint(1, 50) for group in range(rng.randint(1, 5))}
    number = rng.randint(1, 150)
    counts = shares(sizes, number)
    assert sum(counts.values()) == min(number, sum(sizes.values()))
    assert all(counts[group] <= size for group, size in sizes.items())
    assert number < len(sizes) or min(counts.values()) >= 1
