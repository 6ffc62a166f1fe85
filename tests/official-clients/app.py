"""An app made with the official Python SDK: connects, and works as soon as the server lets it.

Usage: app.py session|client BRIDGE URL. `session` begins with `initialize`, `client` asks `server/discover`.
"""

import os
import sys
import time
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
from mcp import Client, ClientSession, MCPError, StdioServerParameters, stdio_client

since = time.monotonic()


def say(what: str) -> None:
    print(f"{time.monotonic() - since:.1f} s: {what}", flush=True)


async def work(app: Client | ClientSession, again: Callable[[], Awaitable[None]]) -> None:
    """Lists and calls; if the server is not there yet, once more when it is."""
    while True:
        try:
            tools = (await app.list_tools()).tools
            break
        except MCPError as error:
            say(f"no tools yet: {str(error)[:100]}")
            await again()
    result = await app.call_tool("get-user-data", {})
    user = result.structured_content["id"]
    say(f"{len(tools)} tools, called as {user}")
    assert user == "ada"


async def main(kind: str, bridge: str, url: str) -> None:
    server = StdioServerParameters(command=bridge, args=[url], env=dict(os.environ))
    if kind == "client":
        # It does not subscribe to changes, so it asks again by itself; each request waits.
        async with Client(stdio_client(server)) as client:
            say("connected")
            await work(client, anyio.lowlevel.checkpoint)
        return
    changed = anyio.Event()

    async def heard(message: object) -> None:
        if type(message).__name__ == "ToolListChangedNotification":
            changed.set()

    async def told() -> None:
        await changed.wait()
        say("told that the list has changed")

    async with stdio_client(server) as (read, write):
        async with ClientSession(read, write, message_handler=heard) as session:
            await session.initialize()
            say("connected")
            await work(session, told)


anyio.run(main, *sys.argv[1:])
