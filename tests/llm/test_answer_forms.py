"""Forms in which models give a ranking after thinking aloud: the last full list is the answer."""

import pytest

from rrarank.llm.listwise import parse_answer

THOUGHT = "Passage [1] > [2] at first sight, but the last ones fit better."
FULL = "[4] > [3] > [2] > [1]"
ROWS = '[{"id": 4, "score": 0.9}, {"id": 3, "score": 0.5}, {"id": 2, "score": 0.2}, {"id": 1, "score": 0}]'
TABLE = "| Rank | Passage |\n|---|---|\n| 1 | [4] |\n| 2 | [3] |\n| 3 | [2] |\n| 4 | [1] |"
LINES = "1. [4] - names the year\n2. [3] - names the place\n3. [2] - related\n4. [1] - off topic"
FORMS = {
    "gpt-oss harmony": f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>"
    + FULL,
    "Kimi ◁think▷": f"◁think▷{THOUGHT}◁/think▷{FULL}",
    "<seed:think>": f"<seed:think>{THOUGHT}</seed:think>{FULL}",
    "Granite's two headings": f"Here is my thought process: {THOUGHT}\n\nHere is my response:\n{FULL}",
    "a corrected list": f"[1] > [2] > [3] > [4]\n\nWait, the last one names the year. Corrected:\n{FULL}",
    "Japanese counter": f"{THOUGHT}\n\n順位: 4番 > 3番 > 2番 > 1番",
    "Chinese ordinal": f"{THOUGHT}\n最终排序：第4段 > 第3段 > 第2段 > 第1段",
    "JSON rows": f"{THOUGHT}\n{ROWS}",
    "a table": f"{THOUGHT}\n\n{TABLE}",
    "lines with reasons": f"{THOUGHT}\n\n{LINES}",
}


@pytest.mark.parametrize("form", FORMS)
def test_the_final_ranking_is_read(form):
    assert parse_answer(FORMS[form], 4).order == (3, 2, 1, 0)
