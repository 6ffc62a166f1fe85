"""MCP bundles, with the tool that Claude Desktop's format comes from."""
import http.server
import json
import threading

from .server import INITIALIZE, Session

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


def test_the_bundle_gives_the_settings_of_the_form_to_the_program(machine, _server):
    with HeaderServer() as server:
        settings = {"url": server.url, "profile": "work", "header": "X-Key: from the form", "read_only": True}
        command, env = command_line(machine, settings)
        assert "from the form" not in " ".join(command)
        with Session(machine, command, env) as session:
            session.request("initialize", INITIALIZE)
            session.send({"method": "notifications/initialized"})
            tools = session.request("tools/list", {})["tools"]
    assert [tool["name"] for tool in tools] == ["read"]
    assert server.keys == {"from the form"}


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


class HeaderServer:
    """An MCP server that remembers the header X-Key, and has a tool that only reads and one that says nothing."""

    RESULTS = {
        "initialize": {"protocolVersion": INITIALIZE["protocolVersion"], "capabilities": {"tools": {}},
                       "serverInfo": {"name": "headers", "version": "1"}},
        "tools/list": {"tools": [
            {"name": "read", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
            {"name": "write", "inputSchema": {"type": "object"}},
        ]},
    }

    def __enter__(self):
        keys = self.keys = set()
        results = self.RESULTS

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                keys.add(self.headers["X-Key"])
                if "id" not in request:
                    return self.answer(202, b"")
                response = {"jsonrpc": "2.0", "id": request["id"], "result": results.get(request["method"], {})}
                self.answer(200, json.dumps(response).encode())

            def do_GET(self):
                self.answer(405, b"")

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.listener.server_port}/mcp"
        return self

    def __exit__(self, *_):
        self.listener.shutdown()
        self.listener.server_close()
