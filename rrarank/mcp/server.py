"""The SDK's server, with one line for arguments that are not as the schema says."""

from __future__ import annotations

from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import ValidationError


class ToolServer(MCPServer[Any]):
    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            raise ToolError(f"Error executing tool {name}: {_first_fault(error.__cause__)}") from None


def _first_fault(error: ValidationError) -> str:
    fault, count = error.errors()[0], error.error_count()
    more = f" (and {count - 1:,} more)" if count > 1 else ""
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg'][0].lower()}{fault['msg'][1:]}{more}"
