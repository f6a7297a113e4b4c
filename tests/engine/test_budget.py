import math

import numpy as np
import pytest

from rrarank.data.trec import parse_run
from rrarank.data.types import Candidate, Query, Ranking, Run
from rrarank.engine import budget
from rrarank.engine.blocks import RerankConfig, pace_of, rerank_queries
from rrarank.engine.budget import HEADROOM, Pace, best_within, characters, measure_pace, within
from rrarank.engine.passages import Passages
from rrarank.engine.reranker import Cascaded, Pointwise, Reranker
from rrarank.engine.runs import rerank_run
from rrarank.errors import RrarankError
from rrarank.storage.journal import Journal


class Clocked(Pointwise):
    """A text of n characters is n tokens; each takes a millisecond, each query ten."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock
        self.encoded: list[str] = []
        self.scored: list[int] = []

    def encode(self, query, texts):
        self.encoded += texts
        return [{"input_ids": [0] * len(text.rstrip())} for text in texts]

    def score_all(self, pairs):
        self.clock.now += 0.010
        return super().score_all(pairs)

    def score(self, batch):
        lengths = [len(pair["input_ids"]) for pair in batch]
        self.scored += lengths
        self.clock.now += 0.001 * sum(lengths)
        return np.array(lengths, dtype=np.float32)


@pytest.fixture
def clocked(monkeypatch):
    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(budget, "time", clock)
    return Clocked(clock)


def ranking(*lengths, qid="1"):
    return Ranking(Query(qid, "q"), tuple(Candidate(f"d{i}", "x" * n, 0.0) for i, n in enumerate(lengths)))


def test_the_pace_is_what_a_query_and_what_a_token_takes(clocked):
    pace = measure_pace(clocked, [ranking(*[3] * 60), ranking(*[5, 2] * 30)])
    assert pace.start_s == pytest.approx(0.010 * HEADROOM)
    assert pace.token_s == pytest.approx(0.001 * HEADROOM)


class First(Reranker):
    """Five milliseconds a query that it has not seen, and a tenth of one for each character."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock
        self.known = set()

    def rerank_block(self, queries):
        for one in queries:
            self.clock.now += 0.0001 * sum(len(candidate.text) for candidate in one.candidates)
            self.clock.now += 0.0 if one.query.text in self.known else 0.005
            self.known.add(one.query.text)
        return list(queries)


class TwoSteps(Cascaded):
    def __init__(self, clocked):
        super().__init__()
        self.first, self.second = First(clocked.clock), clocked

    def rerank_block(self, queries):
        return list(queries)


def test_the_pace_of_a_cascade_is_that_of_both(clocked):
    pace = measure_pace(TwoSteps(clocked), [ranking(*[3] * 60), ranking(*[5, 2] * 30)])
    assert pace.start_s == pytest.approx((0.005 + 0.010) * HEADROOM)
    assert pace.token_s == pytest.approx(0.001 * HEADROOM)
    assert pace.character_s == pytest.approx(0.0001 * HEADROOM)


def test_empty_texts_are_no_reason_to_stop(clocked):
    assert measure_pace(TwoSteps(clocked), [ranking(*[0] * 60)]).character_s < 1e-8


def test_the_second_has_the_time_that_the_first_leaves(clocked):
    asked, pace = ranking(3, 4, 5, 1), Pace(start_s=0.010, token_s=0.001, character_s=0.0001)
    assert len(best_within(asked, TwoSteps(clocked), pace, 0.0234).candidates) == 3  # 10 + 1.3 + 3 + 4 + 5 ms
    assert len(best_within(asked, TwoSteps(clocked), pace, 0.0232).candidates) == 2
    assert len(best_within(asked, TwoSteps(clocked), pace, 0.001).candidates) == 1


def test_what_no_model_reads_of_a_long_text_takes_no_time():
    assert characters(ranking(10, 10**6)) == characters(ranking(10, 10**5)) < 10**4


def test_a_cascade_says_how_much_its_second_reads(clocked, caplog):
    caplog.set_level("INFO", "rrarank")
    rerank_run(RUN, TwoSteps(clocked), topics=TOPICS, texts=TEXTS, budget_ms=100)
    [line] = [record.message for record in caplog.records]
    tokens = round(100 / HEADROOM - 5 - 10 - 3.6)
    assert line.startswith("within 100 ms a query: the first reranker on all candidates, the second on the best, ")
    assert line.endswith(f"about {tokens} tokens, at the pace measured")


def test_no_text_is_timed_twice_for_it_would_be_remembered(clocked):
    measure_pace(clocked, [ranking(*range(1, 60))])
    long = [text for text in clocked.encoded if len(text.rstrip()) == 1]
    assert len(set(long)) >= budget._ROUNDS


def test_candidates_are_kept_in_their_order_until_one_does_not_fit(clocked):
    pace = Pace(start_s=0.010, token_s=0.001)
    assert len(within(ranking(3, 4, 5, 1), clocked, pace, 0.0221).candidates) == 3
    assert len(within(ranking(3, 4, 5, 1), clocked, pace, 0.0219).candidates) == 2
    assert len(within(ranking(3, 4), clocked, pace, 0.005).candidates) == 0
    assert within(ranking(3, 4), clocked, pace, 1) == ranking(3, 4)


def test_what_is_far_beyond_the_budget_is_not_even_tokenised(clocked):
    within(ranking(*[10] * 100), clocked, Pace(0.0, 0.001), 0.025)
    assert len(clocked.encoded) == 16


RUN = parse_run("\n".join(f"{qid} Q0 d{i} {i} {-i} bm25" for qid in "12" for i in range(1, 9)))
TEXTS = {f"d{i}": "x" * i for i in range(1, 9)}
TOPICS = {"1": "q", "2": "r"}


def test_a_query_is_re_ranked_as_far_as_its_budget_goes_and_the_rest_follows(clocked):
    config = RerankConfig(budget_ms=17)
    ranked = dict(rerank_queries(RUN, clocked, topics=TOPICS, texts=TEXTS, config=config, pace=Pace(0.010, 0.001)))
    assert [hit.docid for hit in ranked["1"]] == ["d3", "d2", "d1", "d4", "d5", "d6", "d7", "d8"]  # 10 + 1 + 2 + 3 ms
    assert clocked.scored == [3, 2, 1, 3, 2, 1]  # each query by itself


def test_without_a_pace_it_is_measured_on_the_run(clocked):
    ranked = rerank_run(RUN, clocked, topics=TOPICS, texts=TEXTS, budget_ms=17 * HEADROOM)
    assert [hit.docid for hit in ranked["2"]][:4] == ["d3", "d2", "d1", "d4"]


def test_the_pace_is_measured_on_queries_with_candidates_enough_wherever_they_are(clocked):
    short = parse_run("\n".join(f"s{n} Q0 d1 1 1 bm25" for n in range(20)))
    run = Run({**short.hits, **RUN.hits})
    topics = {**TOPICS, **dict.fromkeys(short, "q")}
    assert pace_of(run, clocked, topics=topics, texts=TEXTS, config=RerankConfig()).token_s > 0


def test_what_one_budget_left_in_the_journal_is_not_taken_for_another(clocked, tmp_path):
    journal, pace = Journal(tmp_path / "journal"), Pace(0.010, 0.001)

    def on_top(budget_ms):
        config = RerankConfig(budget_ms=budget_ms)
        ranked = rerank_queries(RUN, clocked, topics=TOPICS, texts=TEXTS, config=config, journal=journal, pace=pace)
        return dict(ranked)["1"][0].docid

    assert [on_top(17), on_top(21), on_top(17)] == ["d3", "d4", "d3"]
    assert len(journal) == 2


class Longest(Reranker):
    def rerank_block(self, queries):
        return list(queries)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (RerankConfig(budget_ms=5), "Longest does not score each pair on its own"),
        (RerankConfig(budget_ms=5, passages=Passages(words=3)), "give one of the two"),
    ],
)
def test_where_a_budget_means_nothing_it_is_refused(config, message):
    with pytest.raises(RrarankError, match=message):
        pace_of(RUN, Longest(), topics=TOPICS, texts=TEXTS, config=config)


def test_lists_too_short_to_measure_on_are_refused(clocked):
    with pytest.raises(RrarankError, match="no query has more than 4 candidates"):
        rerank_run(RUN, clocked, topics=TOPICS, texts=TEXTS, depth=4, budget_ms=9)


@pytest.mark.parametrize("time", [-1, math.nan, math.inf, "9", True])
def test_a_time_that_is_none_is_refused(time):
    with pytest.raises(RrarankError, match="budget_ms .*: expected milliseconds"):
        rerank_run(RUN, Longest(), topics=TOPICS, texts=TEXTS, budget_ms=time)
