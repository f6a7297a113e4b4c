"""Settings in YAML files, checked against the dataclass that they fill; all faults are named in one line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from rrarank.errors import RrarankError, did_you_mean
from rrarank.storage.files import read_text

T = TypeVar("T")
MOST_CHARACTERS = 2**20  # of a file of settings
MOST_DEEP = 20
STRICT: Mapping[str, str] = {"extra": "forbid"}
"""For `__pydantic_config__` of a dataclass that a file fills: an unknown key is an error."""


def checked(kind: type[T], content: Mapping[str, object], where: str) -> T:
    """The dataclass of these keys, checked by pydantic.

    Raises:
        RrarankError: a key is unknown or missing, or a value has the wrong type or is refused by the dataclass.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        known = [one.name for one in fields(kind)] if is_dataclass(kind) else []
        raise RrarankError(f"{where}: {'; '.join(_fault(found, known) for found in error.errors())}") from None
    except RrarankError as error:  # of the dataclass's own
        raise RrarankError(f"{where}: {error}") from None


def _fault(found: Mapping[str, Any], known: Sequence[str]) -> str:
    where = ".".join(str(part) for part in found["loc"])
    if found["type"] == "missing":
        return f"{where} is missing"
    if found["type"] == "unexpected_keyword_argument":
        return f"{where} is an unknown key{did_you_mean(where, known)}"
    reason = found["msg"].replace("valid tuple", "list")
    return f"{where} is {_brief(found['input'])}: {reason[0].lower()}{reason[1:]}"


def _brief(value: object) -> str:
    try:
        return f"{value!r:.40}"
    except ValueError:  # a number of more digits than Python writes
        return f"a huge {type(value).__name__}"


def read_yaml(path: str | Path, such_as: str = "body") -> Mapping[str, object]:
    """The keys of a YAML file. As in YAML 1.2, only true and false are booleans; `yes` in a prompt is a word.

    Args:
        such_as: a key that is expected, for the message if there are none.

    Raises:
        RrarankError: it is not YAML, holds no keys, or has an alias or deep nesting, by which a few bytes could hold a
            job up for hours.
    """
    import yaml  # type: ignore[import-untyped]

    text = read_text(path, MOST_CHARACTERS)
    try:
        Loader = _loader(yaml, path)  # noqa: N806  # a class
        content = yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise RrarankError(f"{path}{line}: not YAML ({reason})") from error
    except RrarankError:
        raise
    except Exception as error:  # yaml's constructors raise whatever int, datetime and indexing do
        raise RrarankError(f"{path}: YAML with a value that Python cannot hold ({error!s:.80})") from error
    if not isinstance(content, dict):
        raise RrarankError(f"{path}: a YAML {type(content).__name__}, expected keys such as {such_as}")
    return content


def _loader(yaml: Any, path: str | Path) -> Any:  # yaml is untyped
    """A safe loader that refuses aliases, deep nesting and keys that stand twice, of which YAML keeps the last."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: ClassVar = {
            start: [one for one in rules if one[0] != _BOOL]
            for start, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise self.refused("a YAML alias; write the value itself")
            if self.depth == MOST_DEEP:
                raise self.refused(f"nested more than {MOST_DEEP} levels deep; settings need no more")
            self.depth += 1
            try:
                return super().compose_node(parent, index)
            finally:
                self.depth -= 1

        def compose_mapping_node(self, anchor: Any) -> Any:
            found = super().compose_mapping_node(anchor)
            seen = set()
            for key, _ in found.value:
                if isinstance(key.value, str) and key.value in seen:
                    raise RrarankError(
                        f"{path}:{key.start_mark.line + 1}: {key.value} stands twice; keep one of the two"
                    )
                seen.add(str(key.value))
            return found

        def refused(self, problem: str) -> RrarankError:
            return RrarankError(f"{path}:{self.peek_event().start_mark.line + 1}: {problem}")

    Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
    return Loader


_BOOL = "tag:yaml.org,2002:bool"


def shipped(kind: str) -> list[str]:
    """The names of the YAML files that ship with the package: `prompts`, `tables` or `training`."""
    folder = resources.files("rrarank.prebuilt").joinpath(kind)
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def shipped_or_file(name: str | Path, kind: str) -> Path:
    """The YAML file of a shipped name, else the file of that path.

    Raises:
        RrarankError: neither exists; with the nearest known name.
    """
    known = shipped(kind)
    if str(name) in known:
        return Path(str(resources.files("rrarank.prebuilt").joinpath(kind, f"{name}.yaml")))
    if not Path(name).is_file():
        hint = did_you_mean(str(name), known)
        raise RrarankError(f"{name}: no such file or shipped name{hint} ({kind}: {', '.join(known)})")
    return Path(name)
