"""A missing extra is one line and exit code 3, for every command and function that needs it."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rrarank
from rrarank.errors import MissingPrerequisite
from rrarank.extras import EXTRA_OF, check_installed, importing, missing

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {
    extra: {re.split(r"[\[<>=;]", line)[0] for line in lines}
    for extra, lines in PROJECT["optional-dependencies"].items()
}
FRAMEWORKS = {"haystack", "langchain", "llamaindex"}  # who uses one has it
NO_MODULE = {"docs", "dev", "offline"}  # tools; a model, without which the hub's is taken

RUN = """
import sys
sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(","))) # as if they were not installed
from rrarank.__main__ import main
sys.exit(main())
"""
RERANK = "rerank --run a.trec --topics topics.tsv --collection texts.jsonl"
LABEL = "label --run a.trec --topics topics.tsv --collection texts.jsonl --preranker bm25"
CASES = [
    ("ranx", "fuse --runs a.trec b.trec"),
    ("pyserini", "retrieve --index ix --collection texts.jsonl --topics topics.tsv --output o.trec"),
    ("jnius", "retrieve --index ix --collection texts.jsonl --topics topics.tsv --output o.trec"),
    ("pyserini", "rerank --run a.trec --topics topics.tsv --index lucene"),
    ("faiss", "retrieve --dense --index ix --collection texts.jsonl --topics topics.tsv --output o.trec"),
    ("httpx2", f"{RERANK} --reranker listwise-llm --model m --option base_url=http://127.0.0.1:9"),
    ("httpx2", f"{LABEL} --model m --base-url http://127.0.0.1:9"),
    (
        "pyserini",
        "generate --collection texts.jsonl --index lucene --model m --base-url http://127.0.0.1:9 --shortest-passage 1",
    ),
    ("accelerate", "train --sets set.jsonl --output m"),
    ("peft", "train --config lora.yaml --sets set.jsonl --output m"),
    ("onnxruntime", f"{RERANK} --backend onnx"),
    ("onnxruntime", "export --model rra-bert-mini --backend onnx --output o"),
    ("onnxscript", "export --model rra-bert-mini --backend onnx --output o"),
    ("openvino", f"{RERANK} --backend openvino"),
    ("openvino", "export --model rra-bert-mini --backend openvino --output o"),
    ("matplotlib", "report --qrels qrels.txt --runs a.trec b.trec"),
    ("matplotlib", "reproduce sample --output o"),
    ("matplotlib", "evaluate --qrels qrels.txt --runs a.trec b.trec --output o.svg"),
    ("ray", f"{RERANK} --engine ray"),
    ("fastapi", "serve"),
    ("uvicorn", "serve"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def write_inputs(folder):
    """Small inputs for any command of `CASES`."""
    for name in ("a", "b"):
        (folder / f"{name}.trec").write_text(f"1 Q0 x 1 2 {name}\n1 Q0 y 2 1 {name}\n")
    (folder / "topics.tsv").write_text("1\twhy do cats purr\n")
    (folder / "texts.jsonl").write_text("".join(json.dumps({"id": i, "contents": f"text {i}"}) + "\n" for i in "xy"))
    (folder / "qrels.txt").write_text("1 0 x 1\n1 0 y 0\n")
    (folder / "lora.yaml").write_text("lora: {}\n")
    (folder / "lucene").mkdir()
    (folder / "lucene" / "segments_1").touch()
    return folder


@pytest.mark.parametrize(("module", "command"), CASES)
def test_a_command_names_the_extra(module, command, folder):
    before = sorted(folder.iterdir())
    flags = command.split()
    done = subprocess.run([sys.executable, "-c", RUN, module, *flags], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    extra = EXTRA_OF[module]
    package = {"faiss": "faiss-cpu", "jnius": "pyjnius"}.get(module, module)
    line = f"error: {package} is not installed; it comes with the extra '{extra}': pip install 'rrarank[{extra}]'"
    if module == "onnxscript" or extra == "train":
        line = line.replace(f"'{extra}'", f"'{flags[0] if extra == 'train' else 'onnx'}'")
    assert done.stderr.splitlines()[-1] == line
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("module", "extra", "package"),
    [
        ("pyterrier", "pyterrier", "pyterrier"),
        ("rerankers", "rerankers", "rerankers"),
        ("langchain_core", "langchain", "langchain-core"),
        ("llama_index", "llamaindex", "llama-index-core"),
        ("haystack", "haystack", "haystack-ai"),
    ],
)
def test_an_integration_names_its_extra(module, extra, package):
    code = f"import sys; sys.modules['{module}'] = None; import rrarank.integrations.{extra}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    line = f"{package} is not installed; it comes with the extra '{extra}': pip install 'rrarank[{extra}]'"
    assert done.stderr.splitlines()[-1] == f"rrarank.errors.MissingPrerequisite: {line}"


def test_python_functions_name_the_extra(monkeypatch):
    run = rrarank.parse_run(["1 Q0 x 1 2 a", "1 Q0 y 2 1 a"])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPrerequisite, match=r"pandas is not installed; .* pip install 'rrarank\[pandas\]'"):
        rrarank.rank("q", []).to_pandas()
    monkeypatch.setitem(sys.modules, "ranx", None)
    with pytest.raises(MissingPrerequisite, match=r"ranx is not installed; .* pip install 'rrarank\[fuse\]'"):
        rrarank.fuse_runs([run, run])


# -- the table and its line -------------------------------------------------------------------------------------------


def test_the_table_is_what_pyproject_says():
    installed = {package for extra in set(EXTRA_OF.values()) for package in EXTRAS[extra]}
    names = {
        "faiss": "faiss-cpu",
        "haystack": "haystack-ai",
        "jnius": "pyjnius",
        "llama_index": "llama-index-core",
        "opentelemetry": "opentelemetry-sdk",
    }
    for module, extra in EXTRA_OF.items():
        assert names.get(module, module.replace("_", "-")) in EXTRAS[extra], module
    assert {extra for extra, packages in EXTRAS.items() if packages != {"rrarank"}} - NO_MODULE == set(
        EXTRA_OF.values()
    )
    needed = {re.split(r"[\[<>=;]", line)[0] for line in PROJECT["dependencies"]}
    assert not installed & needed


def test_all_holds_every_extra_of_a_user():
    [line] = PROJECT["optional-dependencies"]["all"]
    held = set(re.findall(r"[\w-]+", line)) - {"rrarank"}
    assert held == EXTRAS.keys() - {"all", "java", "docs", "dev"} - FRAMEWORKS


def test_several_packages_stand_in_one_line():
    said = str(missing("fastapi", "prometheus_client"))
    assert said.startswith("fastapi and prometheus-client are not installed; they come with the extra 'serve': ")


def test_only_what_is_absent_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingPrerequisite, match=r"^onnxscript is not installed; .*'rrarank\[openvino\]'$"):
        check_installed("tqdm", "onnxscript", extra="openvino")


def test_a_broken_library_keeps_its_own_error():
    with pytest.raises(ModuleNotFoundError, match="no_such_part"), importing():
        raise ModuleNotFoundError("No module named 'no_such_part'", name="no_such_part")
