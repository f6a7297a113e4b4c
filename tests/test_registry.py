"""Rerankers by name: known without importing them, suggested when mistyped."""

import subprocess
import sys

import pytest

from rrarank import registry
from rrarank.errors import RrarankError
from rrarank.registry import DEFAULT, find_reranker, load_reranker, names, register
from rrarank.rerankers.bm25 import FirstStage


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setattr(registry, "_CLASSES", dict(registry._CLASSES))  # a test's names go when it ends


def test_names_are_sorted_and_hold_ours():
    assert names() == sorted(set(names()))
    assert {"bm25", "bi-encoder", "cross-encoder", "monobert", DEFAULT} <= set(names())


def test_names_import_nothing_heavy():
    code = (
        "import sys; from rrarank import load_reranker, register; from rrarank.registry import names; names(); "
        "print([m for m in ('torch', 'transformers', 'sentence_transformers', 'ranx', 'jnius') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("typed", "meant"), [("bm52", "bm25"), ("cross_encoder", "cross-encoder"), ("mono-bert", "monobert")]
)
def test_a_mistyped_name_gets_a_suggestion_and_the_list(typed, meant):
    with pytest.raises(RrarankError) as error:
        find_reranker(typed)
    assert str(error.value) == f"no reranker named {typed!r}; did you mean {meant!r}? (known: {', '.join(names())})"


def test_a_name_like_no_other_gets_the_list_only():
    with pytest.raises(RrarankError) as error:
        load_reranker("zzz")
    assert str(error.value) == f"no reranker named 'zzz' (known: {', '.join(names())})"


def test_the_first_stage_is_found_and_loaded():
    assert find_reranker("bm25").__name__ == "FirstStage"
    assert type(load_reranker("bm25", model=None)) is find_reranker("bm25")  # None is the default


class Mine(FirstStage):
    """A reranker of the user's own."""


def test_a_registered_class_is_known_found_and_loaded_with_its_config(table):
    assert register("mine")(Mine) is Mine
    assert "mine" in names()
    assert find_reranker("mine") is Mine
    assert load_reranker("mine", device="cpu", threads=None).config == Mine.Config(device="cpu")


@pytest.mark.parametrize("taken", ["bm25", "mine"])
def test_a_taken_name_is_refused(table, taken):
    register("mine")(Mine)
    with pytest.raises(RrarankError, match=f"the reranker name '{taken}' is taken; choose another"):
        register(taken)(Mine)


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a distribution that offers a reranker under a name."""

    def install(distribution, name, value):
        info = tmp_path / f"{distribution}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[rrarank.rerankers]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    return install


def test_a_plugin_is_named_without_import_and_found(plugin):
    plugin("one", "plugged", "decimal:Decimal")
    plugin("two", "broken", "no_such_module:Reranker")
    assert {"plugged", "broken"} <= set(names())
    assert find_reranker("plugged").__name__ == "Decimal"


def test_two_rerankers_of_one_name_are_refused(plugin):
    plugin("one", "plugged", "decimal:Decimal")
    plugin("two", "plugged", "fractions:Fraction")
    plugin("three", "bm25", "decimal:Decimal")
    with pytest.raises(RrarankError, match=r"several rerankers are named 'plugged' \((.*); remove one") as error:
        find_reranker("plugged")
    assert "decimal:Decimal" in str(error.value)
    assert "fractions:Fraction" in str(error.value)
    with pytest.raises(RrarankError, match=r"several rerankers are named 'bm25' \(decimal:Decimal\); remove one"):
        find_reranker("bm25")
