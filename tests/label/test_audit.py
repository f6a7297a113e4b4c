"""Is missing a judgment or a slip: made-up teachers of either kind, then the recorded answers of a real one."""

import gzip
import json
import random

import pytest
from scipy.stats import binomtest, kendalltau

from rrarank.data.trec import read_qrels
from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.label.audit import FEWEST, audit, table, wilson
from rrarank.llm.listwise import parse_answer


def label(shown, listed, missing="", unknown="", qid="1"):
    candidates = tuple(Candidate(docid, "", 0.0) for docid in shown)
    return LabelledRanking(Query(qid, "q"), candidates, tuple(listed), tuple(missing), tuple(unknown))


# -- shares ------------------------------------------------------------------------------------------------------------


def test_only_judged_documents_count_and_only_from_the_level_on():
    qrels = {"1": {"a": 3, "c": 2, "d": 1, "e": 0, "f": 2}}
    given = [label("abcdefg", "abc", "de", "fg"), label("ab", "ab", qid="2")]
    found = audit(given, qrels)
    assert (found.missing.relevant, found.missing.judged) == (0.0, 2)
    assert (found.last_listed.relevant, found.last_listed.judged) == (1.0, 2)
    assert (found.unknown.relevant, found.unknown.judged) == (1.0, 1)
    assert audit(given, qrels, level=1).missing.relevant == 0.5


@pytest.mark.parametrize(("k", "n"), [(0, 5), (5, 5), (3, 40), (20, 41), (400, 1000)])
def test_intervals_are_wilsons(k, n):
    theirs = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k / n, n) == pytest.approx((theirs.low, theirs.high))


def test_listed_documents_are_weighted_to_the_places_of_the_missing():
    """Relevant documents stand first in the prompt; what is missing stood last, as a slip of the eye would have it."""
    qrels = {str(q): {"a": 3, "b": 3, "c": 0} for q in range(8)}
    given = [label("abc", "ab", "c", qid=str(q)) for q in range(6)]
    given += [label("abc", "ac", "b", qid="6"), label("abc", "abc", qid="7")]
    found = audit(given, qrels)
    assert found.missing.relevant == 1 / 7
    # six missing at c, where the one listed is not relevant; one at b, where all six listed are
    assert found.listed_there.relevant == pytest.approx((6 * 0 + 1 * 1) / 7)
    assert found.listed_there.judged == 7
    effective = 7**2 / (6**2 + 6 * (1 / 6) ** 2)
    assert (found.listed_there.low, found.listed_there.high) == wilson(1 / 7, effective)


def test_where_missing_and_listed_stand_alike_the_weighted_share_is_the_plain_one():
    given = [label("ab", "b", "a", qid="1"), label("ab", "a", "b", qid="2")]
    found = audit(given, {"1": {"a": 0, "b": 2}, "2": {"a": 0, "b": 0}}).listed_there
    theirs = binomtest(1, 2).proportion_ci(method="wilson")
    assert (found.relevant, found.judged) == (0.5, 2)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_the_last_five_listed():
    given = [label("abcdefgh", "abcdefg", "h")]
    found = audit(given, {"1": dict.fromkeys("ab", 2) | dict.fromkeys("cdefgh", 0)})
    assert (found.last_listed.relevant, found.last_listed.judged) == (0.0, 5)


# -- verdicts ----------------------------------------------------------------------------------------------------------


def teacher(leaves_out, seed=0, queries=60):
    """Labels of 10 documents, and their grades; a relevant one is left out with the first probability, another with
    the second."""
    rng = random.Random(seed)
    given, qrels = [], {}
    for number in range(queries):
        qrels[str(number)] = {f"d{place}": rng.choice([0, 2]) for place in range(10)}
        grades = qrels[str(number)]
        missing = [docid for docid, found in grades.items() if rng.random() < leaves_out[found == 0]]
        listed = sorted(grades.keys() - set(missing), key=lambda docid: rng.random())
        given.append(label(list(grades), listed, missing, qid=str(number)))
    return given, qrels


def test_a_teacher_that_leaves_out_what_is_not_relevant_judges():
    found = audit(*teacher((0.1, 0.7)))
    assert found.missing.high < found.listed_there.low
    assert found.verdict.startswith("missing is a judgment: ")


def test_a_teacher_that_leaves_out_whatever_it_is_slips():
    assert audit(*teacher((0.3, 0.3))).verdict.startswith("missing is a slip: ")


def test_a_difference_within_the_intervals_is_not_yet_a_judgment():
    found = audit(*teacher((0.3, 0.4), queries=20))
    assert found.missing.relevant < found.listed_there.relevant
    assert found.missing.high > found.listed_there.low
    assert found.verdict.startswith("missing is a slip: ")


def test_a_teacher_that_never_reads_the_end_slips_though_little_is_relevant_there():
    """By the places alone, missing documents are worse than listed ones."""
    given, qrels = [], {}
    for number in range(200):
        rng = random.Random(number)
        docids = [f"d{place}" for place in range(10)]
        qrels[str(number)] = {docid: 2 * (rng.random() < 1 - place / 10) for place, docid in enumerate(docids)}
        read = [docid for place, docid in enumerate(docids) if place < 5 or rng.random() < 0.3]
        given.append(label(docids, rng.sample(read, len(read)), [d for d in docids if d not in read], qid=str(number)))
    found = audit(given, qrels)
    everywhere = [qrels[one.query.qid][docid] for one in given for docid in one.listed]
    assert found.missing.high < wilson(sum(grade > 1 for grade in everywhere) / len(everywhere), len(everywhere))[0]
    assert found.verdict.startswith("missing is a slip: ")


def test_too_few_judged_documents_give_no_verdict():
    given, qrels = teacher((0.1, 0.7), queries=5)
    assert audit(given, qrels).missing.judged < FEWEST
    assert audit(given, qrels).verdict.startswith("not enough to say what missing means: ")
    assert audit([label("ab", "ba")], {"1": {"a": 2}}).verdict.startswith("not enough to say what missing means: 0 ")


# -- echoes ------------------------------------------------------------------------------------------------------------


def test_a_teacher_that_answers_in_the_order_shown_echoes():
    found = audit([label("abcd", "abcd"), label("abcd", "abc", "d"), label("abcd", "bacd"), label("ab", "a", "b")], {})
    assert (found.orders, found.echoed) == (3, 2)
    assert found.echo_tau == pytest.approx((1 + 1 + 2 / 3) / 3)
    picked = [label("abcd", "ab", "cd"), label("abcd", "abd", "c")]  # as a judge who leaves out would, too
    assert audit(picked, {}).echoed == 0
    assert found.echoes
    assert not audit([label("abcd", "abcd"), label("abcd", "bacd")], {}).echoes  # a half is not most
    assert not audit([], {}).echoes


@pytest.mark.parametrize("seed", range(5))
def test_echo_tau_is_kendalls(seed):
    order = random.Random(seed).sample("abcdefghij", 10)
    shown = sorted(order)
    assert audit([label(shown, order)], {}).echo_tau == pytest.approx(
        kendalltau(range(10), [order.index(docid) for docid in shown]).statistic
    )


# -- a real teacher ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(shared_data):
    """The recorded list-wise answers of RankVicuna on TREC DL 2019, as labels."""
    given = []
    with gzip.open(shared_data / "dl19" / "llm-listwise-responses.jsonl.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            parsed = parse_answer(row["response"], len(row["docids"]))
            listed, missing = ([row["docids"][place] for place in places] for places in (parsed.order, parsed.missing))
            given.append(label(row["docids"], listed, missing, qid=row["qid"]))
    return given, read_qrels(shared_data / "dl19" / "qrels.txt")


def test_what_rankvicuna_leaves_out_is_no_judgment(recorded):
    given, qrels = recorded
    assert 0.02 < sum(bool(one.missing) for one in given) / len(given) < 0.05
    found = audit(given, qrels)
    assert found.missing.relevant > 0.25
    assert found.missing.relevant > found.listed_there.relevant
    assert found.missing.relevant > found.last_listed.relevant
    assert "a judgment" not in found.verdict
    assert not found.echoes


def test_the_table_has_a_row_for_each_kind_and_none_for_a_share_of_nothing(recorded):
    rows = table(audit(*recorded))
    assert [row[0] for row in rows] == ["missing", "listed, at the same places", "last 5 listed", "unknown"]
    assert rows[3] == ["unknown", "", "", "0"]
    assert {len(row) for row in rows} == {4}
