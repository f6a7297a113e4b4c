"""The judging job as a user types it, against a real loopback server, and what evaluate makes of its judgments."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from openai_server import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    BEHAVIOURS,
    Reply,
    completion,
    digest,
    serving,
)

from rrarank import JudgeJob, LLMConfig, Pooling, RrarankError, judge_run, read_qrels
from rrarank.evaluate import main as evaluate
from rrarank.judge.__main__ import main
from rrarank.storage.sidecar import write_sidecar

QIDS = [f"q{number}" for number in range(24)]
WORTHS = range(8)  # of a query's documents; every other one is judged by people


pytestmark = pytest.mark.usefixtures("no_endpoint")


def write_inputs(folder, qids):
    """Two runs, topics, texts and judgments: a document's true grade is half of its worth, which its text tells."""
    rng = random.Random(0)
    for name in ("one", "two"):
        lines = []
        for qid in qids:
            worths = rng.sample(WORTHS, len(WORTHS))
            lines += [f"{qid} Q0 {qid}-{worth} {n} {9 - n} {name}\n" for n, worth in enumerate(worths, start=1)]
        (folder / f"{name}.trec").write_text("".join(lines))
    (folder / "topics.tsv").write_text("".join(f"{qid}\tquery {qid}\n" for qid in qids))
    pairs = [(qid, worth) for qid in qids for worth in WORTHS]
    texts = (json.dumps({"id": f"{q}-{w}", "contents": f"worth {w} about {q}"}) + "\n" for q, w in pairs)
    (folder / "texts.jsonl").write_text("".join(texts))
    (folder / "people.txt").write_text("".join(f"{q} 0 {q}-{w} {w // 2}\n" for q, w in pairs if w % 2))


SOURCES = ["--topics", "topics.tsv", "--collection", "texts.jsonl"]
INPUTS = ["--qrels", "people.txt", "--runs", "one.trec", "two.trec", *SOURCES]
FLAGS = [*INPUTS, "--model", "org/m", "--retries", "1", "--timeout", "10", "--total-timeout", "20"]
UNTOUCHED = ["one.trec", "people.txt", "texts.jsonl", "topics.tsv", "two.trec"]


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path, QIDS)
    return FLAGS


def at(server, job, *more):
    return [*job, "--base-url", server.url, *more]


def worth_of(request):
    return int(re.findall(r"Passage: worth (\d)", request["messages"][-1]["content"])[0])


def query_of(request):
    return re.findall(r"Query: query (\w+)", request["messages"][-1]["content"])[0]


def fair(request, nth):
    return Reply(completion(request, content=f"##final score: {worth_of(request) // 2}"))


def guessing(request, nth):
    return Reply(completion(request, content=f"##final score: {int(digest(request)[:6], 16) % 4}"))


def says(text, **more):
    return lambda request, nth: Reply(completion(request, content=text, **more))


def only(qids, other, then=fair):
    return lambda request, nth: (other if query_of(request) in qids else then)(request, nth)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def sidecar(name="people.llm.txt"):
    return json.loads(Path(f"{name}.json").read_text())


# -- the unjudged ------------------------------------------------------------------------------------------------------


def test_what_nobody_judged_among_the_tops_is_graded(job, tmp_path, capsys):
    with serving(fair) as server:
        assert main(at(server, job, "--depth", "4")) == 0
        asked = len(server.requests)
    out, err = capsys.readouterr()
    assert out == "people.llm.txt\n"
    assert files(tmp_path) == sorted([*UNTOUCHED, "people.llm.txt", "people.llm.txt.json"])
    lines = [line.split() for line in Path("people.llm.txt").read_text().splitlines()]
    tops = {
        (qid, docid)
        for run in ("one", "two")
        for qid, _, docid, rank, *_ in (line.split() for line in open(f"{run}.trec"))
        if int(rank) <= 4
    }
    assert {(qid, docid) for qid, _, docid, _ in lines} == {(q, d) for q, d in tops if int(d[-1]) % 2 == 0}
    assert {mark for _, mark, *_ in lines} == {"LLM:org/m"}
    assert all(int(grade) == int(docid[-1]) // 2 for _, _, docid, grade in lines)
    assert asked == len(lines)
    assert f"{asked} of {asked} documents graded (grade 0: " in err
    assert "agreement" not in err + json.dumps(sidecar())


def test_the_sidecar_says_who_judged_what_and_by_which_prompt(job, tmp_path):
    with serving(fair) as server:
        main(at(server, job))
    found = sidecar()
    assert found["inputs"].keys() == {"qrels", "run-1", "run-2", "topics", "collection"}
    assert (found["judge"], found["teacher"], found["failed"], found["faults"]) == ("LLM:org/m", "llm: org/m", [], {})
    assert (found["config"]["prompt"], found["config"]["depth"], found["config"]["model"]) == ("umbrela", 10, "org/m")
    assert found["llm"]["prompt_sha256"]
    assert found["llm"]["answered_by"] == ["org/m"]
    assert not [word for word in ("127.0.0.1", str(tmp_path)) if word in json.dumps(found)]


def test_equal_jobs_give_equal_bytes_whatever_the_order_of_the_answers(job):
    with serving(fair) as server:
        main(at(server, job, "--output", "one.txt"))
        main(at(server, job, "--output", "two.txt", "--in-flight", "1"))
    assert Path("one.txt").read_bytes() == Path("two.txt").read_bytes()


def test_the_judgments_may_go_to_stdout(job, tmp_path, capsys):
    with serving(fair) as server:
        assert main(at(server, job)) == 0
        capsys.readouterr()
        assert main(at(server, job, "--output", "-")) == 0
    assert capsys.readouterr().out == Path("people.llm.txt").read_text()
    assert files(tmp_path) == sorted([*UNTOUCHED, "people.llm.txt", "people.llm.txt.json"])


def test_queries_that_no_person_judged_are_left_out_unless_nobody_judged_anything(job, capsys):
    kept = [line for line in open("people.txt") if not line.startswith("q0 ")]
    Path("people.txt").write_text("".join(kept))
    with serving(fair) as server:
        assert main(at(server, job)) == 0
        assert "q0" not in read_qrels("people.llm.txt")
        assert "1 queries of the runs have no judgment and are left out ('q0')" in capsys.readouterr().err
        assert main(at(server, job[2:], "--depth", "1", "--output", "all.txt")) == 0
    assert read_qrels("all.txt").keys() == set(QIDS)


def test_a_run_s_sidecar_knows_topics_and_texts(job):
    for name in ("one", "two"):
        places = {"topics": Path("topics.tsv"), "collection": Path("texts.jsonl")}
        write_sidecar(Path(f"{name}.trec"), inputs=places)
    without = [flag for flag in job if flag not in SOURCES]
    with serving(fair) as server:
        assert main(at(server, without)) == 0
    assert sidecar()["inputs"].keys() == {"qrels", "run-1", "run-2", "topics", "collection"}


def test_the_command_is_a_function_too(job):
    with serving(fair) as server:
        llm = LLMConfig("org/m", server.url)
        made = judge_run(JudgeJob(llm, "people.txt", ["one.trec"], Pooling(depth=2), _origins()))
    assert made == ["people.llm.txt"]
    assert all(len(grades) <= 2 for grades in read_qrels("people.llm.txt").values())


def _origins():
    from rrarank import Origins

    return Origins("topics.tsv", "texts.jsonl")


def test_the_module_is_a_command(job):
    with serving(fair) as server:
        command = [sys.executable, "-m", "rrarank.judge", *at(server, job, "--depth", "1")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "people.llm.txt\n")


# -- a sample of the judged --------------------------------------------------------------------------------------------


def test_a_sample_of_the_judged_gives_the_agreement(job, tmp_path, capsys):
    with serving(fair) as server:
        assert main(at(server, job, "--sample", "60")) == 0
        assert len(server.requests) == 60
    out, err = capsys.readouterr()
    assert out == "people.llm-sample.txt\n"
    graded, people = read_qrels("people.llm-sample.txt"), read_qrels("people.txt")
    assert all(people[qid][docid] == grade for qid, grades in graded.items() for docid, grade in grades.items())
    assert "agreement with the assessors on 60 documents of " in err
    assert "Cohen's kappa 1.000 [1.000, 1.000], quadratic 1.000 [1.000, 1.000], binary 1.000 [1.000, 1.000]" in err
    assert "this judge agrees with the assessors beyond chance: quadratic kappa 1.000" in err
    found = sidecar("people.llm-sample.txt")["agreement"]
    assert (found["pairs"], found["verdict"], found["kappa"]["value"]) == (60, "agrees", 1.0)
    assert sum(map(sum, found["confusion"])) == 60


def test_without_runs_the_sample_is_drawn_from_all_judgments(job):
    flags = [flag for flag in job if flag not in ("--runs", "one.trec", "two.trec")]
    with serving(fair) as server:
        assert main(at(server, flags, "--sample", "1000")) == 0
    assert read_qrels("people.llm-sample.txt") == read_qrels("people.txt")


def test_systems_are_ranked_by_both_on_the_sample(job, capsys):
    for number in range(3):
        Path(f"more{number}.trec").write_text(Path("one.trec").read_text().replace(" 1 8 ", f" 1 {8 - 3 * number} "))
    runs = ["--runs", "one.trec", "two.trec", *(f"more{number}.trec" for number in range(3))]
    with serving(fair) as server:
        assert main(at(server, job, *runs, "--sample", "90", "--measure", "mrr-l2")) == 0
    assert "Kendall's tau of 5 systems by RR(rel=2) on these documents alone: 1.000 [" in capsys.readouterr().err


def test_sample_and_unjudged_documents_in_one_job(job, capsys):
    with serving(fair) as server:
        assert main(at(server, job, "--sample", "40", "--unjudged")) == 0
        assert len(server.requests) == 40 + len(QIDS) * 4
    assert capsys.readouterr().out == "people.llm.txt\n"
    assert sidecar()["agreement"]["pairs"] == 40
    assert sum(map(len, read_qrels("people.llm.txt").values())) == 40 + len(QIDS) * 4


@pytest.mark.parametrize("judge", ["guesses", "one grade"])
def test_a_useless_judge_is_recognised(judge, job, capsys):
    with serving(guessing if judge == "guesses" else says("Grade: 1")) as server:
        assert main(at(server, job, "--sample", "90")) == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("this judge")]
    assert line.startswith("this judge does not agree with the assessors beyond chance: ")
    assert ("it gave all 90 documents the grade 1" in line) == (judge == "one grade")
    assert sidecar("people.llm-sample.txt")["agreement"]["sentence"] == line


def test_a_judge_that_mostly_grades_nothing_is_useless_too(job, capsys):
    graded = set(QIDS[:4])
    with serving(only(set(QIDS) - graded, says("It depends."))) as server:
        assert main(at(server, job, "--sample", "90")) == 7
    assert re.search("beyond chance: it gave no grade to [0-9]+ of 90 documents", capsys.readouterr().err)
    assert sidecar("people.llm-sample.txt")["agreement"]["verdict"] == "useless"


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_failed_questions_are_asked_again_by_the_same_command(job, capsys):
    with serving(only({"q1", "q2"}, BEHAVIOURS["server-error"])) as server:
        assert main(at(server, job)) == 7
    out, err = capsys.readouterr()
    assert out == "people.llm.txt\n"
    assert "8 documents have no answer ('q1 q1-" in err
    assert "people.llm.txt.journal keeps the other answers: the same command asks only for these" in err
    assert "q1" not in read_qrels("people.llm.txt")
    assert len(sidecar()["failed"]) == 8
    with serving(fair) as server:
        assert main(at(server, job)) == 0
        assert len(server.requests) == 8
    assert read_qrels("people.llm.txt").keys() == set(QIDS)
    assert not Path("people.llm.txt.journal").exists()


def test_answers_without_a_grade_are_counted_and_not_guessed(job, capsys):
    with serving(only({"q3"}, says("I cannot grade this."), only({"q4"}, says("Score: 0\nScore: 3")))) as server:
        assert main(at(server, job)) == 7
    out, err = capsys.readouterr()
    assert out == "people.llm.txt\n"
    assert "8 answers hold no grade (no grade 4, several grades 4: 'q3 q3-" in err
    assert sidecar()["faults"] == {"no grade": 4, "several grades": 4}
    assert not {"q3", "q4"} & read_qrels("people.llm.txt").keys()


def test_an_answer_that_was_cut_off_is_no_grade(job, capsys):
    with serving(only({"q3"}, says("The passage is about a", finish_reason="length"))) as server:
        assert main(at(server, job)) == 7
    assert "(cut short 4: " in capsys.readouterr().err


def test_a_model_that_grades_nothing_writes_nothing(job, tmp_path, capsys):
    with serving(says("It depends.")) as server:
        assert main(at(server, job)) == 4
    assert "org/m graded none of 96 documents (no grade 96); nothing is written. Give the" in capsys.readouterr().err
    assert files(tmp_path) == UNTOUCHED


def test_a_server_that_only_fails_writes_nothing(job, tmp_path, capsys):
    with serving(BEHAVIOURS["wrong-key"]) as server:
        assert main(at(server, job)) == 4
    assert files(tmp_path) == UNTOUCHED
    with serving(BEHAVIOURS["bad-request"]) as server:
        assert main(at(server, job)) == 2
    assert "the first 8 questions are all refused" in capsys.readouterr().err
    assert files(tmp_path) == UNTOUCHED


def test_no_answer_to_any_question_is_not_a_partial_success(job, tmp_path, capsys):
    with serving(BEHAVIOURS["server-error"]) as server:
        assert main(at(server, job, "--sample", "3", "--retries", "0")) == 4
    assert "graded none of 3 documents (mostly: HTTP 500" in capsys.readouterr().err
    assert files(tmp_path) == UNTOUCHED


def test_what_was_answered_before_the_key_was_refused_is_kept(job, capsys):
    asked = []

    def refusing(request, nth):
        asked.append(1)
        return (fair if len(asked) <= 30 else BEHAVIOURS["wrong-key"])(request, nth)

    with serving(refusing) as server:
        assert main(at(server, job, "--in-flight", "1")) == 7
    assert "stopped asking: " in capsys.readouterr().err
    assert sum(map(len, read_qrels("people.llm.txt").values())) == 30


def test_a_dry_run_foretells_questions_and_tokens(job, tmp_path, capsys):
    with serving(fair) as server:
        assert main(at(server, job, "--dry-run", "--price", "1000", "2000", "--sample", "30", "--unjudged")) == 0
        assert server.requests == []
        assert files(tmp_path) == UNTOUCHED
        out, err = capsys.readouterr()
        main(at(server, job, "--in-flight", "1", "--sample", "30", "--unjudged"))
        assert json.loads(out) == server.requests[0]["messages"]
        words = sum(len(m["content"].split()) for request in server.requests for m in request["messages"])
        asked = len(server.requests)
    assert "would grade 96 unjudged and 30 judged documents" in err
    foretold = r"(\d+) questions, about ([\d,]+) tokens asked and 756 answered, cost ([\d,.]+) \(estimated\)"
    [(questions, tokens, cost)] = re.findall(foretold, err)
    assert int(questions) == asked == 126
    assert 1 <= int(tokens.replace(",", "")) / words < 1.6
    assert float(cost.replace(",", "")) == pytest.approx((int(tokens.replace(",", "")) * 1000 + 756 * 2000) / 1e6)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--qrels", "absent.txt"], "absent.txt: no such file"),
        (["--prompt", "umbrella"], "umbrella: no such file or shipped name; did you mean 'umbrela'?"),
        (["--output", "o.json"], "o.json: only TREC qrels say who judged; give a name such as judgments.llm.txt"),
        (["--output", "people.txt", "--overwrite"], "people.txt: would replace the input"),
        (["--collection", "none.jsonl"], "none.jsonl"),
        (["--measure", "foo", "--sample", "30"], "not understood: 'foo'"),
        (["--rel-level", "4", "--sample", "30"], "--rel-level 4: the LLM's grades go from 0 to 3; give 1 to 3"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(flags, message, job, capsys):
    assert main([*job, *flags, "--base-url", "http://127.0.0.1:9/v1"]) == 2
    assert message in capsys.readouterr().err


def test_runs_or_a_sample_are_needed(job, capsys):
    flags = [flag for flag in job if flag not in ("--runs", "one.trec", "two.trec")]
    assert main(flags) == 2
    assert "--runs is needed" in capsys.readouterr().err
    assert main([*job[2:], "--sample", "5"]) == 2
    assert "--sample without --qrels; a sample is drawn from people's judgments" in capsys.readouterr().err
    with pytest.raises(RrarankError, match="nothing to grade"):
        Pooling(unjudged=False)


def test_unknown_places_are_asked_for(job, capsys):
    assert main([flag for flag in job if flag not in SOURCES]) == 2
    assert "one.trec: no sidecar names its topics and texts; give --topics TOPICS.tsv and" in capsys.readouterr().err


def test_documents_without_text_are_refused_or_left_out(job, capsys):
    kept = [line for line in open("texts.jsonl") if '"q5-4"' not in line and '"q5-5"' not in line]
    Path("texts.jsonl").write_text("".join(kept))
    with serving(fair) as server:
        assert main(at(server, job)) == 2
        assert "1 of 96 unjudged documents have no text, or their query no topic ('q5 q5-4')" in capsys.readouterr().err
        assert main(at(server, job, "--skip-missing", "--sample", "90", "--unjudged")) == 0
    err = capsys.readouterr().err
    assert "1 unjudged documents have no text or no topic and are left out" in err
    assert "1 judged documents have no text or no topic; the sample is drawn from the others" in err


def test_nothing_left_to_grade_is_said(job, capsys):
    flags = [*job, "--depth", "1", "--qrels", "all.txt"]
    Path("all.txt").write_text("".join(f"{q} 0 {q}-{w} 1\n" for q in QIDS for w in WORTHS))
    assert main(flags) == 2
    assert "nothing to grade: the top 1 of 2 runs hold no unjudged document" in capsys.readouterr().err


# -- what evaluate makes of it -----------------------------------------------------------------------------------------


@pytest.fixture
def judgments(job):
    with serving(fair) as server:
        assert main(at(server, job, "--sample", "90", "--unjudged")) == 0
    return ["--qrels", "people.txt", "--llm-qrels", "people.llm.txt", "--runs", "one.trec", "two.trec"]


def test_every_conclusion_is_given_twice(judgments, capsys):
    assert evaluate([*judgments, "--measures", "ndcg@10", "mrr-l2"]) == 0
    out = capsys.readouterr().out
    assert "With 96 judgments by LLM:org/m of documents that no person judged." in out
    assert "LLM:org/m: this judge agrees with the assessors beyond chance: quadratic kappa 1.000" in out
    assert "Of 2 conclusions, " in out
    alone = out.split("\n\n")[0]
    assert evaluate(["--qrels", "people.txt", "--runs", "one.trec", "two.trec", "--measures", "ndcg@10", "mrr-l2"]) == 0
    assert capsys.readouterr().out.split("\n\n")[0] == alone


def test_one_file_of_both_is_understood_by_its_marks(judgments, capsys):
    kept = [line for line in open("people.llm.txt") if int(line.split()[2][-1]) % 2 == 0]
    Path("both.txt").write_text(Path("people.txt").read_text() + "".join(kept))
    assert evaluate(["--qrels", "both.txt", *judgments[4:]]) == 0
    joined = capsys.readouterr().out
    assert "How far it agrees with people is not recorded; rrarank judge --sample 100 measures it." in joined
    assert evaluate(judgments) == 0
    assert [table for table in capsys.readouterr().out.split("\n\n") if "judged@10" in table] == [
        table for table in joined.split("\n\n") if "judged@10" in table
    ]


def test_people_win_where_one_file_holds_a_sample_too(judgments, capsys):
    assert evaluate(judgments) == 0
    apart = [table for table in capsys.readouterr().out.split("\n\n") if "judged@10" in table]
    Path("both.txt").write_text(Path("people.llm.txt").read_text() + Path("people.txt").read_text())
    assert evaluate(["--qrels", "both.txt", *judgments[4:]]) == 0
    assert [table for table in capsys.readouterr().out.split("\n\n") if "judged@10" in table] == apart


def test_json_and_latex_hold_both(judgments):
    assert evaluate([*judgments, "--output", "o.json", "o.tex", "o.md"]) == 0
    found = json.loads(Path("o.json").read_text())
    assert found["added"] == 96
    assert found["judges"] == ["LLM:org/m"]
    assert len(found["conclusions"]) == 5
    assert found["both"]["rows"][0]["judged"] == 1.0
    assert found["rows"][0]["judged"] < 1.0
    assert "LLM:org/m" in Path("o.tex").read_text()
    assert "LLM:org/m" in Path("o.md").read_text()


def test_a_useless_judge_is_named_again(job, capsys):
    with serving(guessing) as server:
        main(at(server, job, "--sample", "90", "--unjudged"))
    capsys.readouterr()
    assert evaluate(["--qrels", "people.txt", "--llm-qrels", "people.llm.txt", "--runs", "one.trec", "two.trec"]) == 0
    assert "LLM:org/m: this judge does not agree with the assessors beyond chance: quadratic" in capsys.readouterr().out


def test_a_row_whose_teacher_judged_is_marked(judgments, capsys):
    write_sidecar(Path("two.trec"), inputs={}, teacher="scores: x; llm: org/m")
    assert evaluate(judgments) == 0
    out = capsys.readouterr().out
    assert "two †" in out
    assert "one †" not in out
    kept = [line for line in open("people.llm.txt") if int(line.split()[2][-1]) % 2 == 0]
    Path("both.txt").write_text(Path("people.txt").read_text() + "".join(kept))
    assert evaluate(["--qrels", "both.txt", *judgments[4:]]) == 0  # no sidecar: the mark names the model
    assert "two †" in capsys.readouterr().out


def test_judgments_of_an_llm_alone_are_measured_and_said_to_be(judgments, capsys):
    assert evaluate(["--qrels", "people.llm.txt", *judgments[4:]]) == 0
    out, err = capsys.readouterr()
    assert "LLM:org/m made every judgment; no person's are given" in err
    assert "With " not in out


def test_a_persons_judgments_are_not_taken_as_an_llms(judgments, capsys):
    assert evaluate(["--qrels", "people.llm.txt", "--llm-qrels", "people.txt", *judgments[4:]]) == 2
    assert "so a person judged it; give people's judgments as --qrels" in capsys.readouterr().err
