"""The server of the suite of hosts (official Python SDK), its own authorization server if WITH_SIGN_IN is set."""

import asyncio
import os
import time

import uvicorn
from mcp import types
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.fastmcp import Context, FastMCP
from memory_provider import MemoryProvider
from pydantic import BaseModel

BASE_URL = os.environ["BASE_URL"].rstrip("/")
ON_PAGE_TWO = ["far"]
PROGRESS_PERIOD = 5  # seconds between two progress notifications


def server():
    if not os.environ.get("WITH_SIGN_IN"):
        return FastMCP("probe")
    provider = MemoryProvider(BASE_URL)
    made = FastMCP(
        "probe",
        auth_server_provider=provider,
        auth=AuthSettings(
            issuer_url=BASE_URL,
            resource_server_url=f"{BASE_URL}/mcp",
            required_scopes=["user"],
            client_registration_options=ClientRegistrationOptions(
                enabled=True, valid_scopes=["user"], default_scopes=["user"]
            ),
        ),
    )
    made.custom_route("/login", methods=["GET", "POST"])(provider.login)
    return made


probe = server()


class Name(BaseModel):
    name: str


@probe.tool()
def hi() -> str:
    """Says hi."""
    return "probe says hi"


@probe.tool()
def far() -> str:
    """Is on the second page of tools/list."""
    return "probe was far"


@probe.tool()
async def slow(seconds: int, progress: bool, ctx: Context) -> str:
    """Takes its time, with or without progress notifications."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        await asyncio.sleep(min(left, PROGRESS_PERIOD))
        if progress:
            done = seconds - max(0, until - time.monotonic())
            await ctx.report_progress(done, seconds, f"second {done:.0f}")
    return "probe took its time"


@probe.tool()
async def ask(ctx: Context) -> str:
    """Asks the person for a name."""
    answer = await ctx.elicit("Which name?", Name)
    return f"probe was answered: {answer.action}"


@probe.prompt()
def greeting() -> str:
    """Has no arguments."""
    return "hi"


async def list_tools(request: types.ListToolsRequest | None) -> types.ServerResult:
    tools = await probe.list_tools()
    if request is None:  # the SDK itself asks, for the schemas
        return types.ServerResult(types.ListToolsResult(tools=tools))
    second = bool(request.params and request.params.cursor)
    page = [tool for tool in tools if (tool.name in ON_PAGE_TWO) == second]
    return types.ServerResult(types.ListToolsResult(tools=page, nextCursor=None if second else "two"))


probe._mcp_server.request_handlers[types.ListToolsRequest] = list_tools
uvicorn.run(probe.streamable_http_app(), host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning",
            timeout_graceful_shutdown=1)
