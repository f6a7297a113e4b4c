"""Rerankers by name: ours in a lazy table, plug-ins through the entry-point group `rrarank.rerankers`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints, overload

from rrarank.data.frames import kind_of
from rrarank.errors import MissingResource, RrarankError, did_you_mean, shown
from rrarank.storage.model_folders import READERS

if TYPE_CHECKING:
    from rrarank.engine.reranker import Pointwise, Reranker, RerankerConfig

PointwiseName: TypeAlias = Literal[
    "cross-encoder",
    "gpt",
    "monobert",
    "monot5",
    "rra-bert",
    "rra-bert-mini",
    "rra-bert-tiny",
    "rra-gpt",
    "sparse-encoder",
]
"""The names of rerankers, and of models that ship, that score each pair on its own."""

GROUP = "rrarank.rerankers"
DEFAULT = "rra-bert"

_CLASSES: dict[str, str | type[Reranker]] = {
    "bm25": "rrarank.rerankers.bm25:FirstStage",
    "bi-encoder": "rrarank.rerankers.bi_encoder:BiEncoder",
    "cascade": "rrarank.rerankers.cascade:Cascade",
    "cross-encoder": "rrarank.rerankers.cross_encoder:CrossEncoder",
    "gpt": "rrarank.rerankers.gpt:GPT",
    "late-interaction": "rrarank.rerankers.late_interaction:LateInteraction",
    "listwise-llm": "rrarank.rerankers.listwise_llm:ListwiseLLM",
    "pairwise-llm": "rrarank.rerankers.pairwise_llm:PairwiseLLM",
    "pointwise-llm": "rrarank.rerankers.pointwise_llm:PointwiseLLM",
    "setwise-llm": "rrarank.rerankers.setwise_llm:SetwiseLLM",
    "monobert": "rrarank.rerankers.cross_encoder:MonoBERT",
    "monot5": "rrarank.rerankers.monot5:MonoT5",
    "rra-bert": "rrarank.rerankers.cross_encoder:RRABERT",
    "rra-gpt": "rrarank.rerankers.rra_gpt:RRAGPT",
    "sparse-encoder": "rrarank.rerankers.sparse_encoder:SparseEncoder",
}


def register(name: str) -> Callable[[type[Reranker]], type[Reranker]]:
    """Class decorator: register a reranker under `name` in this process; a package uses an entry point instead."""

    def add(cls: type[Reranker]) -> type[Reranker]:
        if name in names():
            raise RrarankError(f"the reranker name {name!r} is taken; choose another")
        _CLASSES[name] = cls
        return cls

    return add


def names() -> list[str]:
    """Every known name; imports no reranker."""
    return sorted({*_CLASSES, *(point.name for point in _plugins())})


def find_reranker(name: str) -> type[Reranker]:
    """The class of that name.

    Raises:
        RrarankError: no such name, a plug-in takes one of ours, or two plug-ins share one.
    """
    found = _find(name)
    if isinstance(found, metadata.EntryPoint):
        return found.load()  # type: ignore[no-any-return]
    if isinstance(found, str):
        module, _, attribute = found.partition(":")
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
    return found


def check_known(name: str) -> None:
    """Raise what `find_reranker` would, without importing the class."""
    _find(name)


@cache
def _plugins() -> tuple[metadata.EntryPoint, ...]:
    """Found once: to look through every installed package takes a tenth of a second."""
    return tuple(metadata.entry_points(group=GROUP))


def _find(name: str) -> str | type[Reranker] | metadata.EntryPoint:
    plugins = [point for point in _plugins() if point.name == name]
    if len(plugins) + (name in _CLASSES) > 1:
        raise RrarankError(f"several rerankers are named {name!r} ({', '.join(p.value for p in plugins)}); remove one")
    if plugins:
        return plugins[0]
    known = _CLASSES.get(name)
    if known is None and name in READERS:
        raise RrarankError(f"{name!r} is a model, no reranker; give --reranker {READERS[name]} --model {name}")
    if known is None:
        raise RrarankError(f"no reranker named {name!r}{did_you_mean(name, names())} (known: {', '.join(names())})")
    return known


@overload
def load_reranker(
    name: PointwiseName | Path | None = "rra-bert",
    *,
    model: str | Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    batch_size: int | None = None,
    max_length: int | None = None,
    backend: str | None = None,
    precision: str | None = None,
    **config: object,
) -> Pointwise: ...
@overload
def load_reranker(name: str, **config: object) -> Reranker: ...
def load_reranker(name: str | Path | None = DEFAULT, **config: object) -> Reranker:
    """A reranker, its model loaded.

    Args:
        name: of a reranker or of a model that ships, or the folder or hub id of a cross-encoder; None: the default. A
            `Path` is a folder.
        config: fields of the class's `Config`, the usual ones named above; None for its default.

    Raises:
        RrarankError: it is none of these, or cannot be loaded.
    """
    kind, model = meant(name)
    if model and config.get("model") is not None:
        raise RrarankError(f"load_reranker: {str(name)!r} is a model and model= is given; give one of the two")
    if model or isinstance(config.get("model"), Path):
        config["model"] = model or str(config["model"])
    return find_reranker(kind)(configure(kind, **config))


def meant(name: object) -> tuple[str, str]:
    """The registered name, and the model if `name` is one. No network is asked about a name without a slash."""
    if name is None:
        return DEFAULT, ""
    if not isinstance(name, str | Path) or not str(name).strip():
        raise RrarankError(f"model {_seen(name)}: expected {_NAMES}{'' if isinstance(name, str) else _OTHERS}")
    text, is_folder = str(name), os.path.isdir(os.path.expanduser(name))
    if isinstance(name, Path) and not is_folder:
        raise MissingResource(f"{text}: no such folder; give one with a model, or a name as a string")
    if isinstance(name, str) and text in names():
        return text, ""
    if isinstance(name, str) and text in READERS:
        return READERS[text], text
    if is_folder or "/" in text:
        return "cross-encoder", text
    known = sorted([*names(), *READERS])
    hint = did_you_mean(text, known) or "; the id of a model on the hub begins with its owner, OWNER/NAME"
    raise RrarankError(f"no reranker named {text!r}{hint} (known: {', '.join(known)})")


_NAMES = "the name of a reranker, a folder or hub id of a cross-encoder, or what load_reranker returned"
_OTHERS = "; of a model that another library loaded, give the folder or name"


def _seen(thing: object) -> str:
    """What it is, if it is no string: models of other libraries print in many lines."""
    return repr(thing) if isinstance(thing, str) else f"is {kind_of(thing)}"


def configure(name: str, **config: object) -> RerankerConfig:
    """The `Config` of the reranker of that name; a setting that is None keeps its default."""
    kind = find_reranker(name).Config
    given = {key: value for key, value in config.items() if value is not None}
    known = [setting.name for setting in fields(kind)]
    if unknown := given.keys() - set(known):
        raise RrarankError(f"{name}: no setting {shown(sorted(unknown))} (known: {', '.join(known)})")
    return kind(**given)  # type: ignore[arg-type]


def parse_options(name: str, options: Sequence[str]) -> dict[str, object]:
    """`["window=10", "prompt=rank-all"]` as settings of that reranker's own `Config`, each of its field's type."""
    if not options:
        return {}  # without importing the class
    config = find_reranker(name).Config
    shared = [cls for cls in config.__mro__ if is_dataclass(cls)][-1]  # RerankerConfig, whose fields have flags
    types = {key: kind for key, kind in get_type_hints(config).items() if key not in get_type_hints(shared)}
    found: dict[str, object] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals or key not in types:
            seen = f"unknown key{did_you_mean(key, list(types))}" if equals else "expected KEY=VALUE"
            raise RrarankError(f"--option {option!r}: {seen} (known to {name}: {', '.join(types) or 'none'})")
        found[key] = _value(text, types[key], option)
    return found


def _value(text: str, kind: Any, option: str) -> object:  # Any: a type, or a generic such as Mapping[str, object]
    if get_origin(kind) is Union:  # float | Literal["none"]
        kind, word = get_args(kind)
        if text in get_args(word):
            return text
    if kind is str:
        return text
    kind = get_origin(kind) or kind
    try:
        value = kind(text) if kind in (int, float) else json.loads(text)
    except ValueError:
        value = None
    if value is None or (kind in _KINDS and not isinstance(value, kind)):
        raise RrarankError(f"--option {option!r}: expected {_KINDS.get(kind, 'JSON')}")
    return value


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", Mapping: "a JSON object"}
