"""Description of a server: `servers/NAME/server.json`, with one entry for each of its variants."""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Manifest:
    name: str  # the directory's name, with "/VARIANT" for a variant
    directory: Path
    kind: str  # npm or pypi
    command: list[str]  # what starts the server, in its directory
    packages: str = ""  # the server whose packages it shares; empty: its own
    path: str = "/mcp"
    host: str = "127.0.0.1"
    env: dict[str, str] = field(default_factory=dict)
    tool: dict[str, Any] = field(default_factory=lambda: {"name": "whoami", "arguments": {}})
    bridge: list[str] = field(default_factory=list)  # further arguments of the bridge
    header: str = ""  # "Name: value" that a gateway before the server wants on all requests but those of the browser
    bridge_env: dict[str, str] = field(default_factory=dict)
    resource_server: bool = False  # the program of examples/resource-server is its MCP server
    example_server: bool = False  # with resource_server: examples/server is the MCP server, and that program another one
    ttl: int = 5  # seconds that a token lives where tokens are short
    sign_ins: int = 1  # pages that a person has to see at first: 0 for client credentials
    revokes: list[str] = field(default_factory=list)  # tokens that are dead after a logout: access, refresh
    used_up_token_ends_grant: bool = False  # an access token that has run out takes the refresh token with it when used
    skip: dict[str, str] = field(default_factory=dict)  # step: why the server can't do it


def load_all(servers: Path) -> list[Manifest]:
    manifests: list[Manifest] = []
    for file in sorted(servers.glob("*/server.json")):
        manifests.extend(load(file))
    return manifests


def load(file: Path) -> list[Manifest]:
    text = json.loads(file.read_text())
    variants: dict[str, dict[str, Any]] = text.pop("variants", {})
    plain = Manifest(name=file.parent.name, directory=file.parent, **text)
    made = [plain]
    for name, changes in variants.items():
        merged = {**text, **changes, "env": {**text.get("env", {}), **changes.get("env", {})}}
        made.append(Manifest(name=f"{file.parent.name}/{name}", directory=file.parent, **merged))
    return made
