"""Record what an LLM answers about judged documents of the sample that ships, for tests/judge to replay.

    python -m benchmarks quality judge_answers MODEL BASE_URL ANSWERS.jsonl [--documents 100]

It asks as `rrarank judge --qrels sample.txt --runs bm25.trec --sample 100` does. What ANSWERS.jsonl holds is not
asked for again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rrarank.judge.inputs import Pooling, load_judge_inputs
from rrarank.judge.pool import Pair
from rrarank.llm.base import Answer, LLMConfig
from rrarank.llm.grade_answers import read_grade
from rrarank.llm.grader import Grader, load_grade_prompt
from rrarank.llm.load import load_llm
from rrarank.llm.questions import is_complete
from rrarank.sources.inputs import Origins
from rrarank.storage.files import read_lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Record an LLM's answers about judged documents of the sample.")
    parser.add_argument("model")
    parser.add_argument("base_url")
    parser.add_argument("answers", type=Path)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--max-tokens", type=int, default=48)
    flags = parser.parse_args()
    pooling = Pooling(unjudged=False, sample=flags.documents)
    inputs = load_judge_inputs("sample.txt", ["bm25.trec"], Origins(), pooling)
    bounds = {"max_tokens": flags.max_tokens, "in_flight": 1, "timeout_s": 300, "total_s": 600}
    grader = Grader(load_llm(LLMConfig(flags.model, flags.base_url, **bounds)), load_grade_prompt())
    lines = read_lines(flags.answers) if flags.answers.exists() else ()
    known = {(one["qid"], one["docid"]) for one in map(json.loads, lines)}
    questions = {
        pair: grader.question(inputs.topics[pair.qid], inputs.texts[pair.docid])[1]
        for pair in inputs.pairs
        if pair not in known
    }
    with flags.answers.open("a", encoding="utf-8") as file:
        for key, outcome in grader.llm.answers((" ".join(pair), chat) for pair, chat in questions.items()):
            if isinstance(outcome, Answer):
                said = {"answer": outcome.text, "finish_reason": outcome.finish_reason}
                print(json.dumps({**Pair(*key.split())._asdict(), **said}, ensure_ascii=False), file=file, flush=True)
                print(key, read_grade(outcome.text, finished=is_complete(outcome)))


if __name__ == "__main__":
    main()
