"""Flags from a file and from the environment: the command line wins, then the variables, then the file."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import BaseModel, Field, ValidationError, create_model

from rrarank.cli.parser import Parser, positive
from rrarank.errors import RrarankError, did_you_mean, say
from rrarank.storage.files import read_text
from rrarank.storage.yaml_settings import MOST_CHARACTERS, read_yaml

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

COMMAND_LINE = "the command line"
NEARLY = 0.85  # how like a setting a variable is that was meant as one
ONLY_FLAGS = ("help", "config", "show_config")  # they say what to do, not how to serve


class SettingsParser(Parser):
    """A parser whose flags may also be set by variables of the environment and by the file of --config.

    The namespace gets `sources`: where each setting that is not a default comes from.

    Args:
        prefix: of the variables' names.
        config: gives the types of the flags that are its fields.
        check: raises if what reads settings is not installed.
    """

    def __init__(
        self, verb: str, description: str, prefix: str, config: type[BaseModel], check: Callable[[], None]
    ) -> None:
        super().__init__(verb, description)
        self.prefix, self.config, self.check = prefix, config, check

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        if {"-h", "--help"} & set(given):  # help needs no settings, nor the library that reads them
            return super().parse_known_args(given, namespace)
        typed = super().parse_known_args(given, argparse.Namespace(**dict.fromkeys(_settable(self))))[0]
        self.check()
        found, sources = _found(self, getattr(typed, "config", None) or os.environ.get(f"{self.prefix}CONFIG", ""))
        sources |= {name: COMMAND_LINE for name in _settable(self) if getattr(typed, name) is not None}
        start = argparse.Namespace(**found, sources=sources)
        return super().parse_known_args(given, start)


def _settable(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {action.dest: action for action in parser._actions if action.dest not in ONLY_FLAGS}


def _found(parser: SettingsParser, path: str) -> tuple[dict[str, object], dict[str, str]]:
    """The settings of file and environment, by the names of their flags, and where each stands.

    Raises:
        RrarankError: the file cannot be read, a setting is unknown, or a value is not of its kind.
    """
    from pydantic_settings import SettingsConfigDict

    of_file = _read(path, _settable(parser)) if path else {}
    given = {name.upper() for name, value in os.environ.items() if value}
    of_environment = {name for name in _settable(parser) if _variable(parser, name) in given}
    _tell_misspelt(parser, given)
    sources = dict.fromkeys(of_file, str(path)) | {name: _variable(parser, name) for name in of_environment}
    kind = _settings(parser, SettingsConfigDict(env_prefix=parser.prefix, env_ignore_empty=True, extra="forbid"))
    try:
        # What is given to the constructor wins over the environment, so the file leaves out what is there.
        settings = kind(**{name: value for name, value in of_file.items() if name not in of_environment})
    except ValidationError as error:
        raise fault_of(error, sources) from None
    return {name: getattr(settings, name) for name in settings.model_fields_set}, sources


def _variable(parser: SettingsParser, name: str) -> str:
    return f"{parser.prefix}{name}".upper()


def _tell_misspelt(parser: SettingsParser, given: Iterable[str]) -> None:
    """Other programs' variables may begin alike, so only what is nearly a setting is told."""
    known = [*_settable(parser), "config"]
    for name in sorted(given):
        setting = name.removeprefix(parser.prefix).lower()
        if name.startswith(parser.prefix) and setting not in known and (hint := did_you_mean(setting, known, NEARLY)):
            say(f"{name} sets nothing{hint}")


def _settings(parser: SettingsParser, config: Any) -> Callable[..., BaseSettings]:
    """A class with a field for each flag; those of `config` have its types."""
    from pydantic_settings import BaseSettings

    own = {name: action for name, action in _settable(parser).items() if name not in parser.config.model_fields}
    fields: dict[str, Any] = {name: (_type(action) | None, None) for name, action in own.items()}
    base = type("Base", (BaseSettings, parser.config), {"model_config": config})
    return cast("Callable[..., BaseSettings]", create_model("Settings", __base__=base, **fields))


def _type(action: argparse.Action) -> Any:
    if action.choices:
        return Literal[tuple(action.choices)]
    if isinstance(action.default, bool):
        return bool
    if isinstance(action.default, list):
        return list[str]
    return Annotated[int, Field(ge=1, lt=2**31)] if action.type is positive else str


def _read(path: str, known: Mapping[str, object]) -> dict[str, object]:
    """The settings of a TOML or YAML file; `max-documents` and `max_documents` are the same."""
    return _named(_content(path), known, path)


def _content(path: str | Path) -> Mapping[str, object]:
    return _toml(path) if Path(path).suffix.lower() == ".toml" else read_yaml(path)


def _named(content: Mapping[str, object], known: Mapping[str, object], where: str) -> dict[str, object]:
    read = {str(name).replace("-", "_"): value for name, value in content.items()}
    if odd := next((name for name in read if name not in known), ""):
        raise RrarankError(f"{where}: no setting {odd!r}{did_you_mean(odd, known)} (known: {', '.join(known)})")
    return read


def read_tables(path: str | Path, parser: argparse.ArgumentParser) -> dict[str, dict[str, object]]:
    """Name -> settings, of a TOML or YAML file of tables whose settings are named as the parser's flags are.

    Raises:
        RrarankError: the file cannot be read, it has no table, or a setting is unknown or not of its kind.
    """
    known = _settable(parser)
    kind = create_model("Table", **{name: (_type(action) | None, None) for name, action in known.items()})  # type: ignore[call-overload]
    found = {}
    for table, content in _content(path).items():
        where = f"{path}: {table}"
        if not isinstance(content, dict):
            raise RrarankError(f"{where}: {content!r:.40}, expected a table of settings such as [{table}]")
        named = _named(content, known, where)
        try:
            found[str(table)] = kind(**named).model_dump(exclude_unset=True)
        except ValidationError as error:
            name, fault = _first_fault(error)
            raise RrarankError(f"{where}: {name.replace('_', '-')} {fault}") from None
    if not found:
        raise RrarankError(f"{path}: no table; expected one for each name")
    return found


def _toml(path: str | Path) -> Mapping[str, object]:
    try:
        return tomllib.loads(read_text(path, MOST_CHARACTERS))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RrarankError(f"{path}: not TOML ({error!s:.100})") from None


def fault_of(error: ValidationError, sources: Mapping[str, str]) -> RrarankError:
    """One line that names the flag, the variable or the file's setting."""
    name, fault = _first_fault(error)
    flag, source = f"--{name.replace('_', '-')}", sources.get(name, COMMAND_LINE)
    where = flag if source == COMMAND_LINE else f"{source}: {flag[2:]}" if Path(source).suffix else source
    return RrarankError(f"{where} {fault}")


def _first_fault(error: ValidationError) -> tuple[str, str]:
    fault = error.errors()[0]
    return str(fault["loc"][0]), f"{fault['input']}: {fault['msg'][0].lower()}{fault['msg'][1:]}"


def shown_config(settings: Mapping[str, object], sources: Mapping[str, str]) -> str:
    """Every setting with its value and source, as YAML that --config reads. It names files of keys, never a key."""
    import yaml  # type: ignore[import-untyped]

    lines = []
    for name, value in sorted(settings.items()):
        if name in (*ONLY_FLAGS, "sources"):
            continue
        plain = str(value) if isinstance(value, Path) else value
        text = yaml.safe_dump({name.replace("_", "-"): plain}, default_flow_style=True, width=10**6).strip()[1:-1]
        is_set = plain not in (None, "", [])
        lines.append(f"{'' if is_set else '# '}{text}  # {sources.get(name, 'the default')}")
    return "\n".join(lines)
