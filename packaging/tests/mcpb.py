"""MCP bundles, with the tool that Claude Desktop's format comes from."""
import json

# The function with which apps make a command line of a manifest and the person's settings.
COMMAND_LINE = """
import { readFileSync } from "node:fs";
const [manifest, directory, settings] = process.argv.slice(2);
const { getMcpConfigForManifest } = await import(process.env.MCPB);
const config = await getMcpConfigForManifest({
  manifest: JSON.parse(readFileSync(manifest)), extensionPath: directory, systemDirs: {}, userConfig: JSON.parse(settings), pathSeparator: "/",
});
console.log(JSON.stringify(config ?? null));
"""


def test_the_manifests_are_valid(machine, _server):
    for target in machine.release.targets:
        machine.run(*mcpb(machine), "validate", unpacked(machine, target) / "manifest.json")


def test_the_bundle_serves_a_session_with_only_the_address(machine, server):
    command, env = command_line(machine, {"url": server.url})
    server.serves(command, env=env)


def test_the_bundle_needs_an_address(machine, _server):
    assert settings_to_config(machine, {}) is None


def mcpb(machine):
    return ["node", machine.npm_tools() / "node_modules/@anthropic-ai/mcpb/dist/cli/cli.js"]


def unpacked(machine, target):
    directory = machine.scratch / f"mcpb-{target.triple}"
    if not directory.exists():
        machine.run(*mcpb(machine), "unpack", machine.package(f"release/*-{target.triple}.mcpb"), directory)
    return directory


def settings_to_config(machine, settings):
    directory = unpacked(machine, machine.target)
    script = machine.scratch / "command-line.mjs"
    script.write_text(COMMAND_LINE)
    env = machine.environment(MCPB=str(machine.npm_tools() / "node_modules/@anthropic-ai/mcpb/dist/index.js"))
    return json.loads(machine.run("node", script, directory / "manifest.json", directory, json.dumps(settings), env=env).stdout)


def command_line(machine, settings):
    config = settings_to_config(machine, settings)
    return [config["command"], *config["args"]], machine.environment(**config["env"])
