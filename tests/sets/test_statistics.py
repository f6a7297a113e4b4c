"""A set in numbers, counted by hand."""

from rrarank.data.distillation_set import pairs
from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.sets.statistics import Spread, statistics

TEXTS = {"a": "one", "b": "one two", "c": "one  two\n", "d": "one two three"}


def label(qid, listed="", missing="", unknown="", faults=()):
    shown = tuple(Candidate(docid, TEXTS[docid], 0.0) for docid in sorted(listed + missing + unknown))
    return LabelledRanking(Query(qid, "q"), shown, tuple(listed), tuple(missing), tuple(unknown), faults=faults)


LABELS = [
    label("1", "dab", "c", faults=("missing", "extra text")),
    label("2", "ab"),
    label("3", "", "", "abcd", faults=("refused",)),
    label("4", "a", "", "b", faults=("truncated",)),
    label("5", "", "ab"),
]


def test_a_set_in_numbers():
    found = statistics(LABELS)
    assert (found.queries, found.labelled) == (5, 2)  # a single listed document has no pair, nor have missing ones
    assert found.verdicts == {"ok": 2, "missing": 1, "refused": 1, "truncated": 1}
    assert found.listed == Spread(6 / 5, 0, 3)
    assert found.missing == Spread(3 / 5, 0, 2)
    assert found.unknown == Spread(1.0, 0, 4)
    assert (found.documents, found.texts) == (14, 3)
    assert found.words == Spread((5 * 1 + 5 * 2 + 2 * 2 + 2 * 3) / 14, 1, 3)


def test_pairs_are_those_that_training_sees():
    found = statistics(LABELS)
    assert found.listed_pairs == 3 + 1
    assert found.missing_pairs == 3
    assert found.listed_pairs + found.missing_pairs == sum(len(list(pairs(given))) for given in LABELS)
    assert found.labelled == sum(any(pairs(given)) for given in LABELS)


def test_an_empty_set():
    assert statistics([]).queries == 0
