"""The cascade that `benchmarks quality cascade` puts together is the one that the reranker gives."""

from benchmarks.quality.cascade import join
from rrarank import Candidate, Query, Ranking
from rrarank.data.trec import best_first
from rrarank.data.types import Hit
from rrarank.rerankers.cascade import Cascade, CascadeConfig

TEXTS = ["the cat sat", "why dogs", "tea", "bread is long", "a long document about cats and dogs", "mat"]
ASKED = Ranking(Query("1", "why is the cat long"), tuple(Candidate(f"d{i}", t, 9.0 - i) for i, t in enumerate(TEXTS)))


def hits(ranking):
    return best_first([Hit(candidate.docid, candidate.score) for candidate in ranking.candidates])


def test_runs_of_both_parts_give_the_run_of_the_cascade(cross_encoder_folder, sparse_encoder_folder):
    config = CascadeConfig(
        model=str(cross_encoder_folder), first_model=str(sparse_encoder_folder), keep=4, device="cpu"
    )
    cascade = Cascade(config)
    [found] = cascade.rerank_block([ASKED])
    [first], [second] = cascade.first.rerank_block([ASKED]), cascade.second.rerank_block([ASKED])
    joined = join(hits(first), hits(second), 4)
    assert [hit.docid for hit in joined] == [candidate.docid for candidate in found.candidates]
    assert [hit.docid for hit in joined] != [hit.docid for hit in hits(second)]
