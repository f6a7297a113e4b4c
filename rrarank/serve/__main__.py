"""A reranker behind HTTP, as Cohere's, Jina's and vLLM's clients ask. `python -m rrarank.serve`"""

from __future__ import annotations

import argparse
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rrarank.cli.flags import Parser, add_reranker, check_reranker_flags, positive, reranker_settings
from rrarank.cli.verbs import Arguments, run_verb, say
from rrarank.engine import registry
from rrarank.errors import MissingPrerequisite, RrarankError
from rrarank.serve.keys import VARIABLE, Keys, is_loopback, read_keys
from rrarank.serve.limits import Limits

if TYPE_CHECKING:
    from rrarank.engine.reranker import Reranker

LIBRARIES = ("fastapi", "uvicorn", "prometheus_client")


def main(arguments: Arguments = None) -> int:
    return run_verb(_serve, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("serve", "Serve a reranker on /v1/rerank and /v2/rerank; a page to try it stands at /.")
    where = parser.add_argument_group("where, and for whom")
    where.add_argument("--host", default="127.0.0.1", help="name or address to listen on")
    where.add_argument("--port", type=_port, default=8080, help="0: any that is free; the URL is printed")
    where.add_argument("--keys", default="", metavar="FILE", help=f"API keys, one a line (default: {VARIABLE})")
    where.add_argument("--no-keys", action="store_true", help="let everyone in who reaches --host")
    where.add_argument("--index", type=Path, metavar="DIR", help="Lucene index with stored texts, for /v1/search")
    add_reranker(parser.add_argument_group("re-ranking"))
    most = parser.add_argument_group("limits; beyond them a request is refused")
    default = Limits()
    most.add_argument("--queue", type=positive, default=default.queue, help="requests that wait")
    most.add_argument("--max-documents", type=positive, default=default.documents, help="of a request")
    most.add_argument("--max-characters", type=positive, default=default.characters, help="of a request's texts")
    most.add_argument("--max-bytes", type=positive, default=default.body_bytes, help="of a request's body")
    most.add_argument("--timeout", type=_seconds, default=default.timeout_s, help="seconds for a request")
    return parser


def _serve(flags: argparse.Namespace) -> None:
    check_reranker_flags(flags)
    keys = read_keys(flags.keys)
    _check_open_door(flags, keys)
    _check_missing_extra()
    from rrarank.serve.app import create_app
    from rrarank.serve.metrics import Metrics
    from rrarank.serve.queue import Worker
    from rrarank.serve.search import Search
    from rrarank.serve.server import bind, listen, serve, url_of
    from rrarank.serve.service import Service

    sock = bind(flags.host, flags.port)
    reranker = _load(flags)
    limits = Limits(flags.queue, flags.max_documents, flags.max_characters, flags.max_bytes, flags.timeout)
    metrics = Metrics()
    service = Service(
        reranker=flags.reranker,
        model=reranker.model_name or flags.reranker,
        worker=Worker(reranker, limits.queue, metrics.scored),
        metrics=metrics,
        limits=limits,
        keys=keys,
        local_only=is_loopback(flags.host) and not keys,
        search=Search(flags.index, limits.queue) if flags.index else None,
        log=say,
    )
    listen(sock)
    print(url_of(sock), flush=True)
    serve(create_app(service), sock, drain_s=limits.timeout_s + 5)
    say("stopped; all that was accepted is answered")


def _check_open_door(flags: argparse.Namespace, keys: Keys) -> None:
    if keys and flags.no_keys:
        raise RrarankError(f"--no-keys with API keys in {flags.keys or VARIABLE}: give one of the two")
    if not (is_loopback(flags.host) or keys or flags.no_keys):
        raise RrarankError(
            f"--host {flags.host}: without API keys everyone who reaches it could ask; give --keys FILE, "
            f"set {VARIABLE}, or give --no-keys if that is meant"
        )


def _check_missing_extra() -> None:
    if lacking := [name for name in LIBRARIES if find_spec(name) is None]:
        raise MissingPrerequisite(f"rrarank.serve needs {', '.join(lacking)}; type: pip install 'rrarank[serve]'")


def _load(flags: argparse.Namespace) -> Reranker:
    settings = reranker_settings(flags)
    if flags.backend == "auto":
        from rrarank.rerankers.backends.auto import choose_backend

        choice = choose_backend(registry.configure(flags.reranker, **settings))
        say(f"--backend auto: {choice}")
        settings |= {"backend": choice.backend, "precision": choice.precision}
    return registry.load_reranker(flags.reranker, **settings)


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a port from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}, expected seconds above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
