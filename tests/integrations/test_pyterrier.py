"""PyTerrier's pipelines over our runs and rerankers: our own commands' figures and scores, and no Java of Terrier's."""

import json
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest

from rrarank.data.trec import parse_qrels, parse_run, read_run
from rrarank.data.types import Hit, Run
from rrarank.engine.blocks import RerankConfig
from rrarank.engine.interpolation import Interpolation
from rrarank.engine.reranker import Reranker, reorder
from rrarank.errors import RrarankError
from rrarank.integrations.pyterrier import FirstStage, Rerank
from rrarank.measures.scores import evaluate_runs
from rrarank.rerank.__main__ import main

RUN = parse_run(
    "".join(f"{qid} Q0 d{n:02} {n} {20 - n // 2} bm25\n" for qid in range(10) for n in range(1, 13))
)  # ties
TEXTS = {f"d{n:02}": "tea " * n + "cat" for n in range(1, 13)}
QRELS = parse_qrels("".join(f"{qid} 0 d{(qid * 5 + n) % 12 + 1:02} {n % 3}\n" for qid in range(10) for n in range(7)))
TOPICS = pd.DataFrame({"qid": [str(qid) for qid in range(10)], "query": [f"why cats {qid}" for qid in range(10)]})


class ByLength(Reranker):
    """Ties on purpose: texts of about the same length have one score."""

    def rerank_block(self, queries):
        return [reorder(ranking, [len(c.text) // 9 for c in ranking.candidates]) for ranking in queries]


def frame_of(qrels):
    rows = [(qid, docno, grade) for qid, grades in qrels.items() for docno, grade in grades.items()]
    return pd.DataFrame(rows, columns=["qid", "docno", "label"])


@pytest.fixture(autouse=True)
def no_java():
    yield
    assert not pt.java.started()


def run_of(frame):
    hits = {qid: [Hit(row.docno, row.score) for row in rows.itertuples()] for qid, rows in frame.groupby("qid")}
    return Run(hits)


def test_an_experiment_gives_the_figures_of_our_own_evaluation():
    first, second = FirstStage(RUN), FirstStage(RUN) >> Rerank(ByLength(), texts=TEXTS)
    found = pt.Experiment([first, second], TOPICS, frame_of(QRELS), ["ndcg_cut_5", "map"], names=["a", "b"])
    runs = {"a": run_of(first.transform(TOPICS)), "b": run_of(second.transform(TOPICS))}
    wanted = evaluate_runs(QRELS, runs, measures=["ndcg@5", "map"])
    for system in wanted.rows:
        row = found[found["name"] == system.name].iloc[0]
        assert row["ndcg_cut_5"] == pytest.approx(system.means["ndcg@5"], abs=1e-12)
        assert row["map"] == pytest.approx(system.means["map"], abs=1e-12)
    assert found["ndcg_cut_5"][0] != found["ndcg_cut_5"][1]


def test_rows_and_scores_are_those_that_the_command_writes(tmp_path, monkeypatch, cross_encoder_folder):
    monkeypatch.chdir(tmp_path)
    Path("texts.jsonl").write_text("".join(json.dumps({"id": d, "contents": t}) + "\n" for d, t in TEXTS.items()))
    Path("topics.tsv").write_text("".join(f"{row.qid}\t{row.query}\n" for row in TOPICS.itertuples()))
    Path("bm25.trec").write_text("".join(f"{q} Q0 {h.docid} 1 {h.score} x\n" for q in RUN for h in RUN[q]))
    flags = ["--run", "bm25.trec", "--topics", "topics.tsv", "--collection", "texts.jsonl", "--depth", "7"]
    settings = {"model": str(cross_encoder_folder), "device": "cpu"}
    named = ["--reranker", "cross-encoder", "--model", settings["model"], "--device", "cpu", "--output", "ours.trec"]
    assert main([*flags, *named]) == 0
    reranked = Rerank("cross-encoder", texts="texts.jsonl", config=RerankConfig(depth=7), **settings)
    theirs, ours = run_of((FirstStage("bm25.trec") >> reranked).transform(TOPICS)), read_run("ours.trec")
    assert {qid: list(theirs[qid]) for qid in theirs} == {qid: list(ours[qid]) for qid in ours}


def test_texts_may_be_a_column_and_other_columns_stay():
    rows = FirstStage(RUN, hits=3).transform(TOPICS)
    rows["text"] = [TEXTS[docno] for docno in rows["docno"]]
    rows["url"] = [f"u/{docno}" for docno in rows["docno"]]
    found = Rerank(ByLength()).transform(rows)
    assert list(found["url"]) == [f"u/{docno}" for docno in found["docno"]]
    assert list(found["rank"][:3]) == [0, 1, 2]
    assert found.groupby("qid")["score"].apply(lambda scores: scores.is_monotonic_decreasing).all()


def test_without_ranks_the_order_is_that_of_scores_by_trec_evals_rule():
    rows = pd.DataFrame({"qid": ["1"] * 3, "query": ["q"] * 3, "docno": ["a", "b", "c"], "score": [1.0, 2.0, 2.0]})
    found = Rerank(ByLength(), texts=dict.fromkeys("abc", "same"), config=RerankConfig(depth=1)).transform(rows)
    assert list(found["docno"]) == ["c", "b", "a"]


def test_a_query_without_hits_and_an_empty_frame_are_nothing():
    rows = FirstStage(RUN).transform(pd.DataFrame({"qid": ["99"], "query": ["?"]}))
    assert len(rows) == 0
    assert len(Rerank(ByLength(), texts=TEXTS).transform(rows)) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.drop(columns="query"), "no column 'query'; columns 'qid', 'docno'"),
        (lambda rows: rows.drop(columns="text"), "no column 'text'"),
        (lambda rows: rows.assign(qid=rows["qid"].astype(int)), "qid 0 is a int, expected a string; use .astype"),
        (lambda rows: rows.assign(docno=7), "docno 7 is a int"),
        (lambda rows: rows.assign(text=range(len(rows))), "has two texts"),
    ],
)
def test_what_it_cannot_read_is_one_clear_line(change, said):
    rows = FirstStage(RUN).transform(TOPICS)
    rows["text"] = [TEXTS[docno] for docno in rows["docno"]]
    with pytest.raises(RrarankError) as error:
        Rerank(ByLength()).transform(change(rows))
    assert said in str(error.value)


def test_a_document_without_a_text_is_named():
    with pytest.raises(RrarankError, match=r"1 documents have no text \('d01'\); give texts that include them"):
        Rerank(ByLength(), texts={d: t for d, t in TEXTS.items() if d != "d01"}).transform(
            FirstStage(RUN).transform(TOPICS)
        )


def test_the_first_stages_scores_can_be_joined_in():
    config = RerankConfig(interpolation=Interpolation(0.0))
    rows = FirstStage(RUN).transform(TOPICS)
    found = Rerank(ByLength(), texts=TEXTS, config=config).transform(rows)
    assert list(found["docno"]) == list(rows["docno"])
    with pytest.raises(RrarankError, match="no column 'score'"):
        Rerank(ByLength(), texts=TEXTS, config=config).transform(rows.drop(columns="score"))
    with pytest.raises(RrarankError, match="the first stage's scores are equal"):
        Rerank(ByLength(), texts=TEXTS, config=config).transform(rows.assign(score=1.0))
    by_rank = RerankConfig(interpolation=Interpolation(0.0, "rank"))
    again = Rerank(ByLength(), texts=TEXTS, config=by_rank).transform(rows.drop(columns="score"))
    assert list(again["docno"]) == list(rows["docno"])
