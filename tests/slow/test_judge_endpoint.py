"""A real small model behind a real endpoint grades a hundred judged documents of the sample that ships."""

import json
from pathlib import Path

import pytest

from rrarank.judge.__main__ import main

pytestmark = pytest.mark.slow


def test_a_hundred_documents_are_graded_and_the_useless_judge_is_recognised(endpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model, url = endpoint
    flags = ["--qrels", "sample.txt", "--runs", "bm25.trec", "--sample", "100", "--output", "o.txt"]
    bounds = ["--max-tokens", "48", "--in-flight", "1", "--timeout", "300", "--total-timeout", "600"]
    assert main([*flags, "--model", model, "--base-url", url, *bounds]) in (0, 7)  # 7: some answers hold no grade
    found = json.loads(Path("o.txt.json").read_text())
    assert found["failed"] == []
    assert found["agreement"]["pairs"] + sum(found["faults"].values()) == 100
    assert found["agreement"]["verdict"] == "useless"
    assert "this judge does not agree with the assessors beyond chance: " in capsys.readouterr().err
