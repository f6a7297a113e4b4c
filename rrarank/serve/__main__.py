"""Serve a reranker over HTTP to the clients of Cohere, Jina and vLLM. `python -m rrarank.serve`"""

from __future__ import annotations

import argparse
import sys
from functools import partial

from pydantic import ValidationError

from rrarank.cli.flags import add_calibration, add_reranker, check_reranker_flags, reranker_settings
from rrarank.cli.settings import SettingsParser, fault_of, read_tables, shown_config
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.serve.config import PREFIX, ServeConfig
from rrarank.serve.job import ServeJob, check_extra, serve_reranker
from rrarank.serve.models import ModelSettings

WHERE = ("host", "port", "keys", "no_keys", "cors", "index")
RUN = ("workers", "otel")
ONLINE = ("experiment", "log", "log_text", "log_addresses", "log_fsync", "log_max_bytes")
LIMITS = tuple(name for name in ServeConfig.model_fields if name not in (*WHERE, *RUN, *ONLINE, "models"))


def main(arguments: Arguments = None) -> int:
    return run_verb(_serve, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    what = "Serve a reranker on /v1/rerank and /v2/rerank; / is a page to try it."
    parser = SettingsParser("serve", what, PREFIX, ServeConfig, check_extra)
    every = f"each flag may also be set as {PREFIX}…, e.g. {PREFIX}PORT, or in the file of --config"
    where = parser.add_argument_group("address and access", every)
    limits = parser.add_argument_group("limits; a request beyond them is refused")
    run = parser.add_argument_group("processes and traces")
    online = parser.add_argument_group("experiments and logs", "for requests that name their user in the field ubi")
    for group, names in ((where, WHERE), (run, RUN), (limits, LIMITS), (online, ONLINE)):
        for name in names:
            _add_setting(group, name)
    tables = (
        "a model's table in the file of --models has settings named as these flags are; a flag holds where it has none"
    )
    how = parser.add_argument_group("re-ranking", tables)
    _add_setting(how, "models")
    _add_model(how)
    settings = parser.add_argument_group("settings")
    settings.add_argument("--config", metavar="FILE", help="TOML or YAML file of settings, named as the flags are")
    settings.add_argument("--show-config", action="store_true", help="print each setting and where it was set; stop")
    return parser


def _add_model(parser: argparse._ActionsContainer) -> None:
    add_reranker(parser)
    add_calibration(parser)


def _add_setting(group: argparse._ActionsContainer, name: str) -> None:
    """A flag for a field of `ServeConfig`."""
    field = ServeConfig.model_fields[name]
    flag, default = f"--{name.replace('_', '-')}", f" (default: {field.default})" if field.default else ""
    if field.annotation is bool:
        group.add_argument(flag, action="store_true", help=field.description)
    else:
        files = dict.fromkeys(("keys", "models", "experiment"), "FILE") | dict.fromkeys(("index", "log"), "DIR")
        metavar = (files | {"cors": "ORIGINS"}).get(name)
        group.add_argument(flag, default=field.default, metavar=metavar, help=f"{field.description}{default}")


def _serve(flags: argparse.Namespace) -> None:
    check_reranker_flags(flags)
    models, config = _models(flags), _config(flags)
    if flags.show_config:
        return print(shown_config(vars(flags) | config.model_dump(), flags.sources))
    job = ServeJob(flags.reranker, reranker_settings(flags), config, models)
    serve_reranker(job, announce=partial(print, flush=True))


def _models(flags: argparse.Namespace) -> dict[str, ModelSettings]:
    """
    Raises:
        RrarankError: the file of --models cannot be read, or a model's settings cannot work.
    """
    parser = argparse.ArgumentParser()
    _add_model(parser)
    tables = read_tables(flags.models, parser) if flags.models else {}
    return {name: _model(argparse.Namespace(**vars(flags) | table)) for name, table in tables.items()}


def _model(flags: argparse.Namespace) -> ModelSettings:
    check_reranker_flags(flags)
    return ModelSettings(flags.reranker, reranker_settings(flags))


def _config(flags: argparse.Namespace) -> ServeConfig:
    """
    Raises:
        RrarankError: a flag's value is not of its kind.
    """
    try:
        return ServeConfig(**{name: getattr(flags, name) for name in ServeConfig.model_fields})
    except ValidationError as error:
        raise fault_of(error, flags.sources) from None


if __name__ == "__main__":
    sys.exit(main())
