import random
import threading
import time
from collections import Counter

import numpy as np
import pytest

from rrarank.data.trec import parse_run
from rrarank.data.types import Candidate, Hit, Query, Ranking, Run
from rrarank.engine.batches import score_in_batches
from rrarank.engine.blocks import RerankConfig, ahead, rerank_queries
from rrarank.engine.passages import Passages
from rrarank.engine.reranker import Pointwise, Reranker, RerankerConfig, reorder
from rrarank.engine.runs import rerank_run
from rrarank.errors import RrarankError
from rrarank.storage.journal import Journal

RUN = parse_run("1 Q0 a 1 9 bm25\n1 Q0 b 2 8 bm25\n1 Q0 c 3 7 bm25\n2 Q0 a 1 5 bm25")
TOPICS = {"1": "q", "2": "r"}
TEXTS = {"a": "x", "b": "yy", "c": "zzz"}


class Longest(Reranker):
    """Long texts first."""

    calls = 0

    def rerank_block(self, queries):
        self.calls += 1
        return [reorder(ranking, [len(c.text) for c in ranking.candidates]) for ranking in queries]


def docids(run, qid="1"):
    return [hit.docid for hit in run[qid]]


def test_tail_keeps_first_stage_order_below_depth():
    out = rerank_run(RUN, Longest(), topics=TOPICS, texts=TEXTS, depth=2)
    assert docids(out) == ["b", "a", "c"]
    assert [hit.score for hit in out["1"]] == [2, 1, 0]


def test_input_run_is_left_alone():
    rerank_run(RUN, Longest(), topics=TOPICS, texts=TEXTS)
    assert docids(RUN) == ["a", "b", "c"]


def test_hits_cut_after_the_tail():
    out = rerank_run(RUN, Longest(), topics=TOPICS, texts=TEXTS, depth=2, top_k=2)
    assert docids(out) == ["b", "a"]


def test_candidates_without_text_follow_in_first_stage_order():
    out = rerank_run(RUN, Longest(), topics=TOPICS, texts={"b": "yy", "c": "zzz"})
    assert docids(out) == ["c", "b", "a"]


def test_a_query_without_topic_keeps_its_first_stage():
    out = rerank_run(RUN, Longest(), topics={"2": "r"}, texts=TEXTS)
    assert out["1"] == RUN["1"]


def test_equal_scores_are_ordered_by_the_one_tie_rule():
    out = rerank_run(RUN, Longest(), topics=TOPICS, texts=dict.fromkeys("abc", "same"))
    assert docids(out) == ["c", "b", "a"]


@pytest.mark.parametrize("block_size", [1, 2, 8])
def test_queries_come_in_run_order_for_any_block_size(block_size):
    run = Run({str(qid): [Hit("a", 1.0)] for qid in (5, 3, 9, 1)})
    config = RerankConfig(block_size=block_size)
    found = rerank_queries(run, Longest(), topics=dict.fromkeys(run, "q"), texts=TEXTS, config=config)
    assert [qid for qid, _ in found] == list(run)


class Loses(Reranker):
    def rerank_block(self, queries):
        return [Ranking(ranking.query, ranking.candidates[1:]) for ranking in queries]


class Breaks(Reranker):
    def rerank_block(self, queries):
        return [reorder(ranking, [float("nan")] * len(ranking.candidates)) for ranking in queries]


@pytest.mark.parametrize(
    ("reranker", "message"),
    [(Loses(), r"Loses, query '1': returned 2 documents, was given 3 \('a' differ\)"), (Breaks(), "not finite")],
)
def test_a_faulty_reranker_never_reaches_a_run(reranker, message):
    with pytest.raises(RrarankError, match=message):
        rerank_run(RUN, reranker, topics=TOPICS, texts=TEXTS)


# -- journal ----------------------------------------------------------------------------------------------------------


def resumed(journal, reranker, texts=TEXTS):
    config = RerankConfig(block_size=1)
    return dict(rerank_queries(RUN, reranker, topics=TOPICS, texts=texts, config=config, journal=journal))


def test_finished_blocks_are_not_done_again(tmp_path):
    first, second = Longest(), Longest()
    expected = resumed(Journal(tmp_path / "j"), first)
    assert resumed(Journal(tmp_path / "j"), second) == expected
    assert (first.calls, second.calls) == (2, 0)


class Cuts(Pointwise):
    """Texts of more than a letter are too long."""

    seen = 0

    def encode(self, query, texts):
        self.seen += sum(len(text) > 1 for text in texts)
        return [{"input_ids": [len(text)]} for text in texts]

    def score(self, batch):
        return np.array([pair["input_ids"][0] for pair in batch], dtype=np.float32)

    @property
    def cut(self):
        return self.seen


def test_texts_that_were_cut_are_counted_once_also_where_blocks_are_finished(tmp_path):
    def counted(journal):
        counts: Counter[str] = Counter()
        config = RerankConfig(block_size=1)
        asked = rerank_queries(RUN, Cuts(), topics=TOPICS, texts=TEXTS, config=config, journal=journal, counts=counts)
        return dict(asked), counts["cut"]

    alone, cut = counted(None)
    assert cut == sum(len(TEXTS[hit.docid]) > 1 for qid in TOPICS for hit in RUN[qid]) > 0
    assert counted(Journal(tmp_path / "j")) == (alone, cut)
    assert counted(Journal(tmp_path / "j")) == (alone, cut)


def test_a_block_whose_texts_changed_is_done_again(tmp_path):
    resumed(Journal(tmp_path / "j"), Longest())
    second = Longest()
    changed = resumed(Journal(tmp_path / "j"), second, TEXTS | {"b": "longest of all"})
    assert second.calls == 1  # query 2 has no b
    assert changed["1"][0].docid == "b"


def test_a_remote_scorer_without_a_journal_is_refused():
    class Remote:
        threads = 1

        def __call__(self, blocks):
            return iter(())

    with pytest.raises(RrarankError, match="a remote scorer needs a journal that keeps finished blocks"):
        list(rerank_queries(RUN, Longest(), topics=TOPICS, texts=TEXTS, remote=Remote()))


@pytest.mark.parametrize(
    "wrong",
    [
        [[["z", 9.0], ["b", 2.0], ["c", 3.0]]],  # an invented docid
        [[["a", 1.0], ["b", 2.0]]],
        [[["a", 1.0], ["b", float("nan")], ["c", 3.0]]],
        [[["a", 1.0], ["b", "two"], ["c", 3.0]]],
        [],
        None,
    ],
)
def test_a_recorded_block_passes_the_check_of_a_fresh_one_or_is_scored_again(tmp_path, wrong, caplog):
    expected = resumed(Journal(tmp_path / "j"), Longest())
    with Journal(tmp_path / "j") as journal:
        key = next(key for key in journal._places if len(journal[key][0]) == 3)
        journal.add(key, wrong)
        again = Longest()
        assert resumed(journal, again) == expected
    assert again.calls == 1
    assert "a finished block is scored again, as its record is wrong" in caplog.text


# -- batches ----------------------------------------------------------------------------------------------------------


def pairs_of(*lengths):
    return [{"input_ids": [n] * n} for n in lengths]


def test_batches_hold_pairs_of_like_length_longest_first():
    seen = []

    def score(batch):
        seen.append([len(pair["input_ids"]) for pair in batch])
        return np.array([len(pair["input_ids"]) for pair in batch], dtype=np.float32)

    assert score_in_batches(pairs_of(3, 9, 1, 7, 5), score, 18, batch_size=2) == [3, 9, 1, 7, 5]
    assert seen == [[9, 7], [5, 3], [1]]


def test_a_batch_holds_as_many_pairs_as_fit_its_tokens_at_the_longest_ones_length():
    seen = []

    def score(batch):
        seen.append([len(pair["input_ids"]) for pair in batch])
        return np.zeros(len(batch), dtype=np.float32)

    score_in_batches(pairs_of(2, 40, 6, 5, 2, 2), score, batch_tokens=12)
    assert seen == [[40], [6, 5], [2, 2, 2]]  # one pair may have more


def test_no_pair_is_no_batch():
    assert score_in_batches([], lambda batch: pytest.fail("called"), 12) == []


@pytest.mark.parametrize("fits", [1, 2, 5])
def test_a_batch_too_large_for_memory_is_halved(fits):
    def score(batch):
        if len(batch) > fits:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return np.array([pair["input_ids"][0] for pair in batch], dtype=np.float32)

    lengths = random.Random(0).choices(range(1, 50), k=40)
    assert score_in_batches(pairs_of(*lengths), score, 1000) == lengths


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), RuntimeError("CUDA out of memory")])
def test_other_faults_and_a_single_pair_too_large_are_raised(error):
    def score(batch):
        raise error

    with pytest.raises(RuntimeError, match=str(error)):
        score_in_batches(pairs_of(3), score, 8)


class ByLength(Pointwise):
    def encode(self, query, texts):
        return [{"input_ids": list(range(len(text)))} for text in texts]

    def score(self, batch):
        return np.array([len(pair["input_ids"]) for pair in batch], dtype=np.float32)


def test_pointwise_scores_reach_their_own_candidates():
    candidates = tuple(Candidate(f"d{n}", "x" * n, 0.0) for n in (4, 1, 3, 2))
    [ranked] = ByLength().rerank_block([Ranking(Query("1", "q"), candidates)])
    assert [(c.docid, c.score) for c in ranked.candidates] == [("d4", 4), ("d3", 3), ("d2", 2), ("d1", 1)]


def test_equal_pairs_are_encoded_and_scored_once():
    encoded: list[tuple[str, str]] = []
    scored: list[object] = []

    class Counts(ByLength):
        def encode(self, query, texts):
            encoded.extend((query, text) for text in texts)
            return super().encode(query, texts)

        def score(self, batch):
            scored.extend(batch)
            return super().score(batch)

    twice = tuple(Candidate(docid, "xx", 0.0) for docid in ("d1", "d2"))
    block = [Ranking(Query(qid, query), twice) for qid, query in (("1", "q"), ("2", "q"), ("3", "r"))]
    ranked = Counts().rerank_block(block)
    assert (encoded, len(scored)) == ([("q", "xx"), ("r", "xx")], 2)
    assert [[(c.docid, c.score) for c in r.candidates] for r in ranked] == [[("d2", 2), ("d1", 2)]] * 3


# -- the next block is prepared while one is scored -------------------------------------------------------------------


def test_things_are_made_one_ahead_on_another_thread():
    made: list[tuple[int, bool]] = []

    def things():
        for number in range(1, 5):
            made.append((number, threading.current_thread() is threading.main_thread()))
            yield number

    for number in ahead(things()):
        while len(made) < min(number + 1, 4):  # the next one comes while this one is in use
            time.sleep(0.001)
        assert len(made) <= number + 1
    assert made == [(number, False) for number in range(1, 5)]


def test_an_error_in_making_a_thing_reaches_the_user_of_it():
    with pytest.raises(ZeroDivisionError):
        list(ahead(1 // number for number in (1, 0)))


def test_what_runs_a_model_is_refused_where_a_reranker_does_not_offer_it():
    with pytest.raises(RrarankError, match="Longest: no back end 'onnx'; it runs on torch"):
        Longest(RerankerConfig(backend="onnx"))
    with pytest.raises(RrarankError, match="Longest: no precision 'bf16' on torch; it offers fp32"):
        Longest(RerankerConfig(precision="bf16"))


# -- long documents ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("aggregate", "order"), [("max", "ab"), ("first", "ba"), ("mean", "ba")])
def test_a_long_documents_score_comes_from_its_passages(aggregate, order):
    run = parse_run("1 Q0 a 1 9 t\n1 Q0 b 2 8 t")
    texts = {"a": "x longestword x x", "b": "seven seven"}
    passages = Passages(words=1, aggregate=aggregate)
    out = rerank_run(run, ByLength(), topics={"1": "q"}, texts=texts, passages=passages)
    assert "".join(docids(out)) == order
