"""MCP bundles (.mcpb) for Claude Desktop, one for each target.

A bundle is a zip file with a manifest (https://github.com/modelcontextprotocol/mcpb, manifest 0.3). Python writes it, because
`mcpb pack` writes the time into it; `packaging/test` validates it with `mcpb`.
"""
import json

from .reproducible import File, zip_file

# The settings that are not arguments, by their names in the form.
VARIABLES = {"profile": "MCP_BRIDGE_PROFILE", "header": "MCP_BRIDGE_HEADER", "read_only": "MCP_BRIDGE_READ_ONLY"}


def make(release, out):
    for target in release.with_target("npm"):
        files = [
            File("manifest.json", (json.dumps(manifest(release, target), indent=2) + "\n").encode()),
            File(_program(release, target), target.program.read_bytes(), executable=True),
            File("README.md", release.readme),
            *(File(name, data) for name, data in release.license_files.items()),
        ]
        zip_file(out.release / bundle(release, target), files, release.epoch)


def bundle(release, target):
    """The file name of a target's bundle."""
    return f"{release.name('mcpb')}-{release.version}-{target.triple}.mcpb"


def manifest(release, target):
    return {
        "manifest_version": "0.3",
        "name": release.name("mcpb"),
        "display_name": release.name("title"),
        "version": release.version,
        "description": release.name("summary"),
        "long_description": release.description + ".",
        "author": {"name": release.name("publisher"), "url": release.repository},
        "repository": {"type": "git", "url": f"{release.repository}.git"},
        "homepage": release.repository,
        "support": f"{release.repository}/issues",
        "license": release.license,
        "keywords": release.keywords,
        "server": {
            "type": "binary",
            "entry_point": _program(release, target),
            "mcp_config": {
                "command": f"${{__dirname}}/{_program(release, target)}",
                "args": ["${user_config.url}"],
                # Variables, because an argument cannot be left out, and other users of the computer can read command lines.
                "env": {variable: f"${{user_config.{setting}}}" for setting, variable in VARIABLES.items()},
            },
        },
        # The tools and prompts are those of the server.
        "tools_generated": True,
        "prompts_generated": True,
        "compatibility": {"platforms": [target.get("npm")["os"]]},
        "user_config": {
            "url": {
                "type": "string",
                "title": "Server",
                "description": "The server's MCP endpoint, such as https://mcp.example.com/mcp",
                "required": True,
            },
            # Without a default, the app would leave the variable's name in its place.
            "profile": {
                "type": "string",
                "title": "Account",
                "description": "A name of your choice, to use several accounts at one server",
                "required": False,
                "default": "",
            },
            "header": {
                "type": "string",
                "title": "Header",
                "description": "A header for the server, such as Authorization: Bearer TOKEN, instead of a sign-in in the browser",
                "required": False,
                "sensitive": True,
                "default": "",
            },
            "read_only": {
                "type": "boolean",
                "title": "Read-only",
                "description": "Hide all tools except those that the server declares as read-only",
                "required": False,
                "default": False,
            },
        },
    }


def _program(release, target):
    return f"server/{release.program}{target.suffix}"
