"""A set from clicks: listed by clicks per look, missing where people looked and did not click, unknown elsewhere."""

import json
from pathlib import Path

import pytest
from online_log import make_log  # type: ignore[import-not-found]  # pytest finds it beside this folder

from rrarank.data.distillation_set import read_set, teacher_name
from rrarank.data.ubi_files import write_log
from rrarank.sets.__main__ import main

DOCS = [f"d{number}" for number in range(5)]
ATTRACTION = {q: dict(zip(DOCS, [0.05, 0.0, 0.5, 0.8, 0.05], strict=True)) for q in ("1", "2")}
ARMS = {"one": dict.fromkeys(ATTRACTION, DOCS), "two": dict.fromkeys(ATTRACTION, DOCS[::-1])}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = make_log(ARMS, ATTRACTION, users=150)
    write_log("log", log.queries, log.events)
    texts = [{"id": docid, "contents": f"text of {docid}"} for docid in [*DOCS, "unseen"]]
    Path("texts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in texts))
    Path("first.trec").write_text("1 Q0 unseen 1 2 first\n1 Q0 d0 2 1 first\n2 Q0 d0 1 1 first\n")


def test_the_order_is_that_of_attraction_not_of_clicks():
    assert main(["from-clicks", "log", "--collection", "texts.jsonl", "--output", "set.jsonl"]) == 0
    first, _ = sorted(read_set("set.jsonl"), key=lambda label: label.query.qid)
    assert first.listed[:2] == ("d3", "d2")
    assert "d1" in first.missing
    assert first.query.text == "words of 1"
    assert teacher_name(first) == "clicks: pbm"
    assert main(["validate", "set.jsonl"]) == 0


def test_what_nobody_was_shown_is_unknown():
    flags = ["--run", "first.trec", "--topics", "topics.tsv", "--collection", "texts.jsonl"]
    Path("topics.tsv").write_text("1\tthe first query\n2\tthe second\n")
    assert main(["from-clicks", "log", *flags, "--output", "set.jsonl"]) == 0
    first, second = sorted(read_set("set.jsonl"), key=lambda label: label.query.qid)
    assert first.unknown == ("unseen",)
    assert second.unknown == ()
    assert first.query.text == "the first query"


def test_what_was_hardly_looked_at_is_unknown_and_not_missing():
    flags = ["--collection", "texts.jsonl", "--looks", "100000", "--output", "set.jsonl"]
    assert main(["from-clicks", "log", *flags]) == 0
    assert all("d1" in label.unknown for label in read_set("set.jsonl"))


def test_the_sidecar_says_who_taught_it():
    main(["from-clicks", "log", "--collection", "texts.jsonl", "--click-model", "cascade", "--output", "set.jsonl"])
    sidecar = json.loads(Path("set.jsonl.json").read_text())
    assert sidecar["teacher"] == "clicks: cascade"
    assert sidecar["examination"][0] == 1


def test_texts_are_needed(capsys):
    assert main(["from-clicks", "log", "--output", "set.jsonl"]) == 2
    assert "has a text, clicks, and texts of documents" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--experiment", "f"], "log: no experiment 'f' (known: e)"),
        (["--looks", "nan"], "--looks nan: expected 0 looks or more"),
    ],
)
def test_odd_flags_are_one_line(capsys, flags, said):
    assert main(["from-clicks", "log", "--collection", "texts.jsonl", "--output", "set.jsonl", *flags]) == 2
    assert said in capsys.readouterr().err
    assert not Path("set.jsonl").exists()
