from dataclasses import replace

import pytest

from rrarank import Candidate, Query, Ranking, RrarankError
from rrarank.engine.registry import load_reranker
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.cascade import Cascade, CascadeConfig
from rrarank.rerankers.cross_encoder import CrossEncoder

TEXTS = ["the cat sat", "why dogs", "tea", "bread is long", "a long document about cats and dogs", "mat"]
ASKED = Ranking(Query("1", "why is the cat long"), tuple(Candidate(f"d{i}", t, 9.0 - i) for i, t in enumerate(TEXTS)))


def docids(ranking):
    return [candidate.docid for candidate in ranking.candidates]


def test_the_second_orders_what_the_first_puts_on_top_and_the_rest_follows(cross_encoder_folder, bi_encoder_folder):
    first = load_reranker("bi-encoder", model=str(bi_encoder_folder), device="cpu")
    second = CrossEncoder(CrossEncoderConfig(model=str(cross_encoder_folder), device="cpu"))
    [ordered] = first.rerank_block([ASKED])
    [best] = second.rerank_block([Ranking(ASKED.query, ordered.candidates[:4])])
    config = CascadeConfig(
        model=str(cross_encoder_folder), first="bi-encoder", first_model=str(bi_encoder_folder), keep=4, device="cpu"
    )
    [found] = Cascade(config).rerank_block([ASKED])
    assert docids(found) == [*docids(best), *docids(ordered)[4:]]
    assert [c.score for c in found.candidates[:4]] == [c.score for c in best.candidates]


def test_the_first_keeps_documents_vectors(cross_encoder_folder, sparse_encoder_folder, tmp_path):
    plain = CascadeConfig(
        model=str(cross_encoder_folder), first="sparse-encoder", first_model=str(sparse_encoder_folder), device="cpu"
    )
    kept = replace(plain, cache=str(tmp_path))
    expected, *found = (docids(Cascade(config).rerank_block([ASKED])[0]) for config in (plain, kept, kept))
    assert found == [expected, expected]
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 1
    assert Cascade(kept).fingerprint() == Cascade(plain).fingerprint()


def test_a_cache_that_the_first_has_no_use_for_is_refused(cross_encoder_folder, tmp_path):
    config = CascadeConfig(model=str(cross_encoder_folder), first="bm25", cache=str(tmp_path), device="cpu")
    with pytest.raises(RrarankError, match=r"bm25.*cache"):
        Cascade(config)


def test_the_first_stage_itself_can_be_the_first(cross_encoder_folder):
    config = CascadeConfig(model=str(cross_encoder_folder), first="bm25", keep=2, device="cpu")
    [found] = Cascade(config).rerank_block([ASKED])
    assert docids(found)[2:] == ["d2", "d3", "d4", "d5"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"keep": 0}, "keep=0, expected at least 1"), ({"first": "cascade"}, "would never end"), ({"first": "x"}, "'x'")],
)
def test_faulty_settings_are_one_line(settings, message, cross_encoder_folder):
    with pytest.raises(RrarankError, match=message):
        Cascade(CascadeConfig(model=str(cross_encoder_folder), device="cpu", **settings))
