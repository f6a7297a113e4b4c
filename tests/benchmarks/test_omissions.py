"""Lists of a teacher that leaves out what it should not, at a known precision."""

from dataclasses import replace
from itertools import pairwise

import pytest

from benchmarks.ablation.arms import with_omissions
from benchmarks.ablation.tables import PRECISIONS
from rrarank.data.types import Candidate, LabelledRanking, Query

LISTED, MISSING, UNKNOWN = tuple("abcdefgh"), tuple("mnopqrst"), ("u",)
LABEL = LabelledRanking(
    query=Query("1", "query"),
    shown=tuple(Candidate(docid, f"text {docid}", 0.0) for docid in (*MISSING, *LISTED, *UNKNOWN)),
    listed=LISTED,
    missing=MISSING,
    unknown=UNKNOWN,
)


@pytest.mark.parametrize("share", PRECISIONS)
def test_as_many_documents_are_left_out_and_the_precision_is_what_was_asked(share):
    found = with_omissions(LABEL, share / 100)
    assert len(found.missing) == len(MISSING)  # fewer than the 10 that leave two listed ones at the lowest precision
    wrong = set(found.missing) & set(LISTED)
    assert len(wrong) == pytest.approx((100 - share) / 100 * len(found.missing), abs=0.5)
    assert sorted([*found.listed, *found.missing, *found.unknown]) == sorted([*LISTED, *MISSING, *UNKNOWN])


def test_the_listed_keep_their_order_and_a_lower_precision_leaves_out_more_of_them():
    slips = [set(LISTED) - set(with_omissions(LABEL, share / 100).listed) for share in PRECISIONS]
    assert all(some <= more for some, more in pairwise(slips))
    left = with_omissions(LABEL, 0.6).listed
    assert list(left) == sorted(left)


def test_a_list_too_short_to_lose_anything_has_no_missing_documents():
    short = replace(LABEL, listed=("a", "b"), unknown=(*LISTED[2:], *UNKNOWN))
    found = with_omissions(short, 0.4)
    assert found.missing == ()
    assert set(MISSING) <= set(found.unknown)
