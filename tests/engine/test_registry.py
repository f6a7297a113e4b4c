"""Rerankers by name: known without importing them, suggested when mistyped."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from rrarank.engine import registry
from rrarank.engine.ranking import load_once
from rrarank.engine.registry import DEFAULT, find_reranker, load_reranker, names, parse_options, register
from rrarank.engine.reranker import Reranker, RerankerConfig
from rrarank.errors import MissingResource, RrarankError
from rrarank.rerankers.bm25 import FirstStage


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setattr(registry, "_CLASSES", dict(registry._CLASSES))  # a test's names go when it ends


def test_names_are_sorted_and_hold_ours():
    assert names() == sorted(set(names()))
    assert {"bm25", "bi-encoder", "cross-encoder", "monobert", DEFAULT} <= set(names())


@pytest.mark.parametrize("name", sorted(registry._CLASSES))
def test_a_class_knows_the_name_under_which_it_is_registered(name):
    assert find_reranker(name).name == name


def test_names_import_nothing_heavy():
    code = (
        "import sys; from rrarank import load_reranker, register; from rrarank.engine.registry import names; names(); "
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


def test_a_model_that_ships_is_no_reranker_and_says_which_one_reads_it():
    with pytest.raises(
        RrarankError, match="is a model, no reranker; give --reranker sparse-encoder --model rra-bert-ti"
    ):
        find_reranker("rra-bert-tiny")


def test_a_name_like_no_other_gets_the_lists_of_rerankers_and_of_models_that_ship_and_the_form_of_a_hub_id():
    with pytest.raises(RrarankError) as error:
        load_reranker("ms-marco-MiniLM-L-12-v2")  # as FlashRank names it
    hint = "the id of a model on the hub begins with its owner, OWNER/NAME"
    known = ", ".join(sorted([*names(), "rra-bert-mini", "rra-bert-tiny"]))
    assert str(error.value) == f"no reranker named 'ms-marco-MiniLM-L-12-v2'; {hint} (known: {known})"


def test_a_name_a_model_that_ships_a_folder_and_a_hub_id_load_alike(steady_folder, monkeypatch):
    for given in (str(steady_folder), steady_folder):
        loaded = load_reranker(given, threads=1)
        assert (loaded.name, loaded.config.model, loaded.config.threads) == ("cross-encoder", str(steady_folder), 1)
    assert load_reranker("rra-bert-mini").fingerprint() == load_reranker(None).fingerprint().replace(
        "rra-bert", "cross-encoder", 1
    )
    assert load_reranker("rra-bert-tiny").name == "sparse-encoder"
    with pytest.raises(MissingResource, match="^model 'owner/name' is not on disk"):
        load_reranker("owner/name")
    with pytest.raises(RrarankError, match="^load_reranker: 'rra-bert-mini' is a model and model= is given; give one"):
        load_reranker("rra-bert-mini", model="x")


def test_a_folder_named_as_a_reranker_is_a_path(tmp_path, monkeypatch, steady_folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bm25").symlink_to(steady_folder)
    assert load_reranker("bm25").name == "bm25"
    assert load_reranker(Path("bm25")).name == "cross-encoder"
    with pytest.raises(MissingResource, match="^nowhere: no such folder; give one with a model, or a name"):
        load_reranker(Path("nowhere"))


@pytest.mark.parametrize(("typed", "meant"), [("rra-brt", "rra-bert"), ("rra-bert-min", "rra-bert-mini")])
def test_a_mistyped_name_is_refused_before_the_network_is_asked(typed, meant, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)  # to call it would be another error
    for load in (load_reranker, load_once):
        with pytest.raises(RrarankError, match=f"^no reranker named {typed!r}; did you mean {meant!r}. .known: "):
            load(typed)


@pytest.mark.parametrize("odd", [3, "", " ", ["rra-bert"], object(), RerankerConfig])
def test_what_names_no_reranker_is_one_line(odd):
    for load in (load_reranker, load_once):
        with pytest.raises(RrarankError) as error:
            load(odd)
        assert ": expected the name of a reranker, a folder or hub id of a cross-encoder, or what" in str(error.value)
        assert str(error.value).startswith("model ")
        assert "\n" not in str(error.value)


def test_a_model_of_another_library_is_one_short_line(steady_folder):
    from sentence_transformers import CrossEncoder

    with pytest.raises(RrarankError) as error:
        load_once(CrossEncoder(str(steady_folder), device="cpu"))
    assert str(error.value).startswith("model is a CrossEncoder: expected the name of a reranker, a folder or hub id")
    assert str(error.value).endswith("; of a model that another library loaded, give the folder or name")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("arguments", [(), ("rra-bert",), ("ms-marco", "cross-encoder")])
def test_the_base_class_is_no_reranker_and_says_where_one_is(arguments):
    with pytest.raises(RrarankError) as error:
        Reranker(*arguments)  # type: ignore[abstract]
    assert str(error.value) == (
        "Reranker is the class that rerankers extend: load one with load_reranker(name), or call rank(…, model=name)"
    )
    with pytest.raises(TypeError, match="abstract method '?rerank_block"):
        type("Half", (Reranker,), {})()  # what a class lacks stays Python's to say


def test_subclasses_are_made_and_copied_as_before():
    import copy

    for made in (load_reranker("bm25"), Mine(Mine.Config(threads=2))):
        assert copy.copy(made).config == copy.deepcopy(made).config == made.config


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
        registry._plugins.cache_clear()

    yield install
    registry._plugins.cache_clear()


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


# -- options -----------------------------------------------------------------------------------------------------------


def test_options_have_the_types_of_the_settings():
    given = ["window=10", "temperature=0", "prompt=rank-all", 'extra={"top_k": 1}', "base_url=http://a/v1?b=c"]
    found = parse_options("listwise-llm", given)
    wanted = {"window": 10, "temperature": 0.0, "prompt": "rank-all", "extra": {"top_k": 1}}
    assert found == wanted | {"base_url": "http://a/v1?b=c"}
    assert isinstance(found["temperature"], float)
    assert parse_options("bm25", []) == {}


@dataclass(frozen=True)
class MyConfig(RerankerConfig):
    exact: bool = False
    limit: int | None = None


class WithConfig(FirstStage):
    """A reranker with settings of its own."""

    Config = MyConfig


def test_options_of_a_rerankers_own_kind(table):
    register("mine")(WithConfig)
    assert parse_options("mine", ["exact=true", "limit=7"]) == {"exact": True, "limit": 7}
    with pytest.raises(RrarankError, match="--option 'exact=7': expected true or false"):
        parse_options("mine", ["exact=7"])


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("listwise-llm", "window", "--option 'window': expected KEY=VALUE (known to listwise-llm: base_url, "),
        ("listwise-llm", "=3", "--option '=3': unknown key (known"),
        ("listwise-llm", "windows=3", "--option 'windows=3': unknown key; did you mean 'window'? (known"),
        ("listwise-llm", "window=ten", "--option 'window=ten': expected a whole number"),
        ("listwise-llm", "window=1.5", "--option 'window=1.5': expected a whole number"),
        ("listwise-llm", "temperature=", "--option 'temperature=': expected a number"),
        ("listwise-llm", "extra={", "--option 'extra={': expected a JSON object"),
        ("listwise-llm", "extra=[1]", "--option 'extra=[1]': expected a JSON object"),
        ("listwise-llm", "model=other", "--option 'model=other': unknown key"),  # has a flag of its own
        ("bm25", "k1=0.9", "--option 'k1=0.9': unknown key (known to bm25: none)"),
        ("bm52", "k1=0.9", "no reranker named 'bm52'; did you mean 'bm25'?"),
    ],
)
def test_other_options_are_refused(name, option, message):
    with pytest.raises(RrarankError) as error:
        parse_options(name, [option])
    assert str(error.value).startswith(message)


def test_a_setting_that_is_none_of_the_rerankers_is_refused():
    with pytest.raises(RrarankError) as error:
        load_reranker("bm25", k1=0.9)
    known = "model, device, threads, batch_size, max_length, backend, precision, allow_pickle, calibration"
    known += ", instruction, query_prompt, document_prompt"
    assert str(error.value) == f"bm25: no setting 'k1' (known: {known})"
