"""From the start of a process to the first answer: seconds, processor time and memory, beside other tools.

    python -m benchmarks speed first_answer --export FOLDER [--rounds 5] [--threads 1] [--output FILE.json]

FOLDER is what `python -m rrarank.export --backend onnx --precision int8` wrote. Each side has a fresh process, which
ranks the sample's first query, 20 passages, and prints the docid of the best one. Rounds are interleaved; medians are
shown. FlashRank reads the same int8 file: it takes only models of names that it knows, so a copy gets one of them. A
tool that is not installed is left out: `pip install --no-deps FlashRank`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from benchmarks.common import conclude, interleaved, machine, show
from rrarank.cli.parser import positive
from rrarank.storage.model_folders import ENCODER

PASSAGES = 20
FLASHRANK = ("ms-marco-MiniLM-L-12-v2", "flashrank-MiniLM-L-12-v2_Q.onnx")  # a name of its own, and that model's file

_ASKED = """
import json, sys
asked = json.load(open(sys.argv[2]))
"""
_RANK = (
    _ASKED
    + """
import rrarank
settings = {settings!r}
model = rrarank.load_reranker("cross-encoder", model=sys.argv[1], **settings)
print(rrarank.rank(asked["query"], asked["documents"], model=model)[0].id)
"""
)
_FLASHRANK = (
    _ASKED
    + """
from flashrank import Ranker, RerankRequest
ranker = Ranker(model_name={name!r}, cache_dir=sys.argv[3], log_level="ERROR")
found = ranker.rerank(RerankRequest(query=asked["query"], passages=asked["documents"]))
print(found[0]["id"])
"""
)
_CROSS_ENCODER = (
    _ASKED
    + """
from sentence_transformers import CrossEncoder
model = CrossEncoder(sys.argv[1], device="cpu")
found = model.rank(asked["query"], [one["text"] for one in asked["documents"]])
print(asked["documents"][found[0]["corpus_id"]]["id"])
"""
)
_FIRST = """
import sys
from rrarank.__main__ import main
sys.argv[0] = "rrarank"
main(["rerank", *sys.argv[1:]])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="From the start of a process to the first answer.")
    parser.add_argument("--export", type=Path, required=True, metavar="FOLDER", help="an int8 export for ONNX Runtime")
    parser.add_argument("--rounds", type=positive, default=5, help="interleaved; medians are shown")
    parser.add_argument("--threads", type=positive, default=1, help="of the CPU")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    flags = parser.parse_args()
    if not (flags.export / ENCODER).is_file():
        parser.error(f"{flags.export}: no {ENCODER}; export the model again")
    with tempfile.TemporaryDirectory() as folder:
        commands = sides(flags.export.resolve(), Path(folder), flags.threads)
        found = interleaved(commands, flags.rounds, lambda name, _: first_answer(commands[name], flags.threads, folder))
    rows = [
        {
            "from start to first answer": name,
            "seconds": median(one["seconds"] for one in values),
            "processor s": median(one["processor_s"] for one in values),
            "peak MB": median(one["peak_mb"] for one in values),
            "best": values[0]["best"],
        }
        for name, values in found.items()
    ]
    show(rows, {"peak MB": ",.0f"})
    conclude(flags.output, machine(flags.threads, TOOLS) | {"rounds": flags.rounds}, rows=rows)


TOOLS = ("rrarank", "onnxruntime", "tokenizers", "torch", "transformers", "sentence-transformers", "FlashRank")


def sides(export: Path, folder: Path, threads: int) -> dict[str, Sequence[str]]:
    """Name -> arguments of Python."""
    asked = str(_write_sample(folder))
    model = str(export)
    int8 = {"backend": "onnx", "precision": "int8", "threads": threads}
    command = [*("--run", "one.trec", "--topics", "topics.tsv", "--collection", "texts.jsonl", "--output", "-")]
    command += ["--reranker", "cross-encoder", "--model", model, "--threads", str(threads)]
    found: dict[str, Sequence[str]] = {
        "python -c pass": ["-c", "print()"],
        "rrarank rerank, int8": ["-c", _FIRST, *command, "--backend", "onnx", "--precision", "int8"],
        "rrarank.rank, int8": ["-c", _RANK.format(settings=int8), model, asked],
    }
    if find_spec("flashrank"):
        code = _FLASHRANK.format(name=FLASHRANK[0])
        found["FlashRank, the same int8 file"] = ["-c", code, model, asked, str(_flashrank_cache(export, folder))]
    torch = {"backend": "torch", "precision": "fp32", "threads": threads}
    found["rrarank.rank, torch"] = ["-c", _RANK.format(settings=torch), model, asked]
    found["CrossEncoder of sentence-transformers"] = ["-c", _CROSS_ENCODER, model, asked]
    return found


def _write_sample(folder: Path) -> Path:
    """The sample's first query and passages: as JSON, and as the files of `rrarank rerank`."""
    from rrarank.sources.sample import sample_rankings

    [ranking] = sample_rankings(PASSAGES, queries=1)
    documents = [{"id": one.docid, "text": one.text} for one in ranking.candidates]
    (folder / "asked.json").write_text(json.dumps({"query": ranking.query.text, "documents": documents}))
    (folder / "topics.tsv").write_text(f"{ranking.query.qid}\t{ranking.query.text}\n")
    (folder / "texts.jsonl").write_text(
        "".join(json.dumps({"id": one["id"], "contents": one["text"]}) + "\n" for one in documents)
    )
    run = (f"{ranking.query.qid} Q0 {c.docid} {n} {c.score} bm25\n" for n, c in enumerate(ranking.candidates, start=1))
    (folder / "one.trec").write_text("".join(run))
    return folder / "asked.json"


def _flashrank_cache(export: Path, folder: Path) -> Path:
    """A cache of FlashRank's that holds the export under one of its names."""
    model = folder / "flashrank" / FLASHRANK[0]
    model.mkdir(parents=True)
    shutil.copyfile(export / "onnx" / "model_int8.onnx", model / FLASHRANK[1])
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(export / name, model / name)
    settings = json.loads((export / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]", **settings}))
    (model / "special_tokens_map.json").write_text("{}")  # tokenizer.json has them
    return model.parent


def first_answer(arguments: Sequence[str], threads: int, folder: str) -> dict[str, float | str]:
    """Run a process; its wall-clock seconds, its processor time, its peak memory, and the docid that it put first."""
    settings = {name: str(threads) for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")}
    settings |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    said, errors = process.stdout.read(), process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"a side failed:\n{errors}")
    words = said.split()
    best = words[2] if len(words) > 1 else "".join(words)  # of a run, or printed alone
    used_s = used.ru_utime + used.ru_stime
    return {"seconds": seconds, "processor_s": used_s, "peak_mb": used.ru_maxrss * 1024 / 1e6, "best": best}


if __name__ == "__main__":
    main()
