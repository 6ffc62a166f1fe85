"""server.json for the MCP Registry, which lists the npm and PyPI packages and the bundles."""
import json

from .checksums import sha256
from .mcpb import bundle
from .wheels import package_version

SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"


def make(release, out):
    document = {
        "$schema": SCHEMA,
        "name": release.name("mcp-registry"),
        "title": release.name("title"),
        "description": release.name("summary"),
        "repository": {"url": release.repository, "source": "github"},
        "version": release.version,
        "packages": list(_packages(release, out)),
    }
    path = out.folder("mcp-registry") / "server.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8", newline="\n")


def _packages(release, out):
    started_by_runtime = {"packageArguments": _arguments(), "environmentVariables": _environment(), "transport": {"type": "stdio"}}
    if (out.root / "npm").exists():
        yield {"registryType": "npm", "identifier": release.name("npm"), "version": release.version,
               "runtimeHint": "npx", **started_by_runtime}
    if (out.root / "pypi").exists():
        yield {"registryType": "pypi", "identifier": release.name("pypi"), "version": package_version(release),
               "runtimeHint": "uvx", **started_by_runtime}
    for target in release.targets:
        file = bundle(release, target)
        if (out.release / file).exists():
            # Its own manifest has the settings.
            yield {"registryType": "mcpb", "identifier": release.download(file), "version": release.version,
                   "fileSha256": sha256(out.release / file), "transport": {"type": "stdio"}}


def _arguments():
    return [
        {
            "type": "positional",
            "valueHint": "url",
            "description": "The MCP endpoint of the server",
            "placeholder": "https://mcp.example.com/mcp",
            "isRequired": True,
        },
    ]


def _environment():
    return [
        {"name": "MCP_BRIDGE_PROFILE", "description": "Name of the account, to use several at one server"},
        {
            "name": "MCP_BRIDGE_HEADER",
            "description": "A header for the server, instead of a sign-in in the browser",
            "placeholder": "Authorization: Bearer TOKEN",
            "isSecret": True,
        },
        {
            "name": "MCP_BRIDGE_READ_ONLY",
            "description": "Hide all tools except those that the server declares as read-only",
            "format": "boolean",
            "default": "false",
        },
    ]
