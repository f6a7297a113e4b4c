"""The order of systems under our judgments and under people's, as the benchmark of recorded answers measures it."""

import random
from statistics import fmean

import pytest
from scipy.stats import kendalltau

from benchmarks.quality.recorded_answers import system_tau
from rrarank.data.trec import parse_qrels
from rrarank.data.types import Hit, Run
from rrarank.errors import RrarankError
from rrarank.measures.scores import per_query_scores

DOCIDS = [f"d{number}" for number in range(12)]


def noisy(qrels, noise, seed):
    rng = random.Random(seed)
    return Run(
        {
            qid: sorted(
                (Hit(docid, grade + rng.gauss(0, noise)) for docid, grade in grades.items()), key=lambda hit: -hit.score
            )
            for qid, grades in qrels.items()
        }
    )


@pytest.fixture(scope="module")
def judged():
    rng = random.Random(1)
    nist = {str(q): {docid: rng.choice([0, 0, 1, 3]) for docid in DOCIDS} for q in range(12)}
    return nist, {f"s{i}": noisy(nist, 0.1 + i / 4, seed=i) for i in range(20)}


def test_the_same_judgments_rank_systems_alike(judged):
    nist, runs = judged
    found = system_tau(runs, nist, nist)
    assert (found.tau, found.low, found.high) == (1.0, 1.0, 1.0)
    assert (found.orderings, found.queries) == (20, 12)


def test_tau_is_between_the_mean_measures_over_the_common_queries(judged):
    nist, runs = judged
    rng = random.Random(2)
    ours = {qid: {docid: rng.choice([grade, 0]) for docid, grade in nist[qid].items()} for qid in [*nist][:-2]}
    common = {qid: nist[qid] for qid in ours}
    means = [
        [fmean(per_query_scores(qrels, run, ["ndcg@5"])["ndcg@5"].values()) for run in runs.values()]
        for qrels in (ours, common)
    ]
    found = system_tau(runs, {**ours, "other": {"a": 1}}, nist, "ndcg@5")
    assert found.tau == pytest.approx(kendalltau(*means).statistic)
    assert found.low < found.tau < found.high
    assert found.queries == 10
    assert found == system_tau(runs, ours, nist, "ndcg@5")


def test_too_few_systems_or_queries_are_refused(judged):
    nist, runs = judged
    with pytest.raises(RrarankError, match="19 orderings over 12 queries that both judge; expected at least 20"):
        system_tau({name: runs[name] for name in [*runs][1:]}, nist, nist)
    with pytest.raises(RrarankError, match="20 orderings over 0 queries"):
        system_tau(runs, parse_qrels("x 0 a 1"), nist)
