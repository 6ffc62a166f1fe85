"""MCP server that others wrote (npm @modelcontextprotocol/server-everything), and a session with it through a command."""
import json
import socket
import subprocess
import threading
import time

START_SECONDS = 60
SESSION_SECONDS = 60

INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "packaging-test", "version": "1"},
}


class Server:
    def __init__(self, machine):
        self.machine = machine

    def __enter__(self):
        main = self.machine.npm_tools() / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.process = subprocess.Popen(["node", main, "streamableHttp"], env=self.machine.environment(PORT=str(port)),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = f"http://localhost:{port}/mcp"
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("localhost", port)).close()
                return self
            except OSError:
                assert time.monotonic() < deadline and self.process.poll() is None, "the MCP server does not start"
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def serves(self, command, env=None, cwd=None):
        """Runs a session as an app would: initialize, a call, end of input."""
        with Session(self.machine, command, env, cwd) as session:
            session.initialize()
            session.call_echo("through the package")
            session.end()


class Session:
    def __init__(self, machine, command, env=None, cwd=None):
        self.process = subprocess.Popen([str(part) for part in command], env=env or machine.environment(), cwd=cwd, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.limit = threading.Timer(SESSION_SECONDS, self.process.kill)
        self.limit.start()
        self.last_id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.limit.cancel()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()

    def initialize(self):
        found = self.request("initialize", INITIALIZE)
        assert found["serverInfo"]["name"] == "mcp-servers/everything", found
        self.send({"method": "notifications/initialized"})

    def call_echo(self, message):
        found = self.request("tools/call", {"name": "echo", "arguments": {"message": message}})
        assert message in found["content"][0]["text"], found

    def request(self, method, params):
        self.last_id += 1
        self.send({"id": self.last_id, "method": method, "params": params})
        for line in self.process.stdout:
            message = json.loads(line)
            if message.get("id") == self.last_id and "method" not in message:
                assert "result" in message, message
                return message["result"]
        raise AssertionError(f"no response to {method}: {self.process.stderr.read()}")

    def send(self, message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0"} | message) + "\n")
        self.process.stdin.flush()

    def end(self):
        """End of input: the command ends by itself, with success, and has printed nothing but messages."""
        self.process.stdin.close()
        for line in self.process.stdout:
            json.loads(line)
        status = self.process.wait()
        noise = self.process.stderr.read()
        assert (status, noise) == (0, ""), (status, noise)
