"""`reproduce nanobeir` and `bright` end to end: miniature collections in ir_datasets' own layout, local models."""

import json
import os
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hub_folders import (  # type: ignore[import-not-found]  # pytest finds it beside this file's folder
    ETTIN,
    THINKING,
    causal_folder,
    classifier_folder,
    modular_folder,
    qwen_tokenizer,
)

pytestmark = pytest.mark.slow
WORDS = "cat dog tea bread mat long short why how what sat about".split()


def texts(count, seed):
    rng = random.Random(seed)
    return {f"d{n}": " ".join(rng.choices(WORDS, k=12)) for n in range(count)}


def write(path, rows):
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """What a download of nano-beir/arguana and bright/pony would have left, in small."""
    if find_spec("pyarrow") is None:
        pytest.skip("pip install pyarrow")
    import ir_datasets

    folder = tmp_path_factory.mktemp("ir_datasets")
    places = json.loads((Path(ir_datasets.__file__).parent / "etc" / "downloads.json").read_text())
    docs = texts(30, 1)
    nano = {part: folder / "nano-beir" / places["nano-beir"][f"arguana/{part}"]["cache_path"] for part in PARTS}
    write(nano["docs"], [{"_id": docid, "text": text} for docid, text in docs.items()])
    write(nano["queries"], [{"_id": f"d{n}", "text": docs[f"d{n}"]} for n in range(12)])
    write(nano["qrels"], [{"query-id": f"d{n}", "corpus-id": f"d{n + 12}"} for n in range(12)])
    bright = {name: place["cache_path"] for name, place in places["bright"].items() if name.startswith("pony/")}
    write(folder / "bright" / bright["pony/docs"], [{"id": docid, "content": text} for docid, text in docs.items()])
    queries = [
        {"id": str(n), "query": docs[f"d{n}"], "reasoning": "", "gold_answer": "", "gold_ids": [f"d{n + 12}"]}
        | {"excluded_ids": [f"d{n}"], "gold_ids_long": ["N/A"]}
        for n in range(12)
    ]
    for name in bright.keys() - {"pony/docs"}:
        write(folder / "bright" / bright[name], queries)
    return folder


PARTS = ("docs", "queries", "qrels")


@pytest.fixture(scope="module")
def models(tmp_path_factory, cross_encoder_folder):
    """A small checkpoint in the architecture and layout of each of these rows."""
    from transformers import Qwen3ForCausalLM

    made = tmp_path_factory.mktemp("models")
    return {
        "minilm-l6": cross_encoder_folder,
        "ettin-32m": modular_folder(made / "ettin", ETTIN),
        "bge-reranker-v2-m3": classifier_folder(made / "bge", "xlm-roberta"),
        "qwen3-reranker-06b": causal_folder(made / "qwen3", Qwen3ForCausalLM, qwen_tokenizer(THINKING)),
    }


def reproduce(home, *arguments):
    environment = os.environ | {"IR_DATASETS_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    typed = [sys.executable, "-m", "rrarank.reproduce", *map(str, arguments)]
    return subprocess.run(typed, env=environment, capture_output=True, text=True)


ROWS = ["minilm-l6", "ettin-32m", "bge-reranker-v2-m3", "qwen3-reranker-06b"]


@pytest.mark.parametrize(("table", "column", "rows"), [("nanobeir", "arguana", ROWS), ("bright", "pony", ROWS[:1])])
def test_a_table_is_filled_where_models_are_and_says_what_the_others_lack(table, column, rows, home, tmp_path, models):
    flags = [table, "--columns", column, "--rows", "rra-bert", *rows, "ettin-150m", "--allow-pickle"]
    given = [part for row in rows for part in ("--model", f"{row}={models[row]}")]
    ran = reproduce(home, *flags, *given, "--output", tmp_path / "t")
    found = json.loads((tmp_path / "t" / "table.json").read_text())["columns"][column]
    assert found["judged_queries"] == 12
    cells = found["cells"]
    assert {row for row, cell in cells.items() if cell["run"]} == {"bm25", "rra-bert", *rows}
    assert {row for row, cell in cells.items() if not cell["run"]} == {"ettin-150m"}
    assert "is not on disk" in cells["ettin-150m"]["absent"]
    own = [line.split() for line in (tmp_path / "t" / column / "candidates.trec").read_text().splitlines()]
    assert not [line for line in own if line[2] == (line[0] if table == "nanobeir" else f"d{line[0]}")]
    assert ran.returncode == (0 if table == "nanobeir" else 7), ran.stderr  # 7: the expected score is the real set's


def test_offline_every_cell_says_what_it_lacks_and_the_exit_code_is_4(tmp_path):
    ran = reproduce(tmp_path / "empty", "nanobeir", "--columns", "nfcorpus", "--output", tmp_path / "t")
    assert ran.returncode == 4, ran.stderr
    found = json.loads((tmp_path / "t" / "table.json").read_text())["columns"]["nfcorpus"]
    assert "not on disk and could not be downloaded" in found["absent"]
