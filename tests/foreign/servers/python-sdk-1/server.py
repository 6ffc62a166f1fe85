"""The official Python SDK, version 1, as MCP server and authorization server in one: `server.py streamable|sse`."""

from mcp.server.fastmcp import FastMCP
from python_sdk_server import BASE_URL, IS_SSE, run

# Servers with HTTP+SSE are older than the metadata of protected resources.
run(FastMCP, "Python SDK 1", resource_server_url=None if IS_SSE else f"{BASE_URL}/mcp")
