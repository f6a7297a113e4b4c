"""What --dry-run foresees, against what a real endpoint then counted for a real small model."""

import json
import re
from pathlib import Path

import pytest

from rrarank.rerank.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
WAYS = {
    "listwise-llm": ["window=4", "step=2"],
    "setwise-llm": ["sort=bubblesort", "group=3", "top=2"],
    "pairwise-llm": ["sort=bubblesort", "top=1"],
    "pointwise-llm": [],
}


def two_queries():
    """Flags for the first two queries of the sample, and their queries and texts."""
    lines = (ROOT / "runs" / "bm25.trec").read_text().splitlines(True)
    Path("two.trec").write_text("".join(line for line in lines if line.split()[0] in ("1", "2")))
    sample = ROOT / "prebuilt" / "sample"
    return [
        "--run",
        "two.trec",
        "--topics",
        str(sample / "topics.tsv"),
        "--collection",
        str(sample / "collection.jsonl"),
    ]


@pytest.mark.parametrize("name", WAYS)
def test_questions_are_foreseen_exactly_and_prompt_tokens_within_two_percent(
    name, endpoint, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    model, url = endpoint
    options = [f"base_url={url}", f"tokenizer={model}", "max_tokens=8", "in_flight=1", "timeout_s=600", "total_s=1200"]
    job = [*two_queries(), "--depth", "6", "--reranker", name, "--model", model]
    job += ["--max-length", "60", *(part for option in [*options, *WAYS[name]] for part in ("--option", option))]
    assert main([*job, "--output", "o.trec", "--dry-run"]) == 0
    plan = capsys.readouterr().err
    assert main([*job, "--output", "o.trec"]) in (0, 4, 7)  # some answers of a model this small name nothing
    said = capsys.readouterr().err
    found = re.search(r"would ask ([\d,]+) questions, ([\d,]+) tokens asked", plan)
    assert found, plan
    questions, tokens = (int(number.replace(",", "")) for number in found.groups())
    if not Path("o.trec.json").exists():
        pytest.skip(said)
    counted = json.loads(Path("o.trec.json").read_text())["tokens"]
    assert counted["questions"] == questions
    assert counted["asked"] == pytest.approx(tokens, rel=0.02)
    print(f"{name}: {questions} questions; {tokens:,} tokens foreseen, {counted['asked']:,} counted")
