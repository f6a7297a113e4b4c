"""Good and broken submissions told apart, each rule by a line of the table."""

import pytest

from rrarank.data.submission import check_submission, find_faults
from rrarank.errors import RrarankError
from rrarank.rerank.__main__ import main as rerank
from rrarank.trec import main

GOOD = ["1 Q0 b 1 2.5 my-run_1.0", "1 Q0 a 2 1e-3 my-run_1.0", "2 Q0 b 1 -7 my-run_1.0"]


def faults(lines, wanted=("1", "2"), max_hits=3):
    return list(find_faults(lines, wanted, max_hits))


def test_a_good_run_has_no_fault():
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("line", "instead", "fault"),
    [
        (0, "1 Q0 b 1 2.5", ":1: 5 columns, expected 6 (qid Q0 docid rank score tag)"),
        (0, "", ":1: 0 columns, expected 6 (qid Q0 docid rank score tag)"),
        (0, "1 0 b 1 2.5 my-run_1.0", ":1: '0' in column 2, expected Q0"),
        (1, "1 Q0 a 3 1e-3 my-run_1.0", ":2: rank 3, expected 2 (from 1, without gaps, in the order of the file)"),
        (0, "1 Q0 b 0 2.5 my-run_1.0", ":1: rank 0, expected 1 (from 1, without gaps, in the order of the file)"),
        (1, "1 Q0 b 2 1e-3 my-run_1.0", ":2: docid 'b' occurs twice under query '1'"),
        (1, "1 Q0 a 2 nan my-run_1.0", ":2: score 'nan' is not finite as float32; trec_eval cannot sort it"),
        (0, "1 Q0 b 1 inf my-run_1.0", ":1: score 'inf' is not finite as float32; trec_eval cannot sort it"),
        (1, "1 Q0 a 2 high my-run_1.0", ":2: score 'high' is not a number (column 5)"),
        (1, "1 Q0 a 2 9 my-run_1.0", ": query '1': scores rise with the rank, expected falling"),
        (1, "1 Q0 c 2 2.5 my-run_1.0", ": query '1': tied scores, which trec_eval orders differently from the ranks"),
        (1, "1 Q0 c 2 2.49999999 my-run_1.0", ": query '1': tied scores, which trec_eval orders differently"),
        (1, "1 Q0 a 2 1e-3 other", ": 2 tags ('my-run_1.0', 'other'), expected one"),
        (2, "3 Q0 b 1 -7 my-run_1.0", ":3: query '3' is not in the topics"),
        (2, "1 Q0 c 3 -7 my-run_1.0", ": no hits for 1 of 2 queries ('2')"),
    ],
)
def test_each_rule(line, instead, fault):
    broken = [*GOOD[:line], instead, *GOOD[line + 1 :]]
    assert any(found.startswith(fault) for found in faults(broken)), faults(broken)


@pytest.mark.parametrize("tag", ["a" * 21, "über", "a/b"])
def test_tags_that_trec_does_not_take(tag):
    assert f":1: tag {tag!r}, expected 1 to 20 of A-Z a-z 0-9 _ . -" in faults([f"1 Q0 b 1 2 {tag}"], wanted=["1"])


def test_too_many_hits():
    assert faults(GOOD, max_hits=1) == [": query '1' has 2 hits, at most 1 are allowed"]


def test_tied_scores_in_trec_evals_own_order_are_fine():
    assert faults(["1 Q0 b 1 1 t", "1 Q0 a 2 1 t"], wanted=["1"]) == []


def test_all_faults_are_named_at_once_up_to_a_limit(tmp_path):
    path = tmp_path / "r.trec"
    path.write_text("x\n" * 50)
    with pytest.raises(RrarankError) as error:
        check_submission(path, ["1"])
    lines = str(error.value).splitlines()
    assert lines[0] == f"{path}: not fit to submit"
    assert lines[1].startswith(f"{path}:1: 1 columns")
    assert len(lines) == 22
    assert lines[-1] == "… and more"


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.trec").write_text("\n".join(GOOD) + "\n")
    (tmp_path / "t.tsv").write_text("1\tone\n2\ttwo\n")
    (tmp_path / "q.txt").write_text("1 0 a 1\n3 0 b 1\n")
    (tmp_path / "c.tsv").write_text("a\tA\nb\tB\n")
    return tmp_path


def test_the_command_says_yes_or_why_not(files, capsys):
    assert main(["check", "r.trec", "--topics", "t.tsv"]) == 0
    assert "r.trec: 2 queries, fit to submit" in capsys.readouterr().err
    assert main(["check", "r.trec", "--topics", "t.tsv", "--qrels", "q.txt"]) == 2
    assert "r.trec: no hits for 1 of 3 queries ('3')" in capsys.readouterr().err


def test_rerank_writes_only_submissions_that_pass(files, capsys):
    job = ["--run", "r.trec", "--collection", "c.tsv", "--reranker", "bm25", "--submission"]
    assert rerank([*job, "--topics", "t.tsv", "--output", "ok.trec"]) == 0
    assert (files / "ok.trec").exists()
    (files / "more.tsv").write_text("1\tone\n2\ttwo\n3\tthree\n")
    assert rerank([*job, "--topics", "more.tsv", "--output", "bad.trec"]) == 2
    assert "bad.trec: no hits for 1 of 3 queries ('3')" in capsys.readouterr().err
    assert not [path for path in files.iterdir() if path.name.startswith((".bad", "bad.trec.json"))]
    assert not (files / "bad.trec").exists()
    assert rerank([*job, "--topics", "t.tsv", "--output", "-"]) == 2
