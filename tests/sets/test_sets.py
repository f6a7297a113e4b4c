"""Sets at the command line: what each act says and writes, and what it refuses."""

import json
import re
from dataclasses import replace

import pytest

from rrarank.data.distillation_set import read_set, write_set
from rrarank.data.trec import read_qrels, read_run
from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.sets.__main__ import main
from rrarank.storage.sidecar import read_sidecar


def label(qid, listed="", missing="", unknown=""):
    shown = tuple(Candidate(docid, f"text {docid}", 0.0) for docid in sorted(listed + missing + unknown))
    return LabelledRanking(
        Query(qid, "tea"), shown, tuple(listed), tuple(missing), tuple(unknown), provenance={"teacher": "llm"}
    )


LABELS = [
    label("1", "ba", "c"),
    label("2", "ab"),
    label("3", unknown="ab"),
    *(label(f"q{n}", "a", "b") for n in range(9)),
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_set("set.jsonl", LABELS)
    return tmp_path


def written(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "set.jsonl")


def test_validate_says_yes_or_names_every_fault(folder, capsys):
    assert main(["validate", "set.jsonl"]) == 0
    assert capsys.readouterr().err == "set.jsonl: 12 queries, no fault\n"
    line = (folder / "set.jsonl").read_text().splitlines()[0]
    (folder / "bad.jsonl").write_text("\n".join([line.replace('["c"]', '["c", "x"]'), "{", line]))
    assert main(["validate", "bad.jsonl"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: bad.jsonl: not fit to train on",
        "bad.jsonl:1: query '1': 'x': listed, missing or unknown, but not shown",
        "bad.jsonl:2: not JSON (Expecting property name enclosed in double quotes at column 2)",
        "bad.jsonl:3: query '1' occurs twice; keep one line",
    ]


def test_many_faults_are_cut_short(folder, capsys):
    (folder / "bad.jsonl").write_text("{\n" * 50)
    assert main(["validate", "bad.jsonl"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[-1]) == (22, "… and more")


def test_statistics_are_a_table_on_stdout(capsys):
    assert main(["statistics", "set.jsonl"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["queries", "12"] in rows
    assert ["with", "pairs", "11"] in rows
    assert ["verdict:", "ok", "12"] in rows
    assert ["missing,", "per", "query", "0.8", "0", "1"] in rows
    assert ["pairs,", "listed", ">", "missing", "11"] in rows


def test_split_writes_both_parts_with_their_sidecars(folder):
    assert main(["split", "set.jsonl", "--share", ".3", "--seed", "1", "--output", "train.jsonl", "dev.jsonl.gz"]) == 0
    rest, held_out = read_set("train.jsonl"), read_set("dev.jsonl.gz")
    assert sorted([*rest, *held_out], key=LABELS.index) == LABELS
    assert held_out
    sidecar = read_sidecar(folder / "dev.jsonl.gz")
    assert sidecar is not None
    assert sidecar.content["config"] == {"share": 0.3, "seed": 1, "held_out": True}
    assert sidecar.input("set") == folder / "set.jsonl"
    assert sidecar.content["teacher"] == "llm"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_same_act_gives_the_same_bytes(suffix, folder):
    for name in ("one", "two"):
        assert main(["split", "set.jsonl", "--share", ".5", "--output", f"{name}a{suffix}", f"{name}b{suffix}"]) == 0
    assert (folder / f"onea{suffix}").read_bytes() == (folder / f"twoa{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("to", "queries", "columns"),
    [
        ("sentence-transformers", 11, ["query", "docs", "labels"]),
        ("flagembedding", 10, ["query", "pos", "neg", "pos_scores", "neg_scores"]),
        ("tevatron", 10, ["query_id", "query", "positive_passages", "negative_passages"]),
    ],
)
def test_export_writes_rows(to, queries, columns, folder, capsys):
    assert main(["export", "set.jsonl", "--to", to, "--output", "rows.jsonl"]) == 0
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == queries
    assert list(rows[0]) == columns
    assert capsys.readouterr().err == f"rows.jsonl: {queries} of 12 queries\n"
    assert written(folder) == ["rows.jsonl", "rows.jsonl.json"]


def test_export_of_positives_and_what_is_below_them(folder):
    job = ["export", "set.jsonl", "--to", "flagembedding", "--output", "rows.jsonl", "--positives", "1"]
    assert main([*job, "--below"]) == 0
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert [(row["pos"], row["neg"]) for row in rows[:2]] == [
        (["text b"], ["text c", "text a"]),
        (["text a"], ["text b"]),
    ]


def test_export_of_a_run(folder):
    assert main(["export", "set.jsonl", "--to", "trec", "--output", "t.trec", "--runtag", "gpt"]) == 0
    run = read_run("t.trec")
    assert run.tag == "gpt"
    assert [hit.docid for hit in run["1"]] == ["b", "a", "c"]
    assert "3" not in run
    assert main(["export", "set.jsonl", "--to", "trec", "--output", "t.trec", "--unknown", "--overwrite"]) == 0
    assert [hit.docid for hit in read_run("t.trec")["3"]] == ["a", "b"]


def test_qrels_know_their_teacher(folder):
    assert main(["qrels", "set.jsonl", "--output", "q.txt", "--grades", "2:1,1:*"]) == 0
    qrels = read_qrels("q.txt")
    assert qrels["1"] == {"b": 2, "a": 1, "c": 0}
    assert "3" not in qrels
    sidecar = read_sidecar(folder / "q.txt")
    assert sidecar is not None
    assert sidecar.content["teacher"] == "llm"
    assert sidecar.content["config"] == {"grades": "2:1,1:*"}


def test_stdout_is_for_the_output_alone(folder, capsys):
    assert main(["qrels", "set.jsonl", "--output", "-"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["1 0 b 3", "1 0 a 2"]
    assert main(["export", "set.jsonl", "--to", "tevatron", "--output", "-"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 10
    assert written(folder) == []


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("validate no.jsonl", "no.jsonl: no such file"),
        ("statistics bad.jsonl", "bad.jsonl:1: a JSON list, expected an object"),
        ("qrels bad.jsonl --output q", "bad.jsonl:1: a JSON list, expected an object"),
        ("qrels set.jsonl --output old", "old: exists already; give --overwrite to replace it"),
        ("export set.jsonl --to trec --output old", "old: exists already; give --overwrite to replace it"),
        ("split set.jsonl --output new old", "old: exists already; give --overwrite to replace it"),
        ("split set.jsonl --output new ./new", "--output: new and ./new would replace each other; expected two files"),
        ("split set.jsonl --output new new.json", "--output: new and new.json would replace each other"),
        ("split set.jsonl --output new set.jsonl --overwrite", "set.jsonl: would replace the input"),
        ("split set.jsonl --output new other --share 1e-9", "none of its 12 queries goes to other; give another"),
        ("qrels set.jsonl --output new.gz", "new.gz: outputs are not packed"),
        ("qrels set.jsonl --output new --grades 1:1,2:1", "grades '1:1,2:1': expected falling grades, and * only in"),
        ("export set.jsonl --to trec --output new --runtag a/b", "tag (--runtag) 'a/b': expected 1 to 20 of"),
        ("export plain.jsonl --to tevatron --output new", "none of its 1 queries has both positive and negative "),
    ],
)
def test_refused_in_one_line_and_nothing_is_left(command, message, folder, capsys):
    (folder / "bad.jsonl").write_text("[]\n")
    (folder / "old").write_text("old")
    write_set("plain.jsonl", [label("1", "ab")])
    assert main(command.split()) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert written(folder) == ["bad.jsonl", "old", "plain.jsonl"]
    assert (folder / "old").read_text() == "old"


@pytest.mark.parametrize(
    "command",
    [
        "",
        "splat set.jsonl",
        "split set.jsonl",
        "split set.jsonl --output a b --share 1",
        "export set.jsonl --to x --output y",
    ],
)
def test_usage_errors_are_one_line(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    assert stop.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert re.search("[sS]ee python -m rrarank.sets", line)


def test_show_prints_ranks_places_and_what_was_left_out(capsys):
    assert main(["show", "set.jsonl", "--queries", "1"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["1:", "tea", "(ok)"],
        ["1", "[2]", "b", "text", "b"],
        ["2", "[1]", "a", "text", "a"],
        ["missing", "[3]", "c", "text", "c"],
        [],
    ]


@pytest.mark.parametrize("act", [["qrels"], ["export", "--to", "trec"]])
def test_a_set_without_labels_makes_no_empty_file(act, folder, capsys):
    write_set("none.jsonl", [label("3", unknown="ab")])
    assert main([act[0], "none.jsonl", *act[1:], "--output", "out.json" if act == ["qrels"] else "out.trec"]) == 2
    assert "none.jsonl: none of its 1 queries has a label" in capsys.readouterr().err
    assert written(folder) == ["none.jsonl"]


# -- judge -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def qrels(folder):
    (folder / "q.txt").write_text("1 0 a 2\n1 0 c 0\n2 0 x 1\n3 0 a 1\nq4 0 b 1\n")


@pytest.mark.usefixtures("qrels")
def test_judge_lays_grades_beside_the_teacher_and_leaves_out_queries_without(folder, capsys):
    assert main(["judge", "set.jsonl", "--qrels", "q.txt", "--output", "j.jsonl"]) == 0
    found = {label.query.qid: label.provenance for label in read_set("j.jsonl")}
    assert found == {  # of query 2 the relevant document is not shown, of query 3 it is unknown
        "1": {"teacher": "llm", "grades": {"a": 2}},
        "q4": {"teacher": "llm", "grades": {"b": 1}},
    }
    assert capsys.readouterr().err == "j.jsonl: 2 of 12 queries show a relevant document\n"


@pytest.mark.usefixtures("qrels")
def test_a_judged_set_names_the_set_the_judgments_and_the_teacher(folder):
    assert main(["judge", "set.jsonl", "--qrels", "q.txt", "--output", "j.jsonl.gz"]) == 0
    sidecar = read_sidecar(folder / "j.jsonl.gz")
    assert sidecar is not None
    assert sidecar.input("set") == folder / "set.jsonl"
    assert sidecar.input("qrels") == folder / "q.txt"
    assert sidecar.content["teacher"] == "llm"


@pytest.mark.usefixtures("qrels")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("set.jsonl --qrels no.txt --output new", "no.txt: no such file"),
        ("set.jsonl --qrels other.txt --output new", "set.jsonl: other.txt judges no document of its 12 queries rele"),
        ("set.jsonl --qrels torn.txt --output new", "torn.txt:1: "),
        ("no.jsonl --qrels q.txt --output new", "no.jsonl: no such file"),
        ("set.jsonl --qrels q.txt --output old", "old: exists already; give --overwrite to replace it"),
        ("set.jsonl --qrels q.txt --output set.jsonl --overwrite", "set.jsonl: would replace the input"),
        ("set.jsonl --qrels q.txt --output q.txt --overwrite", "q.txt: would replace the input"),
    ],
)
def test_judge_refuses_in_one_line_and_nothing_is_left(command, message, folder, capsys):
    (folder / "other.txt").write_text("9 0 a 1\n")
    (folder / "torn.txt").write_text("1 0\n")
    (folder / "old").write_text("old")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["judge", *command.split()]) in (2, 4)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_show_prints_no_escape_sequences(folder, capsys):
    [first, *_] = read_set("set.jsonl")
    evil = "\x1b]0;owned\x07\x1b[2Jtea\u202e\x9b1m"
    shown = tuple(replace(candidate, text=f"{evil} {candidate.text}") for candidate in first.shown)
    reasons = {shown[0].docid: evil}
    write_set("evil.jsonl", [replace(first, query=Query("q", evil), shown=shown, reasons=reasons, faults=(evil,))])
    assert main(["show", "evil.jsonl"]) == 0
    out = capsys.readouterr().out
    assert "tea" in out
    assert all(letter.isprintable() or letter == "\n" for letter in out)
