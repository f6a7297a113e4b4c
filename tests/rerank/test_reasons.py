"""`--explain`: reasons beside the run, for the documents that have a text, or one line and no run."""

import json
import shutil

import pytest

from rrarank.rerank.__main__ import main
from rrarank.rerank.reasons import write_reasons


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_first_documents_that_have_a_text(tmp_path):
    ranked = {"2": ["a", "b", "c"], "1": ["b"], "3": ["a"]}
    texts = {"a": "tea", "c": "cat"}
    asked = lambda query, given: (f"{query}: {text}" for text in given)  # noqa: E731
    write_reasons(str(tmp_path / "run.trec"), ranked, asked, {"2": "q", "1": "p"}, texts)
    assert lines(tmp_path / "run.trec.reasons.jsonl") == [
        {"qid": "2", "docid": "a", "rank": 1, "reason": "q: tea"},
        {"qid": "2", "docid": "c", "rank": 3, "reason": "q: cat"},
    ]


@pytest.fixture
def job(tmp_path, rra_gpt_folder):
    silent = shutil.copytree(rra_gpt_folder, tmp_path / "silent")
    (silent / "config.json").write_text((silent / "config.json").read_text().replace('"reasons": 0.5', '"reasons": 0'))
    (tmp_path / "topics.tsv").write_text("1\twhat is a cat\n")
    (tmp_path / "texts.tsv").write_text("a\tthe cat sat\nb\ttea\n")
    (tmp_path / "bm25.trec").write_text("1 Q0 a 1 9 t\n1 Q0 b 2 8 t\n")
    flags = ["--run", str(tmp_path / "bm25.trec"), "--topics", str(tmp_path / "topics.tsv")]
    return [
        *flags,
        "--collection",
        str(tmp_path / "texts.tsv"),
        "--output",
        str(tmp_path / "out.trec"),
        "--device",
        "cpu",
    ]


def test_a_run_and_its_reasons(job, rra_gpt_folder, tmp_path, capsys):
    flags = ["--reranker", "rra-gpt", "--model", str(rra_gpt_folder), "--option", "reason_tokens=3"]
    assert main([*job, *flags, "--explain", "1"]) == 0
    [row] = lines(tmp_path / "out.trec.reasons.jsonl")
    assert row["rank"] == 1
    assert row["docid"] == (tmp_path / "out.trec").read_text().split()[2]
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "out.trec"),
        str(tmp_path / "out.trec.reasons.jsonl"),
    ]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--reranker", "bm25"], "the reranker 'bm25' gives scores and no reasons; rra-gpt does"),
        (["--reranker", "rra-gpt", "--model", "silent"], "silent: was trained without reasons"),
        (["--reranker", "rra-gpt", "--output", "-"], "--explain writes beside the run; give --output FILE"),
    ],
)
def test_what_cannot_explain_is_told_before_anything_is_scored(job, tmp_path, capsys, flags, said):
    given = [str(tmp_path / flag) if flag == "silent" else flag for flag in flags]
    assert main([*job, *given, "--explain", "3"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.trec").exists()
