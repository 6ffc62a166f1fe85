"""Model endpoint on loopback: plays a script of tool calls, in whichever format the host speaks."""
from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Optional

from . import wire
from .wire import Asked, Call, Reply, Tool

POLL_PERIOD = 3  # seconds between two looks at the offered tools, while the wanted one is missing
MAX_REQUESTS = 80  # of a turn; a host that asks more often goes round in circles

SHELL = re.compile(r"^(bash|shell|(run_shell|exec|shell|run|execute|run_terminal)_commands?)$", re.I)


@dataclass
class Step:
    """One call that the model makes as soon as the tool is offered."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict)
    before: Callable[[], None] = lambda: None
    result: Optional[str] = None


class Turn:
    """What the model does in one run of a host, and what it saw."""

    def __init__(self, steps: list[Step], patience: float, log: Path) -> None:
        self.steps = steps
        self.patience = patience  # seconds from the start until the model gives up waiting for a tool
        self.log = log
        self.began = time.monotonic()
        self.first: Optional[float] = None  # seconds from the start to the first request with tools
        self.offered: list[Tool] = []
        self.results: list[str] = []
        self.asked_for_sign_in = False
        self.over = False
        self._open: Optional[Step] = None
        self._requests = 0
        self._lock = threading.Lock()

    def answer(self, asked: Asked) -> Reply:
        if not asked.tools:
            return "ok"  # a title or a summary
        with self._lock:
            reply = self._answer(asked)
            shown = reply if isinstance(reply, str) else f"{reply.tool.name} {json.dumps(reply.arguments)}"
            self._note(f"{len(asked.tools)} tools; last result {asked.results[-1:]}; reply: {shown}")
            return reply

    def _answer(self, asked: Asked) -> Reply:
        self._requests += 1
        if self.first is None:
            self.first = self.seconds()
            self._note("offered: " + " ".join(f"{tool.namespace}{tool.name}" for tool in asked.tools))
        self.offered, self.results = asked.tools, asked.results
        if self._open:
            self._open.result = asked.results[-1] if asked.results else ""
            self._open = None
        step = next((step for step in self.steps if step.result is None), None)
        if step is None or self._requests > MAX_REQUESTS:
            self.over = True
            return "The end."
        tool = find(asked.tools, step.tool)
        if tool:
            step.before()
            self._open = step
            return self._call(tool, step.arguments)
        if self.seconds() > self.patience:
            self.over = True
            return f"There is no tool {step.tool}."
        return self._wait_for(step.tool, asked)

    def _wait_for(self, wanted: str, asked: Asked) -> Reply:
        """Something harmless to do, so that the host asks again with the tools that it has then."""
        sign_in = find(asked.tools, "sign_in")
        if sign_in and not self.asked_for_sign_in:
            self.asked_for_sign_in = True
            return self._call(sign_in, {})
        time.sleep(POLL_PERIOD)
        search = next((tool for tool in asked.tools if tool.name == "tool_search"), None)
        if search and self._requests % 2:
            return self._call(search, {"query": f"select:mcp__probe__{wanted},mcp__probe__sign_in"})
        shell = next((tool for tool in asked.tools if SHELL.match(tool.name)), None)
        return self._call(shell, shell_arguments(shell, self._requests)) if shell else f"There is no tool {wanted}."

    def _call(self, tool: Tool, arguments: dict[str, Any]) -> Call:
        return Call(f"call_{self._requests}", tool, arguments)

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def _note(self, words: str) -> None:
        with self.log.open("a") as log:
            log.write(f"{self.seconds():6.1f} {words}\n")


def find(tools: list[Tool], wanted: str) -> Optional[Tool]:
    """The tool under the name that the host gave it: `mcp__probe__hi`, `probe_hi`, or `hi` in a namespace."""
    pattern = re.compile(rf"(^|probe[^a-z]+){wanted}$")
    return next((tool for tool in tools if pattern.search(tool.name)), None)


def shell_arguments(shell: Tool, number: int) -> dict[str, Any]:
    """`true`, as the shell tool's schema wants it; the number keeps hosts from seeing a loop."""
    command = f"true {number}"
    schema = shell.schema if isinstance(shell.schema, dict) else {}
    given: dict[str, Any] = {}
    for name, member in (schema.get("properties") or {}).items():
        if name in ("command", "cmd"):
            given[name] = ["sh", "-c", command] if member.get("type") == "array" else command
        elif name == "commands":
            given[name] = [command]
        elif name in schema.get("required", []):
            given[name] = {"boolean": False, "integer": 1000, "number": 1000}.get(member.get("type"), "look around")
    return given


class Endpoint:
    """The HTTP server; `turn` is exchanged from run to run."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                model = {"id": wire.MODEL, "object": "model", "created": 1, "owned_by": "nobody"}
                self._send("application/json", json.dumps({"object": "list", "data": [model]}).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
                path = self.path.split("?")[0]
                try:
                    self._send(*endpoint.respond(path, body))
                except OSError:
                    pass  # the host has gone

            def _send(self, kind: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def respond(self, path: str, body: dict[str, Any]) -> tuple[str, bytes]:
        if path.endswith("/chat/completions"):
            form, stream = wire.Chat, bool(body.get("stream"))
        elif path.endswith("/responses"):
            form, stream = wire.Responses, bool(body.get("stream"))
        elif path.endswith("/messages"):
            form, stream = wire.Anthropic, bool(body.get("stream"))
        elif path.endswith("enerateContent"):
            form, stream = wire.Gemini, path.endswith(":streamGenerateContent")
        else:
            return "application/json", json.dumps({"input_tokens": 1, "totalTokens": 1}).encode()
        return form.write(self.turn.answer(form.read(body)), stream)
