"""What SmolLM2-135M-Instruct answered about a hundred judged documents of the sample that ships, replayed.

Recorded from `transformers serve`; `python -m benchmarks quality judge_answers` records such a file.
"""

import json
from importlib import resources
from pathlib import Path

from openai_server import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    Reply,
    completion,
    serving,
)

from rrarank import read_topics
from rrarank.judge.__main__ import main
from rrarank.llm.prompts import neutralise

RECORDED = [json.loads(line) for line in open(Path(__file__).with_name("smollm2-answers.jsonl"), encoding="utf-8")]


def replay():
    """The recorded answer to each question, known by its query and passage."""
    sample = Path(str(resources.files("rrarank.prebuilt") / "sample"))
    topics = read_topics(sample / "topics.tsv")
    texts = {one["id"]: one["contents"] for one in map(json.loads, open(sample / "collection.jsonl", encoding="utf-8"))}
    answers = {
        (neutralise(topics[one["qid"]]), neutralise(texts[one["docid"]])): (one["answer"], one["finish_reason"])
        for one in RECORDED
    }

    def answer(request, nth):
        asked = request["messages"][-1]["content"]
        [found] = [said for (query, text), said in answers.items() if f"Query: {query}\nPassage: {text}\n" in asked]
        return Reply(completion(request, content=found[0], finish_reason=found[1]))

    return answer


def test_a_small_model_that_writes_prose_is_named_as_useless(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = [
        "--qrels",
        "sample.txt",
        "--runs",
        "bm25.trec",
        "--sample",
        "100",
        "--output",
        "o.txt",
        "--model",
        "smollm2",
    ]
    with serving(replay()) as server:
        assert main([*flags, "--base-url", server.url, "--max-tokens", "48"]) == 7
        assert len(server.requests) == len(RECORDED) == 100
    err = capsys.readouterr().err
    assert "5 of 100 documents graded (grade 0: 0, grade 1: 5, grade 2: 0, grade 3: 0)" in err
    assert "95 answers hold no grade (cut short 65, no grade 30: " in err
    assert "does not agree with the assessors beyond chance: it gave no grade to 95 of 100 documents" in err
    found = json.loads(Path("o.txt.json").read_text())
    assert (found["agreement"]["pairs"], found["agreement"]["verdict"]) == (5, "useless")
    assert found["faults"] == {"cut short": 65, "no grade": 30}
