"""Teachers that are no language models: runs fused by method.md's thirds and halves, and rerankers."""

import pytest

from rrarank.data.types import Candidate, Hit, LabelledRanking, Query, Ranking, Run
from rrarank.engine.reranker import Reranker, reorder
from rrarank.errors import RrarankError
from rrarank.label.teacher import FusedRuns, RerankerTeacher
from rrarank.rerankers.bi_encoder import BiEncoder, BiEncoderConfig
from rrarank.storage.journal import Journal


def shown(docids, qid="1"):
    """A list of one-letter docids, each its own text, as `worth_asking` makes it."""
    candidates = tuple(Candidate(docid, f"text {docid}", 0.0) for docid in docids)
    return LabelledRanking(Query(qid, "why"), candidates, provenance={"preranker": "bm25"})


def run_of(docids, qid="1"):
    return Run({qid: [Hit(docid, -place) for place, docid in enumerate(docids)]}, "t")


def fused(*runs):
    return FusedRuns({f"run{number}": run_of(run) if isinstance(run, str) else run for number, run in enumerate(runs)})


def places(label):
    return "".join(label.listed), "".join(label.missing), "".join(label.unknown)


# -- fused runs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "held", "expected"),
    [
        (6, 3, "listed"),  # exactly half
        (6, 2, "unknown"),  # exactly a third
        (6, 1, "missing"),
        (6, 0, "missing"),
        (12, 6, "listed"),
        (12, 5, "unknown"),
        (12, 4, "unknown"),  # exactly a third
        (12, 3, "missing"),
        (7, 4, "listed"),
        (7, 3, "unknown"),  # below half, 3 / 7 = .43
        (7, 2, "missing"),  # below a third, 2 / 7 = .29
        (5, 2, "unknown"),
        (5, 1, "missing"),
        (3, 2, "listed"),
        (3, 1, "unknown"),  # exactly a third
        (2, 1, "listed"),  # exactly half
        (2, 0, "missing"),
        (1, 1, "listed"),
        (1, 0, "missing"),
    ],
)
def test_listed_from_half_of_the_runs_on_missing_below_a_third(runs, held, expected):
    teacher = fused(*("xy" for _ in range(held)), *("x" for _ in range(runs - held)))
    label = teacher.label(shown("xy"))
    assert [name for name in ("listed", "missing", "unknown") if "y" in getattr(label, name)] == [expected]
    assert "x" in label.listed
    assert label.faults == ()


def test_listed_are_in_the_order_of_reciprocal_rank_fusion():
    runs = ["abcd", "badc", "bdac"]
    rrf = {docid: sum(1 / (60 + run.index(docid) + 1) for run in runs) for docid in "abcd"}  # Cormack et al. 2009
    expected = sorted("abcd", key=lambda docid: -rrf[docid])
    assert len(set(rrf.values())) == 4
    label = fused(*runs).label(shown("dcba"))
    assert list(label.listed) == expected == ["b", "a", "d", "c"]


def test_documents_that_were_not_shown_change_no_label():
    assert places(fused("zabq", "zbaq").label(shown("bax"))) == places(fused("ab", "ba").label(shown("bax")))


def test_missing_and_unknown_keep_the_order_shown():
    label = fused("a", "ab", "abc").label(shown("zycbxa"))
    assert places(label) == ("ab", "zyx", "c")


def test_a_single_run_lists_what_it_holds_in_its_own_order():
    teacher = fused("cab")
    assert places(teacher.label(shown("abxcy"))) == ("cab", "xy", "")


def test_only_runs_that_answer_the_query_have_a_vote():
    silent = run_of("zz"[:1], qid="2")
    emptied = Run({"1": []}, "t")
    label = fused("ab", "a", silent, emptied, silent, silent).label(shown("abc"))
    assert places(label) == ("ab", "c", "")  # b: one of two, not one of six


def test_a_query_that_no_run_answers_is_kept_and_all_of_it_is_unknown():
    label = fused("ab", "ba").label(shown("ab", qid="7"))
    assert places(label) == ("", "", "ab")
    assert label.faults == ("no runs",)
    assert fused("ab").label(shown("ab", qid="7")).faults == ("no runs",)


def test_fused_provenance_names_the_rule_and_the_runs_and_keeps_what_was_known():
    label = fused("ab", "ba").label(shown("ab"))
    assert label.provenance == {
        "teacher": "runs",
        "rule": "of the runs that answer the query: listed, held by half or more, in order of reciprocal rank fusion; "
        "missing, by less than a third",
        "runs": ["run0", "run1"],
        "preranker": "bm25",
    }


def test_fused_runs_need_no_asking():
    assert list(fused("ab").ask([shown("ab")])) == []


def test_no_runs_is_an_error():
    with pytest.raises(RrarankError, match="no runs as teacher; give at least one"):
        FusedRuns({})


# -- scores ------------------------------------------------------------------------------------------------------------


class ByLetter(Reranker):
    """The later in the alphabet, the better; counts the queries that it has scored."""

    def __init__(self):
        super().__init__()
        self.scored = 0

    def rerank_block(self, queries):
        self.scored += len(queries)
        return [reorder(ranking, [float(ord(c.docid)) for c in ranking.candidates]) for ranking in queries]


def labelled(teacher, one):
    label = teacher.label(one)
    assert label is not None
    return label


def lists(count):
    return [shown("acb", qid=str(number)) for number in range(count)]


def test_a_score_teacher_lists_everything_best_first(tmp_path):
    teacher = RerankerTeacher(ByLetter(), "by-letter", Journal(tmp_path / "journal"))
    assert teacher.label(shown("acb")) is None  # not yet asked
    assert list(teacher.ask([shown("acb")])) == [("1", None)]
    label = labelled(teacher, shown("acb"))
    assert places(label) == ("cba", "", "")
    assert label.provenance["scores"] == {"c": 99.0, "b": 98.0, "a": 97.0}
    assert label.provenance["rule"] == "every candidate is scored: nothing is missing"
    assert (label.provenance["reranker"], label.provenance["preranker"]) == ("by-letter", "bm25")


def test_what_was_scored_before_a_crash_is_not_scored_again(tmp_path):
    whole = RerankerTeacher(ByLetter(), "by-letter", Journal(tmp_path / "whole"))
    list(whole.ask(lists(20)))

    journal = Journal(tmp_path / "journal")
    asking = RerankerTeacher(ByLetter(), "by-letter", journal).ask(lists(20))
    for _ in range(11):  # then it dies, in the middle of its second block
        next(asking)
    journal.close()
    reranker = ByLetter()
    resumed = RerankerTeacher(reranker, "by-letter", Journal(tmp_path / "journal"))
    assert [qid for qid, _ in resumed.ask(lists(20))] == [str(number) for number in range(11, 20)]
    assert reranker.scored == 12  # the block that was torn as a whole, so that its scores are equal to the last bit
    assert [resumed.label(one) for one in lists(20)] == [whole.label(one) for one in lists(20)]
    assert list(resumed.ask(lists(20))) == []


def test_another_text_or_model_is_scored_anew(tmp_path, bi_encoder_folder):
    journal = Journal(tmp_path / "journal")
    teacher = RerankerTeacher(ByLetter(), "by-letter", journal)
    list(teacher.ask([shown("ab")]))
    changed = LabelledRanking(Query("1", "why"), (Candidate("a", "other", 0.0), Candidate("b", "text b", 0.0)))
    assert teacher.label(changed) is None
    other = RerankerTeacher(
        BiEncoder(BiEncoderConfig(model=str(bi_encoder_folder), device="cpu")), "bi-encoder", journal
    )
    assert other.label(shown("ab")) is None


def test_a_bi_encoders_labels_are_its_own_ranking(tmp_path, bi_encoder_folder):
    encoder = BiEncoder(BiEncoderConfig(model=str(bi_encoder_folder), device="cpu"))
    texts = {"a": "the cat sat", "b": "why dogs", "c": "tea", "d": "bread is long"}
    candidates = tuple(Candidate(docid, text, 0.0) for docid, text in texts.items())
    one = LabelledRanking(Query("1", "long bread"), candidates)
    teacher = RerankerTeacher(encoder, "bi-encoder", Journal(tmp_path / "journal"))
    list(teacher.ask([one]))
    [ranked] = encoder.rerank_block([Ranking(one.query, one.shown)])
    label = labelled(teacher, one)
    assert label.listed == tuple(c.docid for c in ranked.candidates)
    assert label.listed != tuple(texts)
    assert label.provenance["model"] == bi_encoder_folder.name
    assert label.provenance["fingerprint"] == encoder.fingerprint()
    assert label.provenance["scores"] == {c.docid: c.score for c in ranked.candidates}


def test_a_run_that_holds_an_equal_text_holds_the_one_that_is_shown():
    label = shown("xy")
    twins = LabelledRanking(label.query, label.shown, provenance={"equal_texts": {"z": "y"}})
    teacher = fused("z", "zx", "x")
    assert places(teacher.label(label)) == ("x", "y", "")
    assert places(teacher.label(twins)) == ("yx", "", "")
