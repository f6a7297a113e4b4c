"""Imports point one way: nouns < engine < rerankers < distill, training < verbs; each foreign library has one owner."""

import ast
from pathlib import Path

import pytest

import rrarank

ROOT = Path(rrarank.__file__).parent
VERBS = {
    "retrieve",
    "fuse",
    "rerank",
    "evaluate",
    "convert",
    "doctor",
    "label",
    "sets",
    "generate",
    "train",
    "export",
    "merge",
    "report",
    "reproduce",
    "serve",
}
LAYERS = {
    "engine": 1,
    "ray_engine": 1,
    "rerankers": 2,
    "distill": 3,
    "training": 3,
    "serving": 3,
    "neighbours": 3,
} | dict.fromkeys(VERBS, 4)
# all else is a noun: 0
OWNERS = {
    "jnius": {"lucene"},
    "jnius_config": {"lucene"},
    "pyserini": {"lucene"},
    "ranx": {"measures", "fusion"},
    "ir_datasets": {"texts"},
    "matplotlib": {"figures"},
    "faiss": {"dense"},
    "fastapi": {"serving"},
    "starlette": {"serving"},
    "uvicorn": {"serving"},
    "prometheus_client": {"serving"},
    "openai": {"llm_endpoint"},
    "ray": {"ray_engine"},
    "pyterrier": {"neighbours"},
    "pandas": {"neighbours"},
    "rerankers": {"neighbours"},
    "onnxruntime": {"onnx_backend"},
    "openvino": {"openvino_backend"},
}
MODEL_LIBRARIES = {"torch", "transformers", "sentence_transformers"}
FILES = [path for path in ROOT.rglob("*.py") if path.name != "__init__.py"]


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                [f"rrarank.{alias.name}" for alias in node.names] if node.module == "rrarank" else [node.module]
            )


def type_checking_removed(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return tree


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_and_foreign_libraries_have_one_owner(path):
    here, tree = room(path), type_checking_removed(ast.parse(path.read_text()))
    for name in imports(tree):
        top, _, rest = name.partition(".")
        if top == "rrarank":
            assert LAYERS.get(rest.split(".")[0], 0) <= LAYERS.get(here, 0), f"{here} imports {name}"
            assert rest not in VERBS, f"{here} imports the verb {name}"
        assert top not in OWNERS or {here, path.stem} & OWNERS[top], f"{here} imports {name}"
        assert top not in MODEL_LIBRARIES or here in {"rerankers", "training", "models", "dense", "llm_local"}, (
            f"{here} imports {name}"
        )


def test_no_public_name_is_also_a_verb():
    assert not VERBS & set(rrarank.__all__)


def test_type_checkers_see_the_names_that_load():
    tree = ast.parse(Path(rrarank.__file__).read_text())
    seen = {name.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    assert seen - {None} == set(rrarank.__all__)


def test_every_public_name_loads():
    assert all(getattr(rrarank, name) is not None for name in rrarank.__all__)
