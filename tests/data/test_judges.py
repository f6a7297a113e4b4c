"""Qrels that say who judged, in our reader and in those of trec_eval's family."""

import io
from pathlib import Path

import pytest

from rrarank.data.judges import Judgments, joined, judge_mark, read_judgments, read_llm_qrels, write_llm_qrels
from rrarank.data.trec import read_qrels
from rrarank.errors import RrarankError

PEOPLE = {"1": {"a": 2, "b": 0}, "2": {"a": 1}}
LLM = {"1": {"c": 3, "d": 0}, "9": {"a": 1}}


@pytest.fixture
def files(tmp_path):
    (tmp_path / "people.txt").write_text("1 0 a 2\n1 Q0 b 0\n2 0 a 1\n")
    write_llm_qrels(tmp_path / "llm.txt", LLM, judge_mark("org/m 1.5"))
    (tmp_path / "both.txt").write_text((tmp_path / "people.txt").read_text() + (tmp_path / "llm.txt").read_text())
    return tmp_path


def test_the_second_column_names_the_model(files):
    assert (files / "llm.txt").read_text() == "1 LLM:org/m_1.5 c 3\n1 LLM:org/m_1.5 d 0\n9 LLM:org/m_1.5 a 1\n"


def test_one_file_of_both_is_taken_apart_by_the_mark(files):
    assert read_judgments(files / "both.txt") == Judgments(PEOPLE, LLM, ("LLM:org/m_1.5",))
    assert read_judgments(files / "people.txt") == Judgments(PEOPLE, {})


def test_people_come_first_and_only_their_queries_count():
    found = Judgments(PEOPLE, {"1": {"a": 0, "c": 3}, "9": {"a": 1}})
    assert found.both == {"1": {"c": 3, "a": 2, "b": 0}, "2": {"a": 1}}
    assert found.added == 1
    assert found.every == {"1": {"a": 2, "b": 0, "c": 3}, "2": {"a": 1}, "9": {"a": 1}}


def test_of_two_llms_the_first_counts():
    others = [Judgments({}, {"1": {"c": 1}}, ("LLM:x",)), Judgments({}, {"1": {"c": 2, "d": 2}}, ("LLM:y", "LLM:x"))]
    found = joined(Judgments(PEOPLE, {}), others)
    assert found.llm == {"1": {"c": 1, "d": 2}}
    assert found.judges == ("LLM:x", "LLM:y")


def test_peoples_judgments_are_not_taken_for_an_llms(files):
    assert read_llm_qrels(files / "llm.txt").llm == LLM
    with pytest.raises(RrarankError, match="docid 'a' has no LLM:… in column 2, so a person judged it"):
        read_llm_qrels(files / "both.txt")


def test_trec_evals_family_reads_the_file(files):
    import ir_measures
    import pytrec_eval

    text = (files / "both.txt").read_text()
    assert pytrec_eval.parse_qrel(io.StringIO(text)) == {**PEOPLE, "1": {**PEOPLE["1"], **LLM["1"]}, "9": LLM["9"]}
    read = list(ir_measures.read_trec_qrels(io.StringIO(text)))
    assert [one.relevance for one in read] == [2, 0, 1, 3, 0, 1]
    assert [one.iteration for one in read] == ["0", "Q0", "0", *["LLM:org/m_1.5"] * 3]
    assert read_qrels(files / "llm.txt") == LLM


def test_an_id_with_a_space_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(RrarankError, match="hold spaces"):
        write_llm_qrels(tmp_path / "o.txt", {"1": {"a b": 1}}, "LLM:x")
    assert not Path(tmp_path / "o.txt").exists()
