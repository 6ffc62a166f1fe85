"""An app made with the official Python SDK: connects, and works as soon as the server lets it.

Usage: app.py session|client BRIDGE URL. `session` begins with `initialize`, `client` asks `server/discover`.
"""

import os
import sys
import time
from collections.abc import Awaitable, Callable

import anyio
from mcp import Client, ClientSession, StdioServerParameters, stdio_client

since = time.monotonic()


def say(what: str) -> None:
    print(f"{time.monotonic() - since:.1f} s: {what}", flush=True)


async def work(app: Client | ClientSession, again: Callable[[list[str]], Awaitable[None]]) -> None:
    """Lists and calls; if the server is not there yet, once more when it is."""
    while True:
        tools = (await app.list_tools()).tools
        names = [tool.name for tool in tools]
        if "get-user-data" in names:
            break
        say(f"the tools so far: {names}")
        await again(names)
    result = await app.call_tool("get-user-data", {})
    user = result.structured_content["id"]
    say(f"{len(tools)} tools, called as {user}")
    assert user == "ada"


async def main(kind: str, bridge: str, url: str) -> None:
    server = StdioServerParameters(command=bridge, args=[url], env=dict(os.environ))
    if kind == "client":
        # It does not subscribe to changes, so it asks again by itself, or calls the tool that waits.
        async with Client(stdio_client(server)) as client:
            say("connected")

            async def ask_again(names: list[str]) -> None:
                if "sign_in" in names:
                    result = await client.call_tool("sign_in", {})
                    say(f"sign_in: {result.content[0].text[:60]}")
                else:
                    await anyio.sleep(1)

            await work(client, ask_again)
        return
    changed = anyio.Event()

    async def heard(message: object) -> None:
        if type(message).__name__ == "ToolListChangedNotification":
            changed.set()

    async def told(_names: list[str]) -> None:
        await changed.wait()
        say("told that the list has changed")

    async with stdio_client(server) as (read, write):
        async with ClientSession(read, write, message_handler=heard) as session:
            await session.initialize()
            say("connected")
            await work(session, told)


anyio.run(main, *sys.argv[1:])
