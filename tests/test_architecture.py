"""Imports point one way, in no circle; each foreign library has one owner; every module has a rule."""

import ast
from pathlib import Path

import pytest

import rrarank
from rrarank.cli import VERBS

ROOT = Path(rrarank.__file__).parent
ORDER = [  # low to high: a room imports from itself and from rooms of lower lines
    {"errors", "extras"},
    {"storage"},
    {"data"},
    {"llm", "measures", "sources", "engine"},
    {"cli", "rerankers", "integrations", "neighbours"},
    set(VERBS),
    {"__init__", "__main__"},
]
OWNERS = {
    "jnius": {"sources/lucene"},
    "jnius_config": {"sources/lucene"},
    "pyserini": {"sources/lucene"},
    "ranx": {"measures/fusion"},
    "ir_measures": {"measures/values"},
    "ir_datasets": {"sources/ir_datasets"},
    "matplotlib": {"measures/figures"},
    "faiss": {"sources/dense"},
    "fastapi": {"serve"},
    "fastapi_offline": {"serve"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
    "opentelemetry": {"serve/telemetry"},
    "asgi_correlation_id": {"serve"},
    "prometheus_client": {"serve"},
    "prometheus_fastapi_instrumentator": {"serve"},
    "pydantic_settings": {"cli"},
    "mcp": {"mcp"},
    "httpx2": {"llm/http", "llm/endpoint"},
    "ray": {"engine/ray"},
    "pyterrier": {"integrations"},
    "pandas": {"integrations", "data/types", "engine/ranked", "measures/evaluation"},
    "pyarrow": {"data/ubi_files"},
    "rich": {"measures/tables"},
    "langchain_core": {"integrations/langchain"},
    "llama_index": {"integrations/llamaindex"},
    "haystack": {"integrations/haystack"},
    "rerankers": {"integrations"},
    "psutil": {"doctor/machine"},
    "shtab": {"__main__"},
    "onnxruntime": {"rerankers/backends/onnx"},
    "openvino": {"rerankers/backends/openvino"},
}
MODEL_LIBRARIES = {"torch", "transformers", "sentence_transformers"}
MODEL_ROOMS = {"rerankers", "train", "export", "storage/model_folders", "sources/dense", "llm/local", "llm/tokenizer"}
FILES = sorted(ROOT.rglob("*.py"))


def name_of(path):
    """`rerankers/backends/torch`; a package's `__init__` is the package."""
    return path.relative_to(ROOT).with_suffix("").as_posix().removesuffix("/__init__")


MODULES = {name_of(path): ast.parse(path.read_text()) for path in FILES}


def level(name):
    """Its place in ORDER; a module that no line names has none."""
    found = [place for place, rooms in enumerate(ORDER) if name.split("/")[0] in rooms]
    assert len(found) == 1, f"no rule names the room of {name}: add it to ORDER"
    return found[0]


def imports(tree):
    """Dotted names, type-only imports included; `from a import b` is a.b where that is a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix("rrarank.").replace(".", "/")
                is_module = node.module.split(".")[0] == "rrarank" and inner in MODULES
                yield f"{node.module}.{alias.name}" if is_module else node.module


def own_imports(name):
    """The modules of rrarank that this one imports; the lazy table of the package itself is not counted."""
    for target in imports(MODULES[name]):
        inner = target.removeprefix("rrarank").lstrip(".").replace(".", "/")
        if target.split(".")[0] == "rrarank" and inner:
            yield inner


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name):
    here, room = level(name), name.split("/")[0]
    for target in own_imports(name):
        other = target.split("/")[0]
        beside = level(target) == here and other not in VERBS
        assert level(target) < here or other == room or beside, f"{name} imports {target}"


@pytest.mark.parametrize("part", ["module", "room"])
def test_nothing_is_in_a_circle(part):
    left: dict[str, set[str]] = {}
    for name in MODULES.keys() - {"__init__"}:
        here, *there = (place.split("/")[0] if part == "room" else place for place in (name, *own_imports(name)))
        left.setdefault(here, set()).update(there)
    while free := [name for name, targets in left.items() if not targets & left.keys() - {name}]:
        for name in free:
            del left[name]
    assert not left, f"these import one another: {sorted(left)}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_foreign_libraries_have_one_owner(name):
    def owned_by(places):
        return any(name == place or name.startswith(f"{place}/") for place in places)

    for target in imports(MODULES[name]):
        top = target.split(".")[0]
        assert top not in OWNERS or owned_by(OWNERS[top]), f"{name} imports {target}"
        assert top not in MODEL_LIBRARIES or owned_by(MODEL_ROOMS), f"{name} imports {target}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_parsed_flags_go_no_further_than_the_command_line(name):
    """`argparse.Namespace` stays in `__main__` files, verbs of one file, and `cli`."""
    allowed = name.startswith("cli/") or name.endswith("__main__") or name in VERBS
    assert allowed or "Namespace" not in ast.dump(MODULES[name]), name


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_are_short(name):
    file = ROOT / f"{name}.py"
    lines = (file if file.exists() else ROOT / name / "__init__.py").read_text().splitlines()
    assert len(lines) <= 350, f"{name} has {len(lines)} lines"


def test_no_public_name_is_also_a_verb():
    assert not VERBS.keys() & set(rrarank.__all__)


def test_type_checkers_see_the_names_that_load():
    tree = ast.parse(Path(rrarank.__file__).read_text())
    seen = {name.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    assert seen - {None} == set(rrarank.__all__)


def test_every_public_name_loads():
    assert all(getattr(rrarank, name) is not None for name in rrarank.__all__)
