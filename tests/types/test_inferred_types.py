"""What an editor infers for the public API: mypy --strict on a user's program, each `reveal_type` compared."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """\
from pathlib import Path

import rrarank

reveal_type(rrarank.load_reranker())  # Pointwise
reveal_type(rrarank.load_reranker("cross-encoder", model="folder", threads=2))  # Pointwise
reveal_type(rrarank.load_reranker("rra-bert-mini"))  # Pointwise
reveal_type(rrarank.load_reranker(Path("folder")))  # Pointwise
reveal_type(rrarank.load_reranker("listwise-llm"))  # Reranker
reveal_type(rrarank.load_reranker("owner/name", device="cpu"))  # Reranker
found = rrarank.rank("query", ["text"])
reveal_type(found)  # RankedDocuments
reveal_type(found[0])  # RankedDocument
reveal_type(found[:2])  # RankedDocuments
reveal_type(found[0].score)  # float
reveal_type(found[0].text)  # str
many = rrarank.rank_many({"q1": "query"}, ["text"])
reveal_type(many)  # RankedLists
reveal_type(many[0])  # RankedDocuments
reveal_type(many["q1"])  # RankedDocuments
reveal_type(many[:1])  # RankedLists
reveal_type(many.to_run())  # Run
run = rrarank.rerank_run("bm25.trec", topics={"q1": "query"}, collection={"d1": "text"})
reveal_type(run)  # Run
reveal_type(rrarank.rerank_run(run, model="rra-bert", depth=20, top_k=10))  # Run
reveal_type(run["q1"][0].docid)  # str
reveal_type(rrarank.fuse_runs([run, "bm25.trec", {"q1": {"d1": 1.0}}]))  # Run
reveal_type(rrarank.evaluate_runs({"q1": {"d1": 1}}, {"a": run, "b": {"q1": {"d1": 1.0}}}))  # Evaluation
reveal_type(rrarank.evaluate_runs("sample.txt", ["bm25.trec"]).rows[0].means["ndcg@10"])  # float
reveal_type(rrarank.label_run(run, rrarank.ScorerConfig("monot5")))  # list[str]
reveal_type(rrarank.load_inputs("bm25.trec").topics)  # Mapping[str, str]
reveal_type(rrarank.model_path("rra-bert-mini"))  # Path


async def main() -> None:
    reveal_type(await rrarank.arank("query", ["text"]))  # RankedDocuments
    reveal_type(await rrarank.arank_many(["query"], ["text"]))  # RankedLists
"""


def test_an_editor_infers_what_the_comments_say(tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed (extra `dev`)")
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(tmp_path / "program.py")]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    lines = enumerate(PROGRAM.splitlines(), start=1)
    wanted = {number: line.split("  # ")[1] for number, line in lines if "reveal_type(" in line}
    found = re.findall(r'program\.py:(\d+): note: Revealed type is "(.*)"', said)
    assert {int(number): re.sub(r"(\w+\.)+", "", kind) for number, kind in found} == wanted, said
    assert ": error:" not in said
