"""The official Python SDK, version 2, as MCP server and authorization server in one: `server.py streamable|sse`."""

from mcp.server.mcpserver import MCPServer
from python_sdk_server import BASE_URL, IS_SSE, run

run(
    MCPServer,
    "Python SDK 2",
    resource_server_url=f"{BASE_URL}/sse" if IS_SSE else f"{BASE_URL}/mcp",
    validate_token_resource=False,
)
