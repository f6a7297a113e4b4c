"""Which candidates a teacher is shown, and in which order."""

import pytest

from rrarank.data.types import Candidate, Hit, Query, Ranking, Run
from rrarank.engine.reranker import Reranker, reorder
from rrarank.errors import RrarankError
from rrarank.label.selection import Selection, StoredEmbeddings, choose_lists, select
from rrarank.rerankers.bi_encoder import BiEncoder, BiEncoderConfig
from rrarank.rerankers.bm25 import FirstStage
from rrarank.sources.dense import DenseIndex, build_dense_index
from rrarank.storage.journal import Journal


class ByLength(Reranker):
    """Long texts first, so that an order by the pre-ranker is told from the first stage's."""

    blocks = 0

    def rerank_block(self, queries):
        self.blocks += 1
        return [reorder(ranking, [len(c.text) for c in ranking.candidates]) for ranking in queries]


def docids(candidates):
    return "".join(candidate.docid for candidate in candidates)


def chosen(preranked, **settings):
    """The docids shown of a list in the pre-ranker's order; each docid is a letter."""
    candidates = [Candidate(docid, f"text of {docid}", 0.0) for docid in preranked]
    return docids(select(candidates, Selection(**settings)))


def asked(run, texts, preranker=None, journal=None, topics=None, **settings):
    """The lists made of docids and texts: {qid: [docid, …]}, best first, and {docid: text}."""
    hits = {qid: [Hit(docid, -place) for place, docid in enumerate(found)] for qid, found in run.items()}
    topics = topics or dict.fromkeys(run, "why")
    selection = Selection(**settings)
    preranker = preranker or FirstStage()
    return list(choose_lists(Run(hits), preranker, topics=topics, texts=texts, selection=selection, journal=journal))


# -- rules -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preranked", "shown"),
    [
        ("e", "e"),
        ("ea", "ea"),
        ("eafbc", "eafbc"),  # as many as there is room for
        ("eafb", "eafb"),
        ("eafbcd", "eabcd"),  # f is neither among the best two nor among the last three
        ("hgfedcba", "hgcba"),
    ],
)
def test_top_bottom_keeps_the_most_and_the_least_relevant_in_their_order(preranked, shown):
    assert chosen(preranked, k_top=2, k_bottom=3) == shown


@pytest.mark.parametrize("length", range(12))
@pytest.mark.parametrize(("k_top", "k_bottom"), [(3, 4), (0, 5), (5, 0), (1, 1)])
def test_no_candidate_is_shown_twice_and_none_for_nothing(length, k_top, k_bottom):
    preranked = "lkjihgfedcba"[:length]
    shown = chosen(preranked, k_top=k_top, k_bottom=k_bottom)
    assert len(set(shown)) == len(shown) == min(length, k_top + k_bottom)
    assert shown.startswith(preranked[: min(k_top, length)])
    assert shown.endswith(preranked[max(length - k_bottom, min(k_top, length)) :])


def test_twenty_of_fifty_ten_from_either_end_unless_told():
    preranked = [chr(ord("A") + place) for place in range(50)]
    assert chosen(preranked) == "".join(preranked[:10] + preranked[-10:])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k_top": 1, "k_bottom": 0}, "k_top 1 and k_bottom 0: expected two candidates or more"),
        ({"k_top": -1, "k_bottom": 9}, "k_top -1 and k_bottom 9: expected"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(settings, message):
    with pytest.raises(RrarankError) as error:
        Selection(**settings)
    assert str(error.value).startswith(message)


# -- lists from a run --------------------------------------------------------------------------------------------------

TEXTS = {docid: docid * length for length, docid in enumerate("abcdefgh", start=1)}  # h is the longest


def test_the_pre_ranker_chooses_and_the_rest_is_named_in_first_stage_order():
    [found] = asked({"1": "cahbgdef"}, TEXTS, ByLength(), k_top=2, k_bottom=1)
    assert [(c.docid, c.score) for c in found.shown] == [("h", 8.0), ("g", 7.0), ("a", 1.0)]
    assert found.not_shown == ("c", "b", "d", "e", "f")
    assert (found.listed, found.missing, found.unknown) == ((), (), ())


def test_only_candidates_down_to_the_depth_are_ordered():
    [found] = asked({"1": "cahbgdef"}, TEXTS, ByLength(), depth=4, k_top=1, k_bottom=1)
    assert (docids(found.shown), found.not_shown) == ("ha", ("c", "b"))


def test_of_equal_texts_the_best_ranked_is_kept_and_the_others_are_on_record():
    texts = {"a": "tea and  cake", "b": "dogs", "c": " tea and cake\n", "d": "tea and cake", "e": "cats"}
    one, other = asked({"1": "cbade", "2": "be"}, texts, k_top=9)
    assert docids(one.shown) == "cbe"
    assert one.provenance == {"equal_texts": {"a": "c", "d": "c"}}
    assert one.not_shown == ()
    assert other.provenance == {}


def test_queries_without_text_or_topic_are_left_out_and_so_are_empty_candidates():
    texts = {"a": "tea", "b": " \n", "c": "cats"}
    run = {"3": "ab", "2": "b", "4": "xyz", "5": "", "1": "ac", "6": "ac"}
    found = asked(run, texts, topics=dict.fromkeys("12345", "why"))
    assert [(one.query.qid, docids(one.shown)) for one in found] == [("3", "a"), ("1", "ac")]  # in the run's order


def test_a_journal_spares_the_pre_ranker_a_second_go(tmp_path):
    run = {str(qid): "abcdefgh" for qid in range(20)}
    journal, preranker = Journal(tmp_path / "journal"), ByLength()
    first = asked(run, TEXTS, preranker, journal, depth=6)
    assert preranker.blocks == 3
    assert asked(run, TEXTS, preranker, journal, depth=6) == first == asked(run, TEXTS, ByLength(), depth=6)
    assert preranker.blocks == 3
    assert asked(run, TEXTS, preranker, journal, depth=6, k_top=1, k_bottom=1) != first  # chosen anew, not scored anew
    assert preranker.blocks == 3


# -- stored embeddings -------------------------------------------------------------------------------------------------

SENTENCES = {
    "d1": "the cat sat",
    "d2": "why dogs",
    "d3": "tea",
    "d4": "bread is long",
    "d5": "a mat of cats",
    "d6": "dog",
}


@pytest.fixture(scope="module")
def encoder(bi_encoder_folder):
    return BiEncoder(BiEncoderConfig(model=str(bi_encoder_folder), device="cpu"))


@pytest.fixture(scope="module")
def stored(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dense") / "index"
    others = {f"x{number}": "short " * number for number in range(1, 9)}
    build_dense_index([*others.items(), *reversed(SENTENCES.items())], folder, encoder)
    return StoredEmbeddings(DenseIndex(folder), encoder, "tiny")


def test_stored_embeddings_rank_as_the_bi_encoder_itself(encoder, stored):
    candidates = tuple(Candidate(docid, text, 0.0) for docid, text in SENTENCES.items())
    block = [
        Ranking(Query("1", "why is the cat long"), candidates),
        Ranking(Query("2", "tea"), candidates[2:]),
        Ranking(Query("3", "bread"), ()),
    ]
    expected, found = encoder.rerank_block(block), stored.rerank_block(block)
    assert [r.query for r in found] == [r.query for r in block]
    for theirs, ours in zip(expected, found, strict=True):
        assert [c.docid for c in ours.candidates] == [c.docid for c in theirs.candidates]
        assert [c.score for c in ours.candidates] == pytest.approx([c.score for c in theirs.candidates], abs=1e-5)
    assert [c.docid for c in expected[0].candidates] != [c.docid for c in candidates]  # it did rank
    assert stored.rerank_block([]) == []


def test_stored_embeddings_choose_the_lists_that_the_bi_encoder_does(encoder, stored):
    run = {"1": [*SENTENCES]}
    [live], [from_index] = (asked(run, SENTENCES, reranker, k_top=2, k_bottom=1) for reranker in (encoder, stored))
    assert [c.docid for c in from_index.shown] == [c.docid for c in live.shown]
    assert from_index.not_shown == live.not_shown


def test_stored_embeddings_read_no_text(stored):
    [plain] = stored.rerank_block([Ranking(Query("1", "cat"), tuple(Candidate(d, "", 0.0) for d in SENTENCES))])
    [full] = stored.rerank_block(
        [Ranking(Query("1", "cat"), tuple(Candidate(d, t, 0.0) for d, t in SENTENCES.items()))]
    )
    assert [c.docid for c in plain.candidates] == [c.docid for c in full.candidates]


def test_a_document_that_the_index_lacks_is_named(stored):
    with pytest.raises(RrarankError, match=r"has no document 'z'; was it made from another collection\?"):
        stored.rerank_block([Ranking(Query("1", "cat"), (Candidate("z", "cat", 0.0),))])


def test_another_index_is_another_fingerprint(encoder, stored, tmp_path):
    build_dense_index(SENTENCES.items(), tmp_path / "index", encoder)
    other = StoredEmbeddings(DenseIndex(tmp_path / "index"), encoder, "tiny")
    assert other.fingerprint() != stored.fingerprint()
    assert stored.fingerprint() == StoredEmbeddings(DenseIndex(stored.index.path), encoder, "tiny").fingerprint()
