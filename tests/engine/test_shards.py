"""Parts of a run: whole blocks, none lost, none twice."""

import pytest

from rrarank.data.types import Hit, Run
from rrarank.engine.shards import Shard
from rrarank.errors import RrarankError


def run_of(queries):
    return Run({str(qid): [Hit("d", 1.0)] for qid in range(queries)}, "bm25")


@pytest.mark.parametrize("queries", [0, 1, 8, 9, 16, 41, 80])
@pytest.mark.parametrize("of", [1, 2, 3, 7, 20])
def test_joined_in_order_the_parts_are_the_run_and_hold_whole_blocks(queries, of):
    run = run_of(queries)
    parts = [Shard(number, of).part(run, 8) for number in range(1, of + 1)]
    assert [qid for part in parts for qid in part] == list(run)
    ends = [sum(map(len, parts[: number + 1])) for number in range(of)]
    assert all(end % 8 == 0 or end == queries for end in ends)
    blocks = [-(-len(part) // 8) for part in parts]
    assert max(blocks) - min(blocks) <= 1
    assert {part.tag for part in parts} == {"bm25"}


def test_it_is_written_as_it_is_read():
    assert (str(Shard.parse("2/4")), Shard.parse("2/4").suffix) == ("2/4", ".2-of-4")


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "a/b", "1 / 4", "٢/4"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(RrarankError, match="expected NUMBER/OF, from 1/OF to OF/OF, such as 2/4"):
        Shard.parse(text)
