"""Rerankers by name: ours in a lazy table, plug-ins by the entry-point group `rrarank.rerankers`."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib import import_module, metadata
from typing import TYPE_CHECKING

from rrarank.errors import RrarankError

if TYPE_CHECKING:
    from rrarank.engine import Reranker

GROUP = "rrarank.rerankers"
DEFAULT = "bi-encoder"  # until a model of our own ships

_CLASSES: dict[str, str | type[Reranker]] = {
    "bm25": "rrarank.rerankers.bm25:FirstStage",
    "bi-encoder": "rrarank.rerankers.bi_encoder:BiEncoder",
    "cross-encoder": "rrarank.rerankers.cross_encoder:CrossEncoder",
    "monobert": "rrarank.rerankers.cross_encoder:MonoBERT",
}


def register(name: str) -> Callable[[type[Reranker]], type[Reranker]]:
    """Class decorator: make a reranker known by `name` in this process; a package uses an entry point instead."""

    def add(cls: type[Reranker]) -> type[Reranker]:
        if name in names():
            raise RrarankError(f"the reranker name {name!r} is taken; choose another")
        _CLASSES[name] = cls
        return cls

    return add


def names() -> list[str]:
    """Every known name; imports no reranker."""
    return sorted({*_CLASSES, *(point.name for point in metadata.entry_points(group=GROUP))})


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


def refuse_unknown(name: str) -> None:
    """Raise what `find_reranker` would of a name, without importing its class."""
    _find(name)


def _find(name: str) -> str | type[Reranker] | metadata.EntryPoint:
    plugins = list(metadata.entry_points(group=GROUP, name=name))
    if len(plugins) + (name in _CLASSES) > 1:
        raise RrarankError(f"several rerankers are named {name!r} ({', '.join(p.value for p in plugins)}); remove one")
    if plugins:
        return plugins[0]
    known = _CLASSES.get(name)
    if known is None:
        close = difflib.get_close_matches(name.lower(), names(), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise RrarankError(f"no reranker named {name!r}{hint} (known: {', '.join(names())})")
    return known


def load_reranker(name: str = DEFAULT, **config: object) -> Reranker:
    """The reranker of that name, its model loaded.

    Args:
        config: fields of the class's `Config` (`model`, `device`, `threads`, `max_length`, …); None means its default.
    """
    cls = find_reranker(name)
    given = {key: value for key, value in config.items() if value is not None}
    return cls(cls.Config(**given))  # type: ignore[arg-type]
