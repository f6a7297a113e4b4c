"""Conclusions by people's judgments alone and with an LLM's."""

from dataclasses import asdict

from rrarank.data.judges import Judgments
from rrarank.data.types import Hit, Run
from rrarank.measures.conclusions import by_two
from rrarank.measures.scores import evaluate_runs

QIDS = [str(number) for number in range(25)]
PEOPLE = {qid: {"a": 1, "b": 0} for qid in QIDS}
LLM = {qid: {"c": 3, "d": 0} for qid in QIDS}


def run(order):
    return Run({qid: [Hit(docid, float(-place)) for place, docid in enumerate(order)] for qid in QIDS})


RUNS = {"base": run("ab"), "found": run("cab"), "worse": run("dba"), "same": run("ab")}


def evaluated(llm=LLM):
    judgments = Judgments(PEOPLE, llm, ("LLM:m",))
    alone, both = (evaluate_runs(qrels, RUNS, measures=["ndcg@10"]) for qrels in (PEOPLE, judgments.both))
    return by_two(alone, both, judgments, ["LLM:m: it agrees."])


def test_what_a_judge_changes_is_named():
    found = evaluated()
    changes = {one.people.system: one.change for one in found.conclusions}
    assert changes == {"found": "sign and reading", "worse": "", "same": ""}
    [sentence] = [one.sentence for one in found.conclusions if one.change]
    assert sentence.startswith("found on nDCG@10 (worse -0.3691 -> better +0.")


def test_a_change_of_the_reading_alone_is_a_change():
    found = evaluated({qid: {"c": 3} for qid in QIDS[:11]} | {qid: {"c": 0} for qid in QIDS[11:]})
    [one] = [one for one in found.conclusions if one.people.system == "found"]
    assert (one.people.reading, one.both.reading) == ("worse", "not resolved")
    assert one.change in ("reading", "sign and reading")


def test_both_tables_say_what_they_rest_on():
    tables = evaluated().tables(circular={"found"})
    systems, conclusions = tables["systems-with-llm"], tables["conclusions"]
    assert systems.head == ["system", "nDCG@10", "judged@10"]
    assert [f"{row[0].text} {row[0].marks}" for row in systems.rows] == ["base ", "found †", "worse ", "same "]
    assert systems.note.startswith("With 50 judgments by LLM:m of documents that no person judged. †: its teacher is ")
    assert "Kendall's tau with the order of the systems by people's judgments alone: nDCG@10 " in systems.note
    assert systems.note.endswith("LLM:m: it agrees.")
    assert all(len(row) == len(conclusions.head) for row in conclusions.rows)
    assert conclusions.note.startswith("Of 3 conclusions, 1 would change: found on nDCG@10 (")


def test_every_format_has_all_four_tables():
    found = evaluated()
    assert [format_.count(mark) for format_, mark in [
        (found.to_latex(), r"\begin{table"), (found._repr_html_(), "<table>"), (str(found), "-----\n")
    ]] == [4, 4, 4]  # fmt: skip
    assert repr(found).startswith("<Evaluation of base, found")


def test_no_change_is_said_too():
    found = evaluated({qid: {"z": 0} for qid in QIDS})
    assert found.tables()["conclusions"].note == "Of 3 conclusions, none would change."


def test_peoples_evaluation_stays_as_it_is():
    found = evaluated()
    alone = evaluate_runs(PEOPLE, RUNS, measures=["ndcg@10"])
    assert asdict(found).items() >= asdict(alone).items()
    assert found.both.rows[0].means != found.rows[0].means
