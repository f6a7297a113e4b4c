"""What kind of first stage made a run."""

import pytest

from rrarank.data.trec import write_run
from rrarank.data.types import Hit
from rrarank.engine.first_stage import kind_of
from rrarank.engine.interpolation import LEARNED, LEXICAL
from rrarank.storage.sidecar import write_sidecar

LEARNT = """
    dense splade-pp SPLADE_v2 splade-pp-ed tas-b tasb bge-base bge-m3 all-mpnet-base-v2 msmarco-distilbert-base-tas-b
    ada2 openai-ada2 text-embedding-3-large repllama repllama-7b tct_colbert-v2-hnp tct_colbert-v2 ance-prf
    aggretriever-cocondenser cosdpr-distil snowflake-arctic-embed-l cohere-embed-english-v3.0 nv-embed-v2
    jina-embeddings-v3 e5-mistral-7b-instruct multilingual-e5-small qwen3-embedding-8b unicoil deepimpact
""".split()
UNKNOWN = """
    Anserini bm25-monot5 bm25_splade run1 v2 submission text-v2 small rank-vicuna repllama-rankllama
    bge-reranker-v2-m3 cohere-rerank-english-v3.0 qwen3-reranker-8b mistral-7b
""".split()


@pytest.mark.parametrize("tag", ["bm25", "BM25-RM3", "bm25_tuned", "lexical", "qld.rm3"])
def test_a_tag_of_lexical_words_is_lexical(tag):
    assert kind_of(None, tag) == LEXICAL


@pytest.mark.parametrize("tag", LEARNT)
def test_a_tag_of_learned_words_is_learned(tag):
    assert kind_of(None, tag) == LEARNED


@pytest.mark.parametrize("tag", ["", *UNKNOWN])
def test_any_other_tag_is_unknown(tag):
    assert kind_of(None, tag) == ""


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"hits": 9, "language": "en", "bm25": {"k1": 0.9}}, LEXICAL),
        ({"hits": 9, "model": {"name": "m"}}, LEARNED),
        ({"reranker": "rra-bert", "depth": 9}, ""),
        ({"method": "rrf"}, ""),
        ({"to": "trec", "tag": "bm25"}, LEXICAL),  # converted: as the tag says
    ],
)
def test_a_sidecar_says_more_than_the_tag(tmp_path, config, kind):
    run = tmp_path / "run.trec"
    write_run(run, [("1", [Hit("d", 1.0)])], "bm25")
    assert kind_of(run, "bm25") == LEXICAL
    write_sidecar(run, inputs={}, config=config)
    assert kind_of(run, "bm25") == kind
