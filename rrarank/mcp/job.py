"""The server of the tools: over stdin and stdout, or over HTTP on this machine."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from rrarank.engine import registry
from rrarank.errors import RrarankError
from rrarank.extras import check_installed
from rrarank.mcp.folder import Folder

if TYPE_CHECKING:
    from mcp.server import MCPServer

HOST = "127.0.0.1"
_BODY = 2**23  # bytes of a request over HTTP
_INSTRUCTIONS = (
    "Search a Lucene index, rank passages by how well they answer a query, measure runs against judgments. "
    "Files are named relative to the server's folder."
)


@dataclass(frozen=True)
class McpJob:
    """What `serve_tools` does.

    Args:
        folder: the only folder whose files the tools read.
        model: name of a reranker, folder or hub id of a cross-encoder.
        port: serve HTTP on this port of 127.0.0.1, at `/mcp`; 0: stdin and stdout.
    """

    folder: str
    model: str = registry.DEFAULT
    port: int = 0


def serve_tools(job: McpJob) -> None:
    """Serve the tools until the client goes or the process is ended.

    Raises:
        MissingPrerequisite: the extra `mcp` is not installed.
        RrarankError: no such folder, or the port cannot be had.
    """
    server = tools_server(job)
    if job.port:
        _check_port(job.port)
        server.run("streamable-http", host=HOST, port=job.port, stateless_http=True, max_request_body_size=_BODY)
    else:
        server.run("stdio")


def _check_port(port: int) -> None:
    """uvicorn would end the process without our line."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise RrarankError(f"--port {port}: {getattr(error, 'strerror', error)}; give another") from None


def tools_server(job: McpJob) -> MCPServer[Any]:
    """The server, without a transport."""
    check_installed("mcp")
    from importlib.metadata import version

    from mcp.types import ToolAnnotations

    from rrarank.mcp.server import ToolServer
    from rrarank.mcp.tools import Tools

    folder = Folder.of(job.folder)
    tools = Tools(folder, job.model)
    server = ToolServer("rrarank", instructions=_INSTRUCTIONS, version=version("rrarank"), log_level="WARNING")
    worker = ThreadPoolExecutor(1, "rrarank-tools")  # Java is bound to a thread, and a model to all cores
    annotations = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool in (tools.search, tools.rerank, tools.evaluate):
        server.add_tool(_in(worker, tool, folder), name=tool.__name__, annotations=annotations)
    return server


def _in(worker: ThreadPoolExecutor, tool: Callable[..., Any], folder: Folder) -> Callable[..., Any]:
    """The tool as a coroutine that runs in the worker; a user's error is the tool's answer."""
    from mcp.server.mcpserver.exceptions import ToolError

    @wraps(tool)
    async def run(**arguments: Any) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(worker, partial(tool, **arguments))
        except RrarankError as error:
            raise ToolError(folder.without_root(str(error))) from None

    run.__signature__ = inspect.signature(tool, eval_str=True)  # type: ignore[attr-defined]
    return run
