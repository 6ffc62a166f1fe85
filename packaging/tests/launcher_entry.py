"""`mcp-bridge install` by a launcher: the entry that it writes starts a session, also after the cache is gone."""
import json
import os
import shutil

from .npm import npm_environment, registry


def test_npx_writes_itself_into_an_entry_and_the_entry_serves_a_session(machine, server):
    machine.need("npx")
    with registry(machine) as address:
        env = npm_environment(machine, "npx-entry", address) | {"HOME": str(machine.folder("npx-home"))}
        entry, _ = _installed(machine, env, ["npx", "--yes", "mcp-bridge"], server.url)
        assert (entry["command"], entry["args"]) == ("npx", ["-y", "mcp-bridge", server.url]), entry
        shutil.rmtree(machine.scratch / "npx-entry-cache" / "_npx")
        server.serves([entry["command"], *entry["args"]], env=env)


def test_uvx_writes_itself_into_an_entry_and_the_entry_serves_a_session(machine, server):
    uvx = machine.python_tool("uvx")
    env = machine.environment(UV_CACHE_DIR=str(machine.scratch / "uvx-entry-cache"), UV_NO_PROGRESS="1", UV_PYTHON_DOWNLOADS="never",
                              UV_NO_INDEX="1", UV_FIND_LINKS=str(machine.out / "pypi"), HOME=str(machine.folder("uvx-home")))
    env["PATH"] = os.pathsep.join([str(uvx.parent), env["PATH"]])
    for command in (["uvx", "--quiet", "mcp-bridge-cli"], ["uvx", "--quiet", "--from", "mcp-bridge-cli", "mcp-bridge"]):
        entry, _ = _installed(machine, env, command, server.url)
        assert (entry["command"], entry["args"]) == ("uvx", ["mcp-bridge-cli", server.url]), entry
    shutil.rmtree(machine.scratch / "uvx-entry-cache")
    # It says on stderr that it fills the cache.
    machine.run(entry["command"], *entry["args"][:-1], "--version", env=env)
    server.serves([entry["command"], *entry["args"]], env=env)


def test_an_installed_program_is_written_in_place_of_npx(machine, server):
    """npx starts its cache although the package is installed globally."""
    machine.need("npx")
    with registry(machine) as address:
        prefix = machine.scratch / "npm-global"
        env = npm_environment(machine, "npx-global", address) | {"HOME": str(machine.folder("npx-global-home"))}
        machine.run("npm", "install", "--global", "--no-audit", "--no-fund", "--prefix", prefix, "mcp-bridge", env=env)
        env["PATH"] = os.pathsep.join([str(prefix / "bin"), env["PATH"]])
        entry, said = _installed(machine, env, ["npx", "--yes", "mcp-bridge"], server.url)
        assert entry["command"].startswith(str(prefix / "lib/node_modules/mcp-bridge")), entry
        assert "which is installed" in said, said
        server.serves([entry["command"], *entry["args"]])


def _installed(machine, env, command, url):
    """The entry that a command writes, and what it says about it."""
    # The scratch directory is a temporary one, which is no place for a program.
    env = env | {"TMPDIR": env["HOME"]}
    done = machine.run(*command, "install", "--print", "json", "example", url, env=env)
    return json.loads(done.stdout)["mcpServers"]["example"], done.stderr
