"""An app made with the official Python SDK: connects, and works as soon as the server lets it.

Usage: app.py session|client BRIDGE URL. `session` begins with `initialize`, `client` asks `server/discover`.
"""

import os
import sys
import time

import anyio
from mcp import Client, ClientSession, MCPError, StdioServerParameters, stdio_client

since = time.monotonic()


def say(what: str) -> None:
    print(f"{time.monotonic() - since:.1f} s: {what}", flush=True)


async def work(app: Client | ClientSession) -> None:
    """Lists and calls; as long as the server is not there, again."""
    while True:
        try:
            tools = (await app.list_tools()).tools
            result = await app.call_tool("get-user-data", {})
            break
        except MCPError as error:
            say(f"not yet: {str(error)[:100]}")
    user = result.structured_content["id"]
    say(f"{len(tools)} tools, called as {user}")
    assert user == "ada"


async def main(kind: str, bridge: str, url: str) -> None:
    server = StdioServerParameters(command=bridge, args=[url], env=dict(os.environ))
    if kind == "client":
        async with Client(stdio_client(server)) as client:
            say("connected")
            await work(client)
        return
    changed = anyio.Event()

    async def heard(message: object) -> None:
        if type(message).__name__ == "ToolListChangedNotification":
            changed.set()

    async with stdio_client(server) as (read, write):
        async with ClientSession(read, write, message_handler=heard) as session:
            await session.initialize()
            say("connected")
            await work(session)
            await changed.wait()
            say("told that the list has changed")


anyio.run(main, *sys.argv[1:])
