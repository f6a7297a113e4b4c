"""Tools for agents over the Model Context Protocol. `python -m rrarank.mcp --folder DATA`"""

from __future__ import annotations

import argparse
import sys

from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.mcp.job import McpJob, serve_tools


def main(arguments: Arguments = None) -> int:
    return run_verb(_serve, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("mcp", "Serve search, rerank and evaluate to agents, over the Model Context Protocol.")
    parser.add_argument("--folder", required=True, help="the only folder whose files the tools read")
    parser.add_argument("--model", default=McpJob.model, metavar="NAME_OR_PATH", help="a reranker, or a model's folder")
    parser.add_argument(
        "--port", type=positive, metavar="N", help="serve HTTP on 127.0.0.1:N/mcp (default: stdin and stdout)"
    )
    return parser


def _serve(flags: argparse.Namespace) -> None:
    serve_tools(McpJob(flags.folder, flags.model, flags.port or 0))


if __name__ == "__main__":
    sys.exit(main())
