"""Host applications: the package of each, its files in a fresh home, and the command for one turn."""
from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from .wire import MODEL

PROMPT = "Say hi with the tool of the server probe."
SERVER = "probe"


@dataclass
class Room:
    """Where one run of a host lives."""

    home: Path
    project: Path  # the working directory
    model: str  # address of the model endpoint
    bridge: list[str]  # command line of the bridge
    bridge_env: dict[str, str]

    def entry(self, **further: Any) -> dict[str, Any]:
        """The server as most hosts write it."""
        return {"command": self.bridge[0], "args": self.bridge[1:], "env": self.bridge_env, **further}

    def write(self, name: str, content: Any) -> Path:
        """Writes a file below the home directory."""
        file = self.home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
        return file


@dataclass
class Launch:
    arguments: list[str]
    env: dict[str, str] = field(default_factory=dict)


@dataclass
class Host:
    name: str
    package: str  # npm package with its exact version
    program: str  # name in node_modules/.bin
    prepare: Callable[[Room], Launch]
    lists_only: bool = False  # a command that prints the server's tools; it has no model


def claude_code(room: Room) -> Launch:
    config = room.write("mcp.json", {"mcpServers": {SERVER: room.entry(type="stdio")}})
    return Launch(
        ["-p", PROMPT, "--model", "claude-sonnet-4-5", "--mcp-config", str(config), "--strict-mcp-config",
         "--allowedTools", f"mcp__{SERVER},Bash"],
        {"ANTHROPIC_BASE_URL": room.model, "ANTHROPIC_API_KEY": "none", "ENABLE_TOOL_SEARCH": "false",
         "DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
    )


def gemini_cli(room: Room) -> Launch:
    room.write(".gemini/settings.json", {
        "mcpServers": {SERVER: room.entry(trust=True)},
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
    })
    return Launch(
        ["--yolo", "--model", "gemini-2.5-flash", "--prompt", PROMPT],
        {"GEMINI_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": room.model, "GEMINI_CLI_TRUST_WORKSPACE": "true",
         "GEMINI_CLI_NO_RELAUNCH": "true"},
    )


def qwen_code(room: Room) -> Launch:
    room.write(".qwen/settings.json", {
        "mcpServers": {SERVER: room.entry(trust=True)},
        "security": {"auth": {"selectedType": "openai"}, "folderTrust": {"enabled": False}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
    })
    return Launch(
        ["--yolo", "--auth-type", "openai", "--prompt", PROMPT],
        # Its HTTP client does not look at NO_PROXY.
        {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": f"{room.model}/v1", "OPENAI_MODEL": MODEL,
         **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "")},
    )


def codex_patient(room: Room) -> Launch:
    """Codex with a longer time to start, and the bridge told to use it."""
    room.bridge += ["--patience", "85", "--list-wait", "85"]
    return codex(room, further="startup_timeout_sec = 90")


def codex(room: Room, further: str = "") -> Launch:
    quoted = json.dumps
    env = ", ".join(f"{quoted(name)} = {quoted(value)}" for name, value in room.bridge_env.items())
    room.write(".codex/config.toml", f"""
model = "{MODEL}"
model_provider = "loopback"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.loopback]
name = "loopback"
base_url = "{room.model}/v1"
wire_api = "responses"
request_max_retries = 0

[mcp_servers.{SERVER}]
command = {quoted(room.bridge[0])}
args = {quoted(room.bridge[1:])}
env = {{ {env} }}
{further}
""")
    return Launch(["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", PROMPT])


def opencode(room: Room) -> Launch:
    provider = {
        "npm": "@ai-sdk/openai-compatible", "name": "loopback",
        "options": {"baseURL": f"{room.model}/v1", "apiKey": "none"},
        "models": {MODEL: {"name": MODEL, "tool_call": True}},
    }
    (room.project / "opencode.json").write_text(json.dumps({
        "provider": {"loopback": provider},
        "model": f"loopback/{MODEL}", "small_model": f"loopback/{MODEL}", "autoupdate": False, "permission": "allow",
        "mcp": {SERVER: {"type": "local", "command": room.bridge, "enabled": True, "environment": room.bridge_env}},
    }))
    return Launch(["run", PROMPT], {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"})


def copilot(room: Room) -> Launch:
    room.write(".copilot/mcp-config.json", {"mcpServers": {SERVER: room.entry(type="local", tools=["*"])}})
    return Launch(
        ["-p", PROMPT, "--allow-all-tools"],
        {"COPILOT_OFFLINE": "true", "COPILOT_PROVIDER_BASE_URL": f"{room.model}/v1", "COPILOT_PROVIDER_API_KEY": "none",
         "COPILOT_MODEL": MODEL, "COPILOT_AUTO_UPDATE": "false"},
    )


def cline(room: Room) -> Launch:
    provider = "openai-compatible"
    settings = {"provider": provider, "apiKey": "none", "model": MODEL, "baseUrl": f"{room.model}/v1"}
    room.write(".cline/data/settings/providers.json", {
        "version": 1, "lastUsedProvider": provider, "modes": {},
        "providers": {provider: {"settings": settings, "updatedAt": "2026-01-01T00:00:00.000Z", "tokenSource": "manual"}},
    })
    room.write(".cline/data/settings/cline_mcp_settings.json", {"mcpServers": {SERVER: room.entry()}})
    return Launch(["--provider", provider, "--model", MODEL, PROMPT], {"CLINE_NO_AUTO_UPDATE": "1"})


def continue_cli(room: Room) -> Launch:
    model = {
        "name": MODEL, "provider": "openai", "model": MODEL, "apiBase": f"{room.model}/v1", "apiKey": "none",
        "roles": ["chat"], "capabilities": ["tool_use"],
    }
    # YAML is a superset of JSON.
    config = room.write("continue.yaml", {
        "name": "suite", "version": "1.0.0", "schema": "v1", "models": [model],
        "mcpServers": [{"name": SERVER, **room.entry()}],
    })
    return Launch(["--print", "--auto", "--config", str(config), PROMPT], {"CONTINUE_TELEMETRY_ENABLED": "0"})


def mcporter(room: Room) -> Launch:
    config = room.write("mcporter.json", {"mcpServers": {SERVER: room.entry()}})
    return Launch(["list", SERVER, "--config", str(config)])


def inspector_cli(room: Room) -> Launch:
    config = room.write("mcp.json", {"mcpServers": {SERVER: room.entry()}})
    return Launch(["--cli", "--config", str(config), "--server", SERVER, "--method", "tools/list"])


def mcpc(room: Room) -> Launch:
    config = room.write("mcp.json", {"mcpServers": {SERVER: room.entry()}})
    return Launch(["connect", f"{config}:{SERVER}", f"@{SERVER}"])


HOSTS = [
    Host("claude-code", "@anthropic-ai/claude-code@2.1.197", "claude", claude_code),
    Host("gemini-cli", "@google/gemini-cli@0.61.0", "gemini", gemini_cli),
    Host("qwen-code", "@qwen-code/qwen-code@0.15.10", "qwen", qwen_code),
    Host("codex", "@openai/codex@0.171.0", "codex", codex),
    Host("codex-patient", "@openai/codex@0.171.0", "codex", codex_patient),
    Host("opencode", "opencode-ai@1.18.33", "opencode", opencode),
    Host("copilot", "@github/copilot@1.0.102", "copilot", copilot),
    Host("cline", "cline@3.0.65", "cline", cline),
    Host("continue", "@continuedev/cli@1.5.47", "cn", continue_cli),
    Host("mcporter", "mcporter@0.9.0", "mcporter", mcporter, lists_only=True),
    Host("inspector", "@modelcontextprotocol/inspector@0.15.0", "mcp-inspector", inspector_cli, lists_only=True),
    Host("mcpc", "@apify/mcpc@0.2.6", "mcpc", mcpc, lists_only=True),
]


def environment(room: Room, launch: Launch) -> dict[str, str]:
    """What the host process gets: nothing of the person's, and no way out of this machine by the usual proxies."""
    nowhere = "http://127.0.0.1:9"
    return {
        "PATH": os.environ.get("PATH", ""), "HOME": str(room.home), "TMPDIR": str(room.home / "tmp"),
        "TERM": "dumb", "LANG": "C.UTF-8", "NO_COLOR": "1", "CI": "1",
        "HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere, "NO_PROXY": "localhost,127.0.0.1",
        "http_proxy": nowhere, "https_proxy": nowhere, "no_proxy": "localhost,127.0.0.1",
        **launch.env,
    }
