"""Serve a reranker over HTTP to the clients of Cohere, Jina and vLLM. `python -m rrarank.serve`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from functools import partial

from pydantic import ValidationError

from rrarank.cli.flags import Parser, add_reranker, check_reranker_flags, reranker_settings
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.errors import RrarankError
from rrarank.serve.config import PREFIX, ServeConfig
from rrarank.serve.job import ServeJob, check_extra, serve_reranker

WHERE = ("host", "port", "keys", "no_keys", "index")
LIMITS = tuple(name for name in ServeConfig.model_fields if name not in WHERE)


def main(arguments: Arguments = None) -> int:
    return run_verb(_serve, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("serve", "Serve a reranker on /v1/rerank and /v2/rerank; / is a page to try it.")
    where = parser.add_argument_group(
        "address and access", f"each flag may also be set as {PREFIX}…, e.g. {PREFIX}PORT"
    )
    limits = parser.add_argument_group("limits; a request beyond them is refused")
    for group, names in ((where, WHERE), (limits, LIMITS)):
        for name in names:
            _add_setting(group, name)
    add_reranker(parser.add_argument_group("re-ranking"))
    return parser


def _add_setting(group: argparse._ArgumentGroup, name: str) -> None:
    """A flag for a field of `ServeConfig`; absent flags leave the field to the environment."""
    field = ServeConfig.model_fields[name]
    flag, default = f"--{name.replace('_', '-')}", f" (default: {field.default})" if field.default else ""
    if field.annotation is bool:
        group.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=field.description)
    else:
        metavar = {"keys": "FILE", "index": "DIR"}.get(name)
        group.add_argument(flag, default=argparse.SUPPRESS, metavar=metavar, help=f"{field.description}{default}")


def _serve(flags: argparse.Namespace) -> None:
    check_reranker_flags(flags)
    check_extra()
    given = {name: value for name, value in vars(flags).items() if name in ServeConfig.model_fields}
    serve_reranker(
        ServeJob(flags.reranker, reranker_settings(flags), _config(given)), announce=partial(print, flush=True)
    )


def _config(given: Mapping[str, object]) -> ServeConfig:
    """The settings given by flags, else by the environment.

    Raises:
        RrarankError: a value is not of its kind.
    """
    from pydantic_settings import BaseSettings, SettingsConfigDict

    class Settings(BaseSettings, ServeConfig):
        model_config = SettingsConfigDict(env_prefix=PREFIX)

    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        fault = error.errors()[0]
        name = str(fault["loc"][0])
        where = f"--{name.replace('_', '-')}" if name in given else f"{PREFIX}{name.upper()}"
        raise RrarankError(f"{where} {fault['input']}: {fault['msg'][0].lower()}{fault['msg'][1:]}") from None


if __name__ == "__main__":
    sys.exit(main())
